"""Validation F1 after the same time of training: kseg's models and SMP's, from random weights, on nuclei, 256 x 256.

    python benchmarks/quality.py --nuclei path/to/nuclei     # hours on two cores

First all networks are timed in turns: a training step on the same batch, forward, backward and optimizer. Nothing else
should run meanwhile. Then each trains for as many steps as fit into the time, its learning rate along a cosine to zero,
on the same images in the same order with the same augmentation, so that a busy machine changes nothing. F1 is that of
all validation images at their 256 x 256 pixels, after each fifth of the steps.

SMP's networks run in eager PyTorch, channels_last, with SMP's losses, Dice and cross-entropy, at each of the learning
rates; kseg's with its own settings. segmentation-models-pytorch has to be installed, see peers.py.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import itertools
import tempfile
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import tyro
from peers import Peer
from scoring import score
from subsets import link, names_of

from kseg.backend import keep_compiled_programs
from kseg.config.train import DataOptions
from kseg.data import Batches
from kseg.runs.data import RunData, make_batches, open_data
from kseg.runs.model import make_loss, start_model
from kseg.runs.optimizer import make_optimizer

OURS: dict[str, dict[str, Any]] = {
    "unet, 8 filters": {"filters": 8},
    "unet, 16 filters": {},
    "unet, 32 filters": {"filters": 32},
    "fpn, mobilenetv3_small": {"model": "fpn", "encoder": "mobilenetv3_small"},
    "deeplabv3plus, mobilenetv3_large": {"model": "deeplabv3plus", "encoder": "mobilenetv3_large"},
    "mlp, efficientnetv2_b0": {"model": "mlp", "encoder": "efficientnetv2_b0"},
    "unet, resnet50v2": {"model": "unet", "encoder": "resnet50v2"},
}
THEIRS = {
    "SMP Unet, resnet18": ("Unet", "resnet18"),
    "SMP DeepLabV3Plus, resnet18": ("DeepLabV3Plus", "resnet18"),
}
_LOOKS = 5


class Network(Protocol):
    """What is trained."""

    def step(self, images: np.ndarray, masks: np.ndarray) -> None:
        """Train on a batch."""

    def logits(self, images: np.ndarray) -> object:
        """Return the logits of a batch, channels last."""


class _Ours:
    def __init__(
        self, own: dict[str, Any], data: RunData, settings: kseg.TrainConfig, batches: Batches, steps: int
    ) -> None:
        settings = settings.model_copy(update=own)
        keras.utils.set_random_seed(settings.seed)
        self._model = start_model(data, settings, batches)
        self._model.compile(make_optimizer(settings, steps), make_loss(settings))

    def step(self, images: np.ndarray, masks: np.ndarray) -> None:
        self._model.train_on_batch(images, masks)

    def logits(self, images: np.ndarray) -> object:
        return self._model.predict_on_batch(images)


def main(
    nuclei: Path,
    images: tuple[int, ...] = (499, 50),
    seconds: tuple[float, ...] = (60.0, 240.0),
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    networks: tuple[str, ...] = (*OURS, *THEIRS),
    rounds: int = 5,
) -> None:
    """Time each network, train it for that time, and print its F1.

    Args:
        nuclei: The folder of nuclei, with train and val, masks of the same names as their images.
        images: Numbers of training images, each a run.
        seconds: Times of training, without validation, each a run.
        seeds: Seeds, each a run.
        rates: Learning rates of SMP's networks, each a run.
        networks: What is trained.
        rounds: How often each network is timed.
    """
    with tempfile.TemporaryDirectory() as folder, keep_compiled_programs():
        sets = {
            number: kseg.TrainConfig(
                dataset=_some(nuclei, number, Path(folder) / str(number)), image_size=256, epochs=1
            )
            for number in images
        }
        seconds_of = _time(sets[images[0]], networks, rounds)
        for name, taken in seconds_of.items():
            print(f"{name:34} {1000 * taken:6.0f} ms a step", flush=True)
        for seed, limit, number, name in itertools.product(seeds, seconds, images, networks):
            for rate in rates if name in THEIRS else (sets[number].lr,):
                settings = sets[number].model_copy(update={"seed": seed, "lr": rate})
                steps = round(limit / seconds_of[name])
                found = " ".join(f"{f1:.3f}" for f1 in _train(name, settings, steps))
                how = f"{limit:g} s, {number} images, seed {seed}, {name}, rate {rate:g}, {steps} steps"
                print(f"{how:90} {found}", flush=True)


def _make(name: str, data: RunData, settings: kseg.TrainConfig, batches: Batches, steps: int) -> Network:
    if name in OURS:
        return _Ours(OURS[name], data, settings, batches, steps)
    return Peer(*THEIRS[name], data, settings, rate=settings.lr, steps=steps)


def _time(settings: kseg.TrainConfig, names: Sequence[str], rounds: int) -> dict[str, float]:
    """Return the median seconds of a training step of each network, all in turns."""
    data = open_data(DataOptions.of(settings))
    batches, _ = make_batches(data, DataOptions.of(settings), (0, 0))
    batch = next(iter(batches))
    networks = {name: _make(name, data, settings, batches, rounds) for name in names}
    taken: dict[str, list[float]] = {name: [] for name in networks}
    for number in range(rounds + 1):
        for name, network in networks.items():
            began = time.perf_counter()
            network.step(*batch)
            if number:  # the first one compiles
                taken[name].append(time.perf_counter() - began)
    return {name: float(np.median(found)) for name, found in taken.items()}


def _train(name: str, settings: kseg.TrainConfig, steps: int) -> list[float]:
    """Return the validation F1 after each fifth of the steps."""
    data = open_data(DataOptions.of(settings))
    batches, validation = make_batches(data, DataOptions.of(settings), (0, 0))
    network = _make(name, data, settings, batches, steps)
    found, stream = [], iter(batches)
    for look in range(_LOOKS):
        for images, masks in islice(stream, steps * (look + 1) // _LOOKS - steps * look // _LOOKS):
            network.step(images, masks)
        found.append(score(network.logits, validation, data)[0])
    return found


def _some(nuclei: Path, number: int, folder: Path) -> str:
    """Return a data set of so many training images, and all for validation."""
    order = np.random.default_rng(0).permutation(names_of(nuclei, "train"))
    return link(nuclei, {"train": order[:number], "val": names_of(nuclei, "val")}, folder)


if __name__ == "__main__":
    tyro.cli(main)
