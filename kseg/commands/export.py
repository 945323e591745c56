"""The command `kseg export`."""

import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.export import ExportConfig
from kseg.errors import KsegError

SUMMARY = "Export a trained model for ONNX Runtime, TensorFlow, LiteRT or PyTorch, and compare it there."


class Arguments(ExportConfig):
    """Export a trained model for ONNX Runtime, TensorFlow, LiteRT or PyTorch, and compare it there.

    The exported model takes uint8 images (batch, height, width, channels) and gives logits. It is run by its own
    runtime on real images, and is kept only if F1 is the same to 0.0001. Exit status: 0; 2 if something has to be put
    right; 130 after Ctrl-C.
    """

    model: tyro.conf.Positional[Path] = Field(description="A run's best.keras, or another .keras file.")


def main(arguments: Sequence[str] | None = None, prog: str = "kseg export") -> int:
    """Export as the arguments say.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _export(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _export(given: Arguments) -> int:
    from kseg.backend import keep_compiled_programs

    prepare_for_keras()
    from kseg.inference.export import export

    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    logging.getLogger("kseg").setLevel(logging.INFO)

    with keep_compiled_programs():
        exported = export(given.model, given, given.dataset or _dataset_of_run(given.model))
    f1, its = exported.f1
    print(
        f"F1 {its:.6f}, of the Keras model {f1:.6f}; logits differ by at most {exported.largest:.2g}, on "
        f"{exported.images} images"
    )
    print(f"Exported, for {exported.size}: {exported.path}")
    return 0


def _dataset_of_run(model: Path) -> str | None:
    """Return the data set of the run that made a model, if it was started here."""
    from kseg.runs.places import data_of_model

    try:
        return str(data_of_model(model)["dataset"])
    except KsegError:
        return None
