"""What a start from weights of another run is worth on few images: nuclei, 10, 20 and 50 of them, 128 x 128.

    python benchmarks/pretraining.py --nuclei path/to/nuclei     # an hour on two cores

A network with an encoder is trained on the built-in shapes/classes, and on half of the nuclei. Then runs on few images
of the other half start from random weights and, by `--start-from`, from each of the two: the same images, number of
steps and settings. Each line is the best validation F1 of a run, on half of the 82 images for validation, by seed.
ImageNet's weights are not measured: they cannot be downloaded on machines without a network.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from subsets import link, names_of

from kseg.runs import TrainingResult


def main(
    nuclei: Path,
    images: tuple[int, ...] = (10, 20, 50),
    seeds: int = 5,
    steps: int = 100,
    pretraining_epochs: int = 20,
    model: str = "fpn",
    encoder: str = "mobilenetv3_small",
) -> None:
    """Train each combination and print its F1 by seed.

    Args:
        nuclei: The folder of nuclei, with train and val, masks of the same names as their images.
        images: Numbers of training images.
        seeds: Runs of each combination.
        steps: Training steps of each run, of 5 images.
        pretraining_epochs: Epochs on each set that weights come from, in steps of 5 images.
        model: The decoder.
        encoder: The encoder.
    """
    network = {"model": model, "encoder": encoder, "image_size": 128, "batch_size": 5}
    names = names_of(nuclei, "train")
    order = np.random.default_rng(0).permutation(names)
    half = len(order) // 2
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        sets = {"shapes/classes": "shapes/classes", "half of nuclei": _few(nuclei, order[:half], place / "half")}
        starts: dict[str, Path | None] = {"random weights": None}
        for start, dataset in sets.items():
            run_dir = place / f"on-{start.replace('/', '-')}"
            result = _train(network | {"dataset": dataset, "epochs": pretraining_epochs, "run_dir": run_dir})
            print(f"pretrained on {start}: best validation F1 {result.best_f1:.3f}", flush=True)
            starts[start] = result.run.best
        for number in images:
            scores: dict[str, list[float]] = {start: [] for start in starts}
            for seed in range(seeds):
                few = np.random.default_rng(seed).choice(order[half:], number, replace=False)
                dataset = _few(nuclei, few, place / f"{number}-{seed}")
                for start, weights in starts.items():
                    with tempfile.TemporaryDirectory() as run:
                        own = {"dataset": dataset, "seed": seed, "start_from": weights, "run_dir": Path(run) / "run"}
                        result = _train(network | own | {"epochs": steps * network["batch_size"] // number})
                        scores[start].append(result.best_f1 or 0.0)
            for start, found in scores.items():
                listed = " ".join(f"{score:.3f}" for score in found)
                print(f"{number} images, {start:15}  median {np.median(found):.3f}  by seed {listed}", flush=True)


def _train(settings: dict[str, Any]) -> TrainingResult:
    with contextlib.redirect_stdout(io.StringIO()):
        return kseg.train(kseg.TrainConfig(**settings), detail="quiet")


def _few(nuclei: Path, names: Sequence[str], folder: Path) -> str:
    """Return a data set of these training images, and every second one for validation."""
    return link(nuclei, {"train": names, "val": names_of(nuclei, "val")[::2]}, folder)


if __name__ == "__main__":
    tyro.cli(main)
