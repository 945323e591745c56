"""How fast images reach the model, over how fast they can be decoded at all; and what memory that takes.

    python benchmarks/pipeline.py --dataset path/to/nuclei

Rates of one process on the same cores, in images a second, taken in turns; a ratio is one turn over the turn beside
it, its median is printed with the quartiles. `decoding` reads and decodes every image and mask with Pillow in as many
threads as there are cores, and does nothing else. `streamed` is kseg's training pipeline with `cache="none"`: read,
decode, resize, augment, batch. `from memory` and `from disk` are the same once decoded images are kept there.
`albumentations` is a torch DataLoader with as many workers, doing the same work, where torch and albumentations are
installed.

Then the share of a training step that is spent waiting for data: the time in the iterator over the time of the epoch.

Then the largest resident size of processes that read 20,000 generated images once, over that of one that reads 1,000,
and of one that reads 1,000 ten times over one that reads them once.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
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
        batch_size: Images a batch.
        turns: How often each is measured, after a turn to warm up.
    """
    kseg.data.quiet_tensorflow()
    source, _ = open_sources(str(dataset))
    foreground = find_foreground(source)
    kept = {"streamed": "none", "from memory": "memory", "from disk": "disk"}
    batches = {name: _batches(source, foreground, size, batch_size, cache) for name, cache in kept.items()}
    ways: dict[str, Callable[[], Iterable[Any]]] = {
        "decoding": lambda: _decode(source),
        # Begun anew in each turn: what is under way fills its buffers while others are measured.
        **{name: lambda made=made: made.dataset.take(made.steps).as_numpy_iterator() for name, made in batches.items()},
    }
    loader = _albumentations(source, size, batch_size)
    if loader is None:
        print("albumentations or torch is not installed, and left out")
    else:
        ways["albumentations"] = lambda: loader

    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(turns + 1):
        for name, way in ways.items():
            start = time.perf_counter()
            count = sum(1 for _ in way())
            unit = 1 if name == "decoding" else batch_size
            rates[name].append(count * unit / (time.perf_counter() - start))
    for name in ways:
        print(f"{name:15} {statistics.median(rates[name][1:]):6.0f} images a second")
    for name, under in (
        ("streamed", "decoding"),
        ("streamed", "albumentations"),
        ("from memory", "decoding"),
        ("from disk", "decoding"),
    ):
        if under in rates:
            ratios = [one / other for one, other in zip(rates[name][1:], rates[under][1:], strict=True)]
            low, median, high = statistics.quantiles(ratios, n=4)
            print(f"{name} / {under} = {median:.2f} (quartiles {low:.2f} to {high:.2f})")
    _wait(source, foreground, size, batch_size)
    _memory()


def _decode(source: FolderSource) -> Iterator[None]:
    """Decode every pair in threads: Pillow lets go of Python while it decodes."""

    def decode(paths: tuple[Path, Path]) -> None:
        for path in paths:
            with Image.open(path) as file:
                file.load()

    with ThreadPoolExecutor(_CORES) as threads:
        yield from threads.map(decode, zip(source.images, source.masks, strict=True))


def _batches(source: FolderSource, foreground: Foreground, size: int, batch_size: int, cache: CacheSetting) -> Batches:
    return training_batches(source, foreground, image_size=(size, size), batch_size=batch_size, seed=0, cache=cache)


def _albumentations(source: FolderSource, size: int, batch_size: int) -> Any:
    """A loader that flips, turns, scales, crops, brightens and stretches contrast, as kseg does."""
    try:
        import albumentations
        import torch
    except ImportError:
        return None
    change = albumentations.Compose(
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
                changed = change(image=np.asarray(image.convert("RGB")), mask=np.asarray(mask))
            return changed["image"], changed["mask"]

    return torch.utils.data.DataLoader(Pairs(), batch_size, shuffle=True, num_workers=_CORES, drop_last=True)


def _wait(source: FolderSource, foreground: Foreground, size: int, batch_size: int) -> None:
    """Train for an epoch after one that compiles, and say what part of it was spent waiting for a batch."""
    import keras

    from kseg.losses import CombinedSegmentationLoss
    from kseg.models import unet

    model = unet()
    model.compile(keras.optimizers.AdamW(1e-3), CombinedSegmentationLoss())
    for name, cache in (("streamed", "none"), ("from memory", "memory"), ("from disk", "disk")):
        batches = _batches(source, foreground, size, batch_size, cache).dataset.as_numpy_iterator()
        waited: list[float] = []

        def timed(batches: Iterator[Any] = batches, waited: list[float] = waited) -> Iterator[Any]:
            while True:
                start = time.perf_counter()
                batch = next(batches)
                waited.append(time.perf_counter() - start)
                yield batch

        data = timed()
        model.fit(data, steps_per_epoch=5, shuffle=False, verbose=0)
        waited.clear()
        start = time.perf_counter()
        model.fit(data, steps_per_epoch=20, shuffle=False, verbose=0)
        share = sum(waited) / (time.perf_counter() - start)
        print(f"{name}: {share:.1%} of a training step is spent waiting for data")


def _memory() -> None:
    """Compare processes by their largest resident size."""
    fresh = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as place:
        _generate(Path(place), 20_000)
        for cache in ("none", "disk"):
            peaks = {}
            for count, epochs in ((1_000, 1), (20_000, 1), (1_000, 10)):
                with ProcessPoolExecutor(1, fresh) as process:
                    peaks[count, epochs] = process.submit(_peak, place, count, epochs, cache).result()
            once = peaks[1_000, 1]
            print(
                f"memory, cache {cache}: 20,000 images / 1,000 = {peaks[20_000, 1] / once:.3f}, "
                f"ten epochs / one = {peaks[1_000, 10] / once:.3f} of {once:.0f} MiB"
            )


def _generate(folder: Path, count: int) -> None:
    """Noise of 64 x 64, in PNG: each a file of its own."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for number in range(count):
        pixels = rng.integers(0, 256, (64, 64), np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:05}.png", compress_level=1)
        Image.fromarray((pixels > 200).astype(np.uint8)).save(folder / "masks" / f"{number:05}.png", compress_level=1)


def _peak(folder: str, count: int, epochs: int, cache: CacheSetting) -> float:
    """The largest resident size of this process, in MiB, once it has read so many images so often."""
    source, _ = open_sources(folder, val_fraction=1e-4, take=count)
    batches = _batches(source, Foreground((1,)), 64, 4, cache)
    for _ in batches.dataset.take(epochs * batches.steps):
        pass
    # The kernel's ru_maxrss would begin at the size of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


if __name__ == "__main__":
    tyro.cli(main)
