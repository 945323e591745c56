"""Time of a training step by how the C library gets memory from the system.

    python benchmarks/allocator.py                 # on JAX
    KERAS_BACKEND=torch python benchmarks/allocator.py

Each turn starts three fresh processes, one after the other: plain; with `kseg.allocator.keep_freed_memory`, as in
`kseg train`; and with huge pages, which the environment asks for. All train kseg's U-Net on the same batches, with
kseg's loss and metrics; a time is the median of a process. A ratio compares a way with plain in the same turn; its
median is printed with the least and the greatest. So are the pages that a step asks of the system, and the largest
resident size.
"""

import kseg  # noqa: F401  isort: skip  (before keras: makes JAX the default)

import multiprocessing
import os
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import tyro

from kseg.allocator import keep_freed_memory

_WAYS = {"plain": {}, "kept": {}, "huge pages": {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}}
"""The ways, and what each has in the environment."""


def main(
    turns: int = 5,
    batches: tuple[tuple[int, int], ...] = ((4, 128), (2, 256), (8, 256)),
    steps: int = 12,
) -> None:
    """Print the ratios of the step times, with their spread.

    Args:
        turns: Processes of each way for each batch.
        batches: Images in a batch, and their side in pixels.
        steps: Steps of each process, after three to warm up.
    """
    for images, side in batches:
        measured = [{way: _in_process(way, images, side, steps) for way in _WAYS} for _ in range(turns)]
        print(f"{images} x {side} x {side}:")
        for way in _WAYS:
            of_way = zip(*(turn[way] for turn in measured), strict=True)
            seconds, pages, mib = map(statistics.median, of_way)
            ratios = [turn[way][0] / turn["plain"][0] for turn in measured]
            print(
                f"  {way + ':':12}{seconds * 1e3:5.0f} ms a step, {statistics.median(ratios):.3f} of plain "
                f"({min(ratios):.3f} to {max(ratios):.3f}); {pages:.0f} pages a step; at most {mib:.0f} MiB"
            )


def _in_process(way: str, images: int, side: int, steps: int) -> tuple[float, float, float]:
    """Return what `_measure` returns in a fresh process."""
    os.environ |= _WAYS[way]
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            return pool.submit(_measure, images, side, steps, way == "kept").result()
    finally:
        for name in _WAYS[way]:
            del os.environ[name]


def _measure(images: int, side: int, steps: int, kept: bool) -> tuple[float, float, float]:
    """Return seconds and pages of a step, and the largest resident size in MiB."""
    if kept and not keep_freed_memory():
        raise SystemExit("Settings for malloc in the environment, or no glibc: nothing to measure.")
    import keras
    import numpy as np

    from kseg.losses import CombinedSegmentationLoss
    from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
    from kseg.models import unet

    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (images, side, side, 3), np.uint8)
    y = (x[..., :1] > 200).astype(np.uint8)
    model = unet()
    metrics = [SegmentationMetrics(), PredictionMonitor(), ThresholdCurve()]
    model.compile(keras.optimizers.AdamW(1e-3), CombinedSegmentationLoss(), metrics=metrics)
    for _ in range(3):
        model.train_on_batch(x, y)
    pages, times = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, []
    for _ in range(steps):
        start = time.perf_counter()
        model.train_on_batch(x, y)
        times.append(time.perf_counter() - start)
    used = resource.getrusage(resource.RUSAGE_SELF)
    return statistics.median(times), (used.ru_minflt - pages) / steps, used.ru_maxrss / 1024


if __name__ == "__main__":
    tyro.cli(main)
