"""F1 at the images' own size by each way of predicting: resized as in training or by tiles, with and without TTA.

    python benchmarks/predicting.py --nuclei path/to/nuclei

Trains on generated cracks, 1 to 3 pixels wide in images of 256 to 512 pixels, and on nuclei (256 to 1360 pixels), each
at two sizes; then evaluates each model on the validation images in each way. Takes two hours on two cores.
"""

import argparse
import tempfile
from pathlib import Path

import cv2
import numpy as np

from kseg.config import TrainConfig
from kseg.config.evaluate import EvaluateConfig
from kseg.inference.evaluate import evaluate
from kseg.inference.scores import summarise
from kseg.runs import train

WAYS = {
    "resized as in training": {},
    "resized, mirrors and turns": {"tta": ("mirrors", "turns")},
    "resized, also scales": {"tta": ("mirrors", "turns", "scales")},
    "tiles at the images' size": {"tile": True},
    "tiles, mirrors and turns": {"tile": True, "tta": ("mirrors", "turns")},
}


def draw_cracks(folder: Path, number: int) -> Path:
    """Write images of walls with cracks, and their masks."""
    for index in range(number):
        rng = np.random.default_rng([7, index])
        height, width = rng.integers(256, 513, 2)
        wall = cv2.resize(rng.normal(150, 25, (16, 16)).astype(np.float32), (int(width), int(height)))
        wall += rng.normal(0, 10, wall.shape)
        mask = np.zeros((height, width), np.uint8)
        for _ in range(rng.integers(1, 4)):
            steps = np.cumsum(rng.normal(rng.normal(0, 6, 2), 8, (rng.integers(10, 60), 2)), axis=0)
            points = (rng.uniform(0, (width, height)) + steps).astype(np.int32)
            cv2.polylines(mask, [points], False, 255, int(rng.integers(1, 4)))
        wall -= cv2.GaussianBlur(mask, (3, 3), 0) / 255 * rng.uniform(30, 70)
        for kind, picture in (("images", wall), ("masks", mask)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / kind / f"{index:03}.png"), np.clip(picture, 0, 255).astype(np.uint8))
    return folder


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nuclei", help="the folder of the nuclei; without it cracks alone")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=(128, 256), help="of the images, in training")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sets = {"cracks": str(draw_cracks(place / "cracks", 300))}
        if given.nuclei:
            sets["nuclei"] = given.nuclei
        print("| data, trained at | " + " | ".join(WAYS) + " |", "| --- |" + " --- |" * len(WAYS), sep="\n")
        for name, dataset in sets.items():
            for size in given.sizes:
                run_dir = place / f"{name}-{size}"
                config = TrainConfig(
                    dataset=dataset, epochs=given.epochs, image_size=size, batch_size=8, run_dir=run_dir, seed=0
                )
                train(config)
                cells = []
                for how in WAYS.values():
                    settings = how | ({"tile": size} if "tile" in how else {})
                    found = evaluate(run_dir / "best.keras", EvaluateConfig(dataset=dataset, **settings))
                    summary = summarise(found.images, found.names)
                    low, high = summary["interval_95"]["f1"]
                    cells.append(f"{summary['mean']['f1']:.3f} ({low:.3f} to {high:.3f})")
                print(f"| {name}, {size} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
