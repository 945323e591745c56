"""The command `kseg models`."""

import contextlib
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.base import Settings

if TYPE_CHECKING:
    import keras

SUMMARY = "List the models and encoders there are, their size, and with --measure what they cost here."

_TRIALS = 5
_SIDE = 128  # pixels, a multiple of every stride


class Arguments(Settings):
    """List the models and encoders there are, their size, and with --measure what they cost here.

    Exit status: 0; 130 after Ctrl-C.
    """

    measure: bool = Field(False, description="Time a forward pass and a training step of each; takes some minutes.")
    image_size: int = Field(128, ge=32, multiple_of=32, description="Side of the images to measure with, in pixels.")
    batch_size: int = Field(4, ge=1, description="Number of images to measure with.")


def main(arguments: Sequence[str] | None = None, prog: str = "kseg models") -> int:
    """List the models as the arguments say.

    Returns:
        0; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _list(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _list(given: Arguments) -> int:
    from kseg.backend import keep_compiled_programs

    prepare_for_keras()
    import keras

    from kseg.models import ENCODERS, encoded, unet

    with keep_compiled_programs():
        plain = unet()
        print("Models: unet, fpn, deeplabv3plus, mlp. All take uint8 images of 1 to 16 channels; sides are multiples")
        print("of 32, without an encoder of 8. --encoder-weights imagenet lets Keras download its weights.")
        print("--encoder also takes presets of KerasHub (pip install 'kseg[hub]'): of a ResNet, DenseNet, CSPNet or")
        print("EfficientNet, such as hf://keras/resnet_18_imagenet, with --encoder-weights preset.\n")
        heads = f"{'encoder':<20}{'parameters':>12}  {'with':<6}{'weights':<10}{'strides':<12}"
        costs = "  forward    step  (times that of the plain U-Net)" if given.measure else ""
        print((heads + costs).rstrip())
        reference = _measure(plain, given) if given.measure else None
        line = _line("none", plain, "", "1 2 4 8")
        print(f"{line}  {1:>7.2f} {1:>7.2f}" if reference else line.rstrip())
        for name in ENCODERS:
            # Only counting needs no values for the weights, which take most of the time.
            scope = contextlib.nullcontext() if given.measure else keras.StatelessScope(initialize_variables=False)
            with scope:
                model = encoded(encoder=name)
            line = _line(name, model, "imagenet", " ".join(map(str, _strides(model))))
            if reference:
                forward, step = _measure(model, given)
                line += f"  {forward / reference[0]:>7.2f} {step / reference[1]:>7.2f}"
            print(line.rstrip(), flush=True)
    return 0


def _line(name: str, model: "keras.Model", weights: str, strides: str) -> str:
    return f"{name:<20}{model.count_params():>12,}  {'unet':<6}{weights:<10}{strides:<12}"


def _strides(model: "keras.Model") -> list[int]:
    """Return by how much the features of the encoder are smaller than the image."""
    encoder = model.get_layer("encoder")
    shapes = encoder.compute_output_shape((1, _SIDE, _SIDE, encoder.input.shape[-1]))
    return [_SIDE // height for _, height, _, _ in shapes]


def _measure(model: object, given: Arguments) -> tuple[float, float]:
    """Return the median seconds of a forward pass and of a training step."""
    import keras
    import numpy as np

    from kseg.losses import CombinedSegmentationLoss

    assert isinstance(model, keras.Model)
    shape = (given.batch_size, given.image_size, given.image_size)
    rng = np.random.default_rng(0)
    images, masks = rng.integers(0, 256, (*shape, 3)).astype(np.uint8), rng.integers(0, 2, (*shape, 1)).astype(np.uint8)
    model.compile("adamw", loss=CombinedSegmentationLoss())
    calls = (lambda: model.predict_on_batch(images), lambda: model.train_on_batch(images, masks))
    medians = []
    for call in calls:
        call()  # compiles
        seconds = []
        for _ in range(_TRIALS):
            began = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - began)
        medians.append(float(np.median(seconds)))
    return medians[0], medians[1]
