"""Time to an answer: seconds from the start of a process until validation F1 reaches 0.80 and 0.85, on nuclei.

    python benchmarks/answer.py --nuclei path/to/nuclei     # about 25 minutes on two cores
    KERAS_BACKEND=torch python benchmarks/answer.py --nuclei path/to/nuclei

100 training images, 82 for validation, 128 x 128. kseg is its command with the recipe `nuclei`, with the compiled
programs of a run before; the peers are BasicUNet of MONAI and the U-Net of SMP on resnet18, from random weights, in
`plain_loop.py`, each at the best of its rates, found with the first seed. Each run is a process of its own, seed by
seed in turns, and is ended when it has reached both. monai and segmentation-models-pytorch have to be installed, see
peers.py.
"""

import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tyro
from subsets import link, names_of

MARKS = (0.80, 0.85)
_PEERS = ("monai", "smp")
_LOOP = str(Path(__file__).parent / "plain_loop.py")


def main(
    nuclei: Path,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3),
    peers: tuple[str, ...] = _PEERS,
) -> None:
    """Print the seconds of each run.

    Args:
        nuclei: The folder of nuclei, with train and val, masks of the same names as their images.
        seeds: Seeds, each a run of each program.
        rates: Learning rates of the peers.
        peers: The programs beside kseg's, of monai and smp.
    """
    with tempfile.TemporaryDirectory() as place:
        order = np.random.default_rng(0).permutation(names_of(nuclei, "train"))
        data = link(nuclei, {"train": order[:100], "val": names_of(nuclei, "val")}, Path(place) / "data")
        ours = ["-m", "kseg.train", "--config", "nuclei", "--dataset", data]
        _seconds([*ours, "--epochs", "1", "--run-dir", f"{place}/first"])
        found: dict[str, list[list[float]]] = {}
        best: dict[str, float] = {}
        for seed in seeds:
            _keep(found, "kseg", _seconds([*ours, "--seed", str(seed), "--run-dir", f"{place}/{seed}"]))
            for peer in peers:
                tried = {}
                for rate in (best[peer],) if peer in best else rates:
                    arguments = ["--data", data, "--network", peer, "--rate", str(rate), "--seed", str(seed)]
                    tried[rate] = _seconds([_LOOP, *arguments])
                    _keep(found, f"{peer} at {rate:g}", tried[rate])
                best.setdefault(peer, min(tried, key=lambda rate: tried[rate][::-1]))
        for name, runs in found.items():
            spreads = (_spread(mark, times) for mark, times in zip(MARKS, zip(*runs, strict=True), strict=True))
            print(f"{name}: {', '.join(spreads)}")


def _seconds(command: Sequence[str]) -> list[float]:
    """Return the seconds from the start of a process until it tells each F1; infinite for one that it never does."""
    start = time.perf_counter()
    reached = [math.inf] * len(MARKS)
    with subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not (told := re.search(r"Val F1: ([0-9.]+)", line)):
                continue
            seconds = time.perf_counter() - start
            for number, mark in enumerate(MARKS):
                if float(told[1]) >= mark:
                    reached[number] = min(reached[number], seconds)
            if math.isfinite(max(reached)):
                process.kill()
    return reached


def _keep(found: dict[str, list[list[float]]], name: str, seconds: list[float]) -> None:
    found.setdefault(name, []).append(seconds)
    told = ", ".join(f"F1 {mark:.2f}: {_told(one)}" for mark, one in zip(MARKS, seconds, strict=True))
    print(f"{name:16} {told}", flush=True)


def _spread(mark: float, seconds: Sequence[float]) -> str:
    return f"F1 {mark:.2f}: {_told(statistics.median(seconds))} ({_told(min(seconds))} to {_told(max(seconds))})"


def _told(seconds: float) -> str:
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "never"


if __name__ == "__main__":
    tyro.cli(main)
