"""Peak memory and time of predicting one large image by tiles: kseg, a loop of `model.predict`, and MONAI's inferer.

    KERAS_BACKEND=torch python benchmarks/tiling.py --size 10000

The three predict the same TIFF file with the same U-Net of random weights, the same tile and overlap, each in a process
of its own, in turns. MONAI runs where it is installed and the backend is torch; it gets the same Keras model. Time goes
from opening the file to the mask, after one tile to warm up; memory is the peak of the whole process.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

WAYS = ("kseg", "loop", "monai")


def draw(path: Path, size: int) -> None:
    """Write a TIFF of noise, some rows at a time."""
    image = tifffile.memmap(path, shape=(size, size, 3), dtype=np.uint8, photometric="rgb")
    rng = np.random.default_rng(0)
    for top in range(0, size, 256):
        rows = image[top : top + 256]
        rows[:] = rng.integers(0, 256, rows.shape, dtype=np.uint8)
    image.flush()


def by_kseg(model: Path, image: Path, tile: int, overlap: float, batch: int) -> dict[str, float]:
    """Predict as `kseg predict` does, which reads and joins a row of tiles at a time."""
    from kseg import load

    predictor = load(model, tile=tile, overlap=overlap, batch_size=batch)
    predictor(np.zeros((2 * tile, 2 * tile, 3), np.uint8))
    start = time.perf_counter()
    mask = predictor(image)
    return {"seconds": time.perf_counter() - start, "foreground": float(mask.mean())}


def by_loop(model: Path, image: Path, tile: int, overlap: float, _: int) -> dict[str, float]:
    """Predict tile by tile with `model.predict`, and average where tiles overlap: what people write by hand."""
    from kseg.inference.predictor import open_model

    network, _ = open_model(model)
    network.predict(np.zeros((1, tile, tile, 3), np.uint8), verbose=0)
    start = time.perf_counter()
    picture = tifffile.imread(image)
    height, width = picture.shape[:2]
    sums, times = (np.zeros((height, width), np.float32) for _ in range(2))
    step = int(tile * (1 - overlap))
    for top in (*range(0, height - tile, step), height - tile):
        for left in (*range(0, width - tile, step), width - tile):
            place = slice(top, top + tile), slice(left, left + tile)
            logits = network.predict(picture[place][None], verbose=0)[0, ..., 0]
            sums[place] += 1 / (1 + np.exp(-logits))
            times[place] += 1
    mask = sums / times > 0.5
    return {"seconds": time.perf_counter() - start, "foreground": float(mask.mean())}


def by_monai(model: Path, image: Path, tile: int, overlap: float, batch: int) -> dict[str, float]:
    """Predict with MONAI's SlidingWindowInferer, Gaussian weights, and the Keras model as its network."""
    import torch
    from monai.inferers import SlidingWindowInferer

    from kseg.inference.predictor import open_model

    network, _ = open_model(model)

    def probabilities(tiles: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(network(tiles.to(torch.uint8).permute(0, 2, 3, 1)).permute(0, 3, 1, 2))

    with torch.no_grad():
        probabilities(torch.zeros((batch, 3, tile, tile)))
        start = time.perf_counter()
        # The inferer adds up in the dtype of its input.
        picture = torch.from_numpy(tifffile.imread(image)).permute(2, 0, 1)[None].float()
        inferer = SlidingWindowInferer((tile, tile), sw_batch_size=batch, overlap=overlap, mode="gaussian")
        mask = inferer(picture, probabilities)[0, 0] > 0.5
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "foreground": float(mask.float().mean())}


def run_way(way: str, *arguments: Any) -> None:
    """Predict in one way in this process, and print what it took."""
    found = {"kseg": by_kseg, "loop": by_loop, "monai": by_monai}[way](*arguments)
    # Not ru_maxrss, which begins with what the parent held when it started this process.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 2**20  # KiB
    print(json.dumps(found | {"peak": peak}))


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=10_000, help="height and width of the image, in pixels")
    parser.add_argument("--tile", type=int, default=512, help="height and width of a tile")
    parser.add_argument("--overlap", type=float, default=0.25, help="share of a tile that the next one covers too")
    parser.add_argument("--batch-size", type=int, default=1, help="tiles in a call of the model, of kseg and MONAI")
    parser.add_argument("--filters", type=int, default=8, help="of the U-Net")
    parser.add_argument("--rounds", type=int, default=3, help="times that each way runs")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS, help="which of them")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        way, model, image = given.child
        run_way(way, Path(model), Path(image), given.tile, given.overlap, given.batch_size)
        return
    from kseg.models import unet

    ways = [way for way in given.ways if way != "monai" or (find_spec("monai") and is_torch())]
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    with tempfile.TemporaryDirectory() as folder:
        model, image = Path(folder, "model.keras"), Path(folder, "image.tif")
        unet(filters=given.filters).save(model)
        draw(image, given.size)
        same = ["--tile", str(given.tile), "--overlap", str(given.overlap), "--batch-size", str(given.batch_size)]
        for _ in range(given.rounds):
            for way in ways:
                child = [sys.executable, __file__, "--child", way, str(model), str(image), *same]
                lines = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
                found[way].append(json.loads(lines[-1]))
    megapixels = given.size**2 / 1e6
    for way, results in found.items():
        seconds = [one["seconds"] / megapixels for one in results]
        ratios = [one["seconds"] / kseg["seconds"] for one, kseg in zip(results, found[ways[0]], strict=True)]
        print(
            f"{way}: {statistics.median(seconds):.3f} s a megapixel ({min(seconds):.3f} to {max(seconds):.3f}), "
            f"{statistics.median(ratios):.2f} times {ways[0]} ({min(ratios):.2f} to {max(ratios):.2f}), "
            f"peak memory {max(one['peak'] for one in results):.2f} GiB, foreground {results[0]['foreground']:.4f}"
        )


def is_torch() -> bool:
    """Say whether Keras runs on torch."""
    return os.environ.get("KERAS_BACKEND") == "torch"


if __name__ == "__main__":
    main()
