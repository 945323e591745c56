"""Whether losses inside a decoder help: validation F1 on 100 images of nuclei, 128 x 128, with and without them.

    python benchmarks/deep_supervision.py --nuclei path/to/nuclei     # half an hour on two cores

Deep supervision gives each resolution of the decoder its own logits, enlarged to the size of the image, and adds their
losses with weights of 1/2, 1/4, … (Isensee et al., nnU-Net, 2021). An auxiliary head does so once, at stride 16, with
0.4 (Zhao et al., PSPNet, 2017). Each is trained as the network alone is: the same weights at the beginning, images,
order and number of steps. Only the logits of the network itself are scored, after each sixth of the steps.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np
import tyro
from scoring import score

from kseg.backend import keep_compiled_programs
from kseg.commands.train import parse
from kseg.config.train import DataOptions
from kseg.models import encoded, unet
from kseg.models.decoders.blocks import enlarge
from kseg.runs.data import RunData, make_batches, open_data
from kseg.runs.model import make_loss
from kseg.runs.optimizer import make_optimizer

_LOOKS = 6


@dataclass(frozen=True)
class Way:
    """A network, and the layers whose outputs get logits of their own."""

    make: Callable[[], keras.Model]
    heads: Sequence[tuple[str, int, float]] = ()
    """Name of the layer, its stride, the weight of its loss."""


def _encoded(decoder: str) -> Callable[[], keras.Model]:
    return lambda: encoded(decoder=decoder, encoder="mobilenetv3_small")


WAYS = {
    "unet": Way(unet),
    "unet, deep supervision": Way(unet, [("up1b_relu", 2, 0.5), ("up2b_relu", 4, 0.25)]),
    "unet on mobilenetv3_small": Way(_encoded("unet")),
    "unet on mobilenetv3_small, deep supervision": Way(
        _encoded("unet"), [("up2b_relu", 2, 0.5), ("up4b_relu", 4, 0.25), ("up8b_relu", 8, 0.125)]
    ),
    "deeplabv3plus on mobilenetv3_small": Way(_encoded("deeplabv3plus")),
    "deeplabv3plus on mobilenetv3_small, auxiliary head": Way(_encoded("deeplabv3plus"), [("rates", 16, 0.4)]),
}


def main(nuclei: Path, seeds: int = 5) -> None:
    """Train each and print its F1 by seed.

    Args:
        nuclei: The folder of nuclei, with train and val, masks of the same names as their images.
        seeds: Runs of each.
    """
    settings = parse(["--config", "nuclei", "--dataset", str(nuclei)]).settings
    data = open_data(DataOptions.of(settings))
    with keep_compiled_programs():
        for name, way in WAYS.items():
            found = [_train(way, settings.model_copy(update={"seed": seed}), data) for seed in range(seeds)]
            listed = " ".join(f"{f1:.3f}" for f1 in found)
            print(f"{name:50}  median {np.median(found):.3f}  by seed {listed}", flush=True)


def _train(way: Way, settings: kseg.TrainConfig, data: RunData) -> float:
    """Return the best validation F1."""
    batches, validation = make_batches(data, DataOptions.of(settings), (0, 0))
    keras.utils.set_random_seed(settings.seed)
    network = way.make()
    outputs = [network.output]
    for layer, stride, _ in way.heads:
        logits = keras.layers.Conv2D(1, 1, name=f"{layer}_logits")(network.get_layer(layer).output)
        outputs.append(enlarge(logits, stride, f"{layer}_enlarged"))
    model = keras.Model(network.input, outputs if way.heads else network.output)
    weights = [1.0, *(weight for _, _, weight in way.heads)]
    model.compile(
        make_optimizer(settings, batches.steps),
        [make_loss(settings) for _ in outputs],
        loss_weights=weights if way.heads else None,
    )
    found, stream = [], iter(batches)
    for _ in range(_LOOKS):
        for images, masks in islice(stream, batches.steps * settings.epochs // _LOOKS):
            model.train_on_batch(images, [masks] * len(outputs))
        found.append(score(network.predict_on_batch, validation, data)[0])
    return max(found)


if __name__ == "__main__":
    tyro.cli(main)
