"""The command `kseg predict`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.predict import PredictConfig

SUMMARY = "Predict the masks of images of any size with a trained model."

_LARGEST = 20_000**2  # pixels


class Arguments(PredictConfig):
    """Predict the masks of images of any size with a trained model.

    Writes masks/NAME.png (0 and 255, or class indices with a palette) and predictions.csv with the pixels, share and
    number of connected areas of each class. If it is interrupted, the same command goes on. Exit status: 0; 1 if some
    images could not be read; 2 if something has to be put right; 130 after Ctrl-C.
    """

    model: tyro.conf.Positional[Path] = Field(description="A run's best.keras, or another .keras file.")
    inputs: tyro.conf.Positional[tuple[str, ...]] = Field(
        description="Images, folders, patterns in quotes, .txt files with a path on each line."
    )


def main(arguments: Sequence[str] | None = None, prog: str = "kseg predict") -> int:
    """Predict as the arguments say.

    Returns:
        0; 1 if some images could not be read; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _predict(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _predict(given: Arguments) -> int:
    import PIL.Image

    from kseg.backend import keep_compiled_programs

    prepare_for_keras()
    from kseg.inference.predict import predict

    # Pillow takes more than 89 million pixels for an attack; here the images are the user's own.
    PIL.Image.MAX_IMAGE_PIXELS = _LARGEST
    with keep_compiled_programs():
        predicted = predict(given.model, given.inputs, given)
    for fault in predicted.faults:
        print(f"kseg: {fault}", file=sys.stderr)
    before = f"; {predicted.before} were there already" if predicted.before else ""
    left_out = f"; {len(predicted.faults)} could not be read" if predicted.faults else ""
    print(f"{predicted.done} images predicted{before}{left_out}. See {given.out}")
    return 1 if predicted.faults else 0
