"""Speed of the training pipeline over the speed of decoding alone, waiting time of training, and memory.

    python benchmarks/pipeline.py --dataset path/to/nuclei

Rates of one process on the same cores, in images per second, measured in turns. A ratio compares a turn with the turn
beside it; its median is printed with the quartiles. `decoding` only reads and decodes every image and mask with Pillow,
in one thread per core. `streamed` is the training pipeline of kseg with `cache="none"`: read, decode, resize, augment,
batch. `from memory` and `from disk` are the same with decoded images cached there. `albumentations` is a torch
DataLoader with one worker per core that does the same work, if torch and albumentations are installed.

Then the share of a training step spent waiting for data: the time in the iterator over the time of the epoch.

Then ratios of the largest resident size: a process that reads 20,000 generated images over one that reads 1,000, and a
process that reads 1,000 images ten times over one that reads them once.
"""

import kseg  # noqa: F401  isort: skip  (before keras: makes JAX the default)

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from PIL import Image

from kseg.data import Batches, Foreground, find_foreground, open_sources, training_batches
from kseg.data.pipeline.cache import CacheSetting
from kseg.data.sources.folder import FolderSource

_CORES = len(os.sched_getaffinity(0))


def main(dataset: Path, size: int = 256, batch_size: int = 4, turns: int = 5) -> None:
    """Print the rates and their ratios.

    Args:
        dataset: A folder with images/ and masks/, or train/ and val/ with those.
        size: Side that images are resized to, in pixels.
        batch_size: Images per batch.
        turns: Measurements of each, after one turn to warm up.
    """
    source, _ = open_sources(str(dataset))
    foreground = find_foreground(source)
    caches = {"streamed": "none", "from memory": "memory", "from disk": "disk"}
    batches = {name: _batches(source, foreground, size, batch_size, cache) for name, cache in caches.items()}
    epochs: dict[str, Callable[[], Iterable[Any]]] = {
        "decoding": lambda: _decode(source),
        # A new iterator in each turn: an open one would fill its buffers while the others are measured.
        **{name: lambda data=data: islice(data, data.steps) for name, data in batches.items()},
    }
    loader = _albumentations(source, size, batch_size)
    if loader is None:
        print("albumentations or torch is not installed: left out")
    else:
        epochs["albumentations"] = lambda: loader

    rates: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(turns + 1):
        for name, epoch in epochs.items():
            start = time.perf_counter()
            count = sum(1 for _ in epoch())
            unit = 1 if name == "decoding" else batch_size
            rates[name].append(count * unit / (time.perf_counter() - start))
    for name in epochs:
        print(f"{name:15} {statistics.median(rates[name][1:]):6.0f} images a second")
    for name, under in (
        ("streamed", "decoding"),
        ("streamed", "albumentations"),
        ("from memory", "decoding"),
        ("from disk", "decoding"),
    ):
        if under in rates:
            ratios = [ours / theirs for ours, theirs in zip(rates[name][1:], rates[under][1:], strict=True)]
            low, median, high = statistics.quantiles(ratios, n=4)
            print(f"{name} / {under} = {median:.2f} (quartiles {low:.2f} to {high:.2f})")
    _wait(source, foreground, size, batch_size)
    _memory()


def _decode(source: FolderSource) -> Iterator[None]:
    """Decode every pair in threads: Pillow releases the GIL while it decodes."""

    def decode(paths: tuple[Path, Path]) -> None:
        for path in paths:
            with Image.open(path) as file:
                file.load()

    with ThreadPoolExecutor(_CORES) as threads:
        yield from threads.map(decode, zip(source.images, source.masks, strict=True))


def _batches(source: FolderSource, foreground: Foreground, size: int, batch_size: int, cache: CacheSetting) -> Batches:
    return training_batches(source, foreground, image_size=(size, size), batch_size=batch_size, seed=0, cache=cache)


def _albumentations(source: FolderSource, size: int, batch_size: int) -> Any:
    """Return a loader with the augmentations of kseg; None if torch or albumentations is not installed."""
    try:
        import albumentations
        import torch
    except ImportError:
        return None
    transform = albumentations.Compose(
        [
            albumentations.Resize(size, size),
            albumentations.HorizontalFlip(),
            albumentations.VerticalFlip(),
            albumentations.RandomRotate90(),
            albumentations.RandomResizedCrop((size, size), scale=(0.5, 1.0)),
            albumentations.RandomBrightnessContrast(),
        ]
    )

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(source)

        def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
            with Image.open(source.images[index]) as image, Image.open(source.masks[index]) as mask:
                example = transform(image=np.asarray(image.convert("RGB")), mask=np.asarray(mask))
            return example["image"], example["mask"]

    return torch.utils.data.DataLoader(Pairs(), batch_size, shuffle=True, num_workers=_CORES, drop_last=True)


def _wait(source: FolderSource, foreground: Foreground, size: int, batch_size: int) -> None:
    """Train for an epoch after one that compiles; print the share of its time spent waiting for a batch."""
    import keras

    from kseg.losses import CombinedSegmentationLoss
    from kseg.models import unet

    model = unet()
    model.compile(keras.optimizers.AdamW(1e-3), CombinedSegmentationLoss())
    for name, cache in (("streamed", "none"), ("from memory", "memory"), ("from disk", "disk")):
        batches = iter(_batches(source, foreground, size, batch_size, cache))
        waits: list[float] = []

        def measure_waits(batches: Iterator[Any] = batches, waits: list[float] = waits) -> Iterator[Any]:
            while True:
                start = time.perf_counter()
                batch = next(batches)
                waits.append(time.perf_counter() - start)
                yield batch

        data = measure_waits()
        model.fit(data, steps_per_epoch=5, shuffle=False, verbose=0)
        waits.clear()
        start = time.perf_counter()
        model.fit(data, steps_per_epoch=20, shuffle=False, verbose=0)
        share = sum(waits) / (time.perf_counter() - start)
        print(f"{name}: {share:.1%} of a training step is spent waiting for data")


def _memory() -> None:
    """Print the ratios of the largest resident size of processes."""
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        _generate(Path(folder), 20_000)
        for cache in ("none", "disk"):
            peaks = {}
            for count, epochs in ((1_000, 1), (20_000, 1), (1_000, 10)):
                with ProcessPoolExecutor(1, fresh) as process:
                    peaks[count, epochs] = process.submit(_peak, folder, count, epochs, cache).result()
            once = peaks[1_000, 1]
            print(
                f"memory, cache {cache}: 20,000 images / 1,000 = {peaks[20_000, 1] / once:.3f}, "
                f"ten epochs / one = {peaks[1_000, 10] / once:.3f} of {once:.0f} MiB"
            )


def _generate(folder: Path, count: int) -> None:
    """Write PNG files of noise, 64 x 64: `count` images and as many masks."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(count):
        pixels = rng.integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:05}.png", compress_level=1)
        Image.fromarray((pixels > 200).astype(np.uint8)).save(folder / "masks" / f"{number:05}.png", compress_level=1)


def _peak(folder: str, count: int, epochs: int, cache: CacheSetting) -> float:
    """Read so many images for so many epochs; return the largest resident size of this process in MiB."""
    source, _ = open_sources(folder, val_fraction=1e-4, take=count)
    batches = _batches(source, Foreground((1,)), 64, 4, cache)
    for _ in islice(batches, epochs * batches.steps):
        pass
    # Not ru_maxrss: it starts at the size of the parent process.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    tyro.cli(main)
