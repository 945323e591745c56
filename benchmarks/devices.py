"""One run on 1, 2, 4 and 8 devices, and on 2 and 4 processes: its history side by side, and how far weights differ.

    python benchmarks/devices.py --dataset path/to/nuclei

XLA shows the CPU as several devices. The devices of a machine, and its processes, share its cores here, so times say
nothing. The counts of a network without rounding, which are equal to the integer, are compared by
tests/runs/test_processes.py.
"""

import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import tyro
from ports import free_port

_WAYS = ((1, 1), (1, 2), (1, 4), (1, 8), (2, 1), (2, 2), (4, 1))
_SCORES = ("loss", "val_loss", "f1", "val_f1", "val_target_mean")


def main(dataset: str = "shapes", epochs: int = 3) -> None:
    """Train in every way, and print what came out.

    Args:
        dataset: What to train on.
        epochs: Epochs of each run.
    """
    print(f"{Path(dataset).name}, 96 images of 64 x 64, batches of 8, {epochs} epochs")
    print("weights: the largest difference from those of one device")
    print(f"{'processes x devices':>20} {'epoch':>5}", *(f"{name:>15}" for name in _SCORES), f"{'weights':>10}")
    one: list[np.ndarray] = []
    for processes, devices in _WAYS:
        with tempfile.TemporaryDirectory() as folder:
            history, weights = train(dataset, epochs, Path(folder, "run"), processes, devices)
        one = one or weights
        apart = max(float(np.abs(ours - theirs).max()) for ours, theirs in zip(one, weights, strict=True))
        for row in history:
            last = f"{apart:10.1e}" if row is history[-1] else ""
            scores = (f"{float(row[name]):15.8f}" for name in _SCORES)
            print(f"{f'{processes} x {devices}':>20} {row['epoch']:>5}", *scores, last)


def train(
    dataset: str, epochs: int, run_dir: Path, processes: int, devices: int
) -> tuple[list[dict[str, str]], list[np.ndarray]]:
    """The history and the weights of a run on so many processes of so many devices each."""
    import keras

    coordinator = f"127.0.0.1:{free_port()}"
    command = [
        *(sys.executable, "-m", "kseg.train", "--dataset", dataset, "--dev-mode", "--dev-samples", "96"),
        *("--image-size", "64", "--batch-size", "8", "--epochs", str(epochs), "--run-dir", str(run_dir)),
    ]
    environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    children = []
    for process in range(processes):
        together = ["--coordinator", coordinator, "--process", str(process), "--processes", str(processes)]
        more = together if processes > 1 else ["--devices", str(devices)]
        children.append(subprocess.Popen([*command, *more], env=environment, stdout=subprocess.DEVNULL))
    if any(child.wait() for child in children):
        raise SystemExit(f"A run on {processes} x {devices} failed.")
    with (run_dir / "history.csv").open() as file:
        history = list(csv.DictReader(file))
    return history, keras.models.load_model(run_dir / "last.keras", compile=False).get_weights()


if __name__ == "__main__":
    os.environ.setdefault("KERAS_BACKEND", "jax")
    tyro.cli(main)
