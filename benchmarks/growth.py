"""Whether time and memory grow with the number of files, and with the number of epochs.

    python benchmarks/growth.py

First 1,000 and 100,000 pairs of small files, each in a process of its own: the seconds until the first batch is there
(the files are listed, their headers and 1,000 masks read), the milliseconds of a batch after it, read and augmented
anew, and the largest resident size. Then 1,000 epochs of one step with the metrics and callbacks of `kseg train`, and a
checkpoint in each: the milliseconds of an epoch and the resident size, early and late.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import logging
import multiprocessing
import os
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from pathlib import Path

import numpy as np
import psutil
import tyro
from PIL import Image

from kseg.data import find_foreground, open_sources, training_batches

_DIFFERENT = 20  # files; all others are links to them
_BATCHES = 200


def main(counts: tuple[int, int] = (1_000, 100_000), epochs: int = 1_000) -> None:
    """Print the numbers and their ratios.

    Args:
        counts: Pairs of files, few and many.
        epochs: Epochs of one step.
    """
    fresh = multiprocessing.get_context("spawn")
    measured = []
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, fresh) as process:
            _link_files(Path(folder), count)
            start, batch, peak = process.submit(_read, folder).result()
            measured.append((start, batch, peak))
            print(
                f"{count:,} pairs: {start:.1f} s to the first batch, {batch:.1f} ms a batch, {peak:.0f} MiB", flush=True
            )
    (_, few_batch, few_peak), (_, many_batch, many_peak) = measured
    print(
        f"many over few: {many_batch / few_batch:.2f} of a batch, {many_peak / few_peak:.2f} of the memory", flush=True
    )
    with ProcessPoolExecutor(1, fresh) as process:
        early, late = process.submit(_train, epochs).result()
    print(f"epochs {epochs // 10} to {epochs // 5}: {early[0]:.1f} ms an epoch, {early[1]:.0f} MiB")
    print(f"the last {epochs // 10}: {late[0]:.1f} ms an epoch, {late[1]:.0f} MiB")


def _link_files(folder: Path, count: int) -> None:
    """Make `count` images of noise, 64 x 64, and as many masks; most are links to a few files."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
        for number in range(count):
            path = folder / kind / f"{number:06}.png"
            if number < _DIFFERENT:
                pixels = rng.integers(0, 256, (64, 64), np.uint8)
                Image.fromarray(pixels if kind == "images" else (pixels > 200).astype(np.uint8)).save(path)
            else:
                os.link(path.with_name(f"{number % _DIFFERENT:06}.png"), path)


def _read(folder: str) -> tuple[float, float, float]:
    """Return seconds to the first batch, milliseconds of a batch, and the largest resident size in MiB."""
    start = time.perf_counter()
    source, _ = open_sources(folder, val_fraction=1e-5)
    batches = iter(
        training_batches(source, find_foreground(source), image_size=(64, 64), batch_size=8, seed=0, cache="none")
    )
    next(batches)
    first = time.perf_counter() - start
    start = time.perf_counter()
    for _ in islice(batches, _BATCHES):
        pass
    return first, (time.perf_counter() - start) / _BATCHES * 1000, _status("VmHWM")


def _train(epochs: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the median milliseconds of an epoch, and the resident size in MiB, of early epochs and of the last."""
    import keras

    from kseg import callbacks, losses, metrics

    keras.utils.set_random_seed(0)
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(1, 3, padding="same")(images))
    model.compile(
        "adam",
        losses.CombinedSegmentationLoss(),
        metrics=[metrics.SegmentationMetrics(), metrics.PredictionMonitor(), metrics.ThresholdCurve()],
    )
    ends, sizes = [time.perf_counter()], []

    def note(epoch: int, logs: object) -> None:
        ends.append(time.perf_counter())
        sizes.append(psutil.Process().memory_info().rss / 2**20)

    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (4, 32, 32, 3), np.uint8)
    masks = (pictures[..., :1] > 150).astype(np.uint8)
    with tempfile.TemporaryDirectory() as run:
        model.fit(
            pictures,
            masks,
            validation_data=(pictures, masks),
            epochs=epochs,
            verbose=0,
            callbacks=[
                callbacks.CollapseDetector(preflight=False),
                callbacks.EpochSummary(logging.getLogger("growth").debug),
                callbacks.HistoryFile(Path(run, "history.csv")),
                keras.callbacks.LambdaCallback(on_epoch_end=note),
                callbacks.RunCheckpoint(run, every="1 epoch", print_fn=logging.getLogger("growth").debug),
            ],
        )
    spans = np.diff(ends) * 1000
    tenth = epochs // 10
    return (
        (statistics.median(spans[tenth : 2 * tenth]), sizes[2 * tenth - 1]),
        (statistics.median(spans[-tenth:]), sizes[-1]),
    )


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    kseg.data.quiet_tensorflow()
    tyro.cli(main)
