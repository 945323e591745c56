"""Time of a training step with kseg: with the detector over without it, and with all of kseg over plain Keras.

    python benchmarks/overhead.py                 # on JAX
    KERAS_BACKEND=torch python benchmarks/overhead.py
    python benchmarks/overhead.py --classes 4 21  # of several classes

Three models with the same weights are trained on the same batch with the same optimizer: plain, with Keras's
cross-entropy alone; with kseg's loss, metrics and log lines; and with the detector and its two metrics too. They run in
turns, a block of steps each, in one process. A ratio compares a block with the block beside it; the median of the
ratios is the cost, the quartiles its spread. A block is one `fit` of one epoch and includes what callbacks do at the
end of an epoch: the detector checks and stores the weights once per block (in a run it checks every 50 batches).
Checkpoints are not included, because plain Keras writes them too.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import logging
import statistics
import time
from collections.abc import Iterator

import keras
import numpy as np
import tyro

from kseg.callbacks import CollapseDetector, EpochSummary
from kseg.losses import CombinedSegmentationLoss
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.models import unet

Batch = tuple[np.ndarray, np.ndarray]


def main(
    classes: tuple[int, ...] = (1, 4, 21),
    size: int = 256,
    batch_size: int = 2,
    filters: int = 16,
    steps: int = 10,
    blocks: int = 12,
) -> None:
    """Print the ratios of the step times, with their spread.

    Args:
        classes: Numbers of classes, background among them; 1 is foreground against background.
        size: Height and width of the images, in pixels.
        batch_size: Images per step.
        filters: Filters of the U-Net at full resolution.
        steps: Steps per block.
        blocks: Blocks measured for each model, after one to warm up.
    """
    kseg.data.quiet_tensorflow()
    logging.getLogger("kseg").setLevel(logging.ERROR)  # no model can predict noise: the detector would warn
    for number in classes:
        _compare(number, size, batch_size, filters, steps, blocks)


def _compare(classes: int, size: int, batch_size: int, filters: int, steps: int, blocks: int) -> None:
    """Measure models of so many classes, and print their ratios."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, size, size, 3), np.uint8)
    batch = images, (images[..., :1] > 200 if classes == 1 else images[..., :1] % classes).astype(np.uint8)

    def model(loss: keras.losses.Loss, *metrics: keras.metrics.Metric) -> keras.Model:
        keras.utils.set_random_seed(0)
        model = unet(filters=filters, outputs=classes)
        model.compile(keras.optimizers.AdamW(1e-3), loss, metrics=list(metrics))
        return model

    kinds = keras.losses.BinaryCrossentropy, keras.losses.SparseCategoricalCrossentropy
    plain = kinds[classes > 1](from_logits=True)
    ways: dict[str, tuple[keras.Model, list[keras.callbacks.Callback]]] = {
        "plain": (model(plain), []),
        "without detector": (
            model(CombinedSegmentationLoss(), SegmentationMetrics()),
            [EpochSummary(lambda line: None)],
        ),
        "kseg": (
            model(CombinedSegmentationLoss(), SegmentationMetrics(), PredictionMonitor(), ThresholdCurve()),
            [CollapseDetector(), EpochSummary(lambda line: None)],
        ),
    }
    times: dict[str, list[float]] = {way: [] for way in ways}
    for block in range(blocks + 1):
        # Each is first equally often, so that a drift of the machine cancels.
        turn = list(ways)[block % 3 :] + list(ways)[: block % 3]
        for way in turn:
            model, callbacks = ways[way]
            times[way].append(_block(model, callbacks, batch, steps))

    step = 1000 * statistics.median(times["plain"][1:]) / steps
    print(
        f"{keras.config.backend()}, {classes} classes, {size} x {size}, batch {batch_size}, {filters} filters, "
        f"{blocks} turns of {steps} steps; a plain step took {step:.0f} ms"
    )
    for over, under in (("kseg", "without detector"), ("kseg", "plain")):
        ratios = [ours / theirs for ours, theirs in zip(times[over][1:], times[under][1:], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(f"  {over} / {under} = {median:.3f} (quartiles {low:.3f} to {high:.3f})")


def _block(model: keras.Model, callbacks: list[keras.callbacks.Callback], batch: Batch, steps: int) -> float:
    """Train for an epoch of `steps` steps on one batch; return the seconds. `fit` returns after the last step."""

    def batches() -> Iterator[Batch]:
        while True:
            yield batch

    start = time.perf_counter()
    model.fit(batches(), steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=callbacks)
    return time.perf_counter() - start


if __name__ == "__main__":
    tyro.cli(main)
