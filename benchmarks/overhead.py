"""What kseg costs a training step: the detector over none, and all of kseg over plain Keras BCE.

    python benchmarks/overhead.py                 # on JAX
    KERAS_BACKEND=torch python benchmarks/overhead.py

Three models with the same weights are trained on the same batch with the same optimizer, one compiled each way: plain;
with kseg's loss, its metrics and its lines; and with the detector and the two metrics that it needs besides. They
take turns, a block of steps each, in one process; a ratio is one block over the block beside it. The median of the
ratios is the cost, their quartiles its spread. A block is one `fit` of one epoch, so what a callback does at its ends
is in it (the detector looks once, and keeps the weights to go back to, every block; in a run it looks every 50
batches); writing checkpoints, which plain Keras would do as well, is not.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import logging
import statistics
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tyro

from kseg.callbacks import CollapseDetector, EpochSummary
from kseg.losses import CombinedSegmentationLoss
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.models import unet

Batch = tuple[np.ndarray, np.ndarray]


def main(size: int = 256, batch_size: int = 2, filters: int = 16, steps: int = 10, blocks: int = 12) -> None:
    """Print the ratios of a step one way over a step another way, with their spread.

    Args:
        size: Height and width of the images, in pixels.
        batch_size: Images a step.
        filters: Of the U-Net, at full resolution.
        steps: Steps in a block.
        blocks: Blocks that are measured, each way; one more warms up.
    """
    kseg.data.quiet_tensorflow()
    logging.getLogger("kseg").setLevel(logging.ERROR)  # nobody can predict noise
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, size, size, 3), np.uint8)
    batch = images, (images[..., :1] > 200).astype(np.uint8)

    plain = keras.losses.BinaryCrossentropy(from_logits=True)
    ways: dict[str, tuple[keras.Model, list[keras.callbacks.Callback]]] = {
        "plain": (_model(filters, plain, []), []),
        "without detector": (
            _model(filters, CombinedSegmentationLoss(), [SegmentationMetrics()]),
            [EpochSummary(lambda line: None)],
        ),
        "kseg": (
            _model(filters, CombinedSegmentationLoss(), [SegmentationMetrics(), PredictionMonitor(), ThresholdCurve()]),
            [CollapseDetector(), EpochSummary(lambda line: None)],
        ),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for block in range(blocks + 1):
        # Each goes first as often as the others, so that a drift of the machine cancels.
        turn = list(ways)[block % 3 :] + list(ways)[: block % 3]
        for way in turn:
            model, callbacks = ways[way]
            times[way].append(_block(model, callbacks, batch, steps))

    step = 1000 * statistics.median(times["plain"][1:]) / steps
    print(
        f"{keras.config.backend()}, {size} x {size}, batch {batch_size}, {filters} filters, {blocks} turns of {steps} "
        f"steps; a plain step took {step:.0f} ms"
    )
    for over, under in (("kseg", "without detector"), ("kseg", "plain")):
        ratios = [ours / theirs for ours, theirs in zip(times[over][1:], times[under][1:], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"  {over} / {under} = {median:.3f} (quartiles {low:.3f} to {high:.3f})")


def _model(filters: int, loss: keras.losses.Loss, metrics: list[Any]) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = unet(filters=filters)
    model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=metrics)
    return model


def _block(model: keras.Model, callbacks: list[keras.callbacks.Callback], batch: Batch, steps: int) -> float:
    """Seconds for an epoch of some steps on one batch. `fit` returns when the last of them is done."""

    def batches() -> Iterator[Batch]:
        while True:
            yield batch

    start = time.perf_counter()
    model.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks)
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
