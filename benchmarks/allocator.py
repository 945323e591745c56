"""Time of a training step where the C library keeps freed memory, as in `kseg train`, over one where it does not.

    KERAS_BACKEND=torch python benchmarks/allocator.py

On JAX there is nothing to gain: it takes its memory in threads of its own.

Each turn starts two fresh processes, one after the other: plain, and with `kseg.allocator.keep_freed_memory`. Both
train kseg's U-Net on the same batches, with kseg's loss and metrics; a time is the median of a process. A ratio
compares the two of a turn; its median is printed with the least and the greatest. So are the pages that a step asks of
the system, and the largest resident size.
"""

import kseg  # noqa: F401  isort: skip  (before keras: makes JAX the default)

import multiprocessing
import resource
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import tyro

from kseg.allocator import keep_freed_memory


def main(
    turns: int = 5,
    batches: tuple[tuple[int, int], ...] = ((4, 128), (2, 256), (8, 256)),
    steps: int = 12,
) -> None:
    """Print the ratios of the step times, with their spread.

    Args:
        turns: Pairs of processes for each batch.
        batches: Images in a batch, and their side in pixels.
        steps: Steps of each process, after three to warm up.
    """
    for images, side in batches:
        pairs = [[_in_process(images, side, steps, kept) for kept in (False, True)] for _ in range(turns)]
        print(f"{images} x {side} x {side}:")
        for index, way in enumerate(("plain", "kept")):
            seconds, pages, mib = (statistics.median(values) for values in zip(*(p[index] for p in pairs), strict=True))
            print(f"  {way}: {seconds * 1e3:.0f} ms a step, {pages:.0f} pages a step, {mib:.0f} MiB at most")
        ratios = [kept[0] / plain[0] for plain, kept in pairs]
        print(f"  kept / plain = {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})")


def _in_process(*arguments: int) -> tuple[float, float, float]:
    """Return what `_measure` returns in a fresh process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_measure, *arguments).result()


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
