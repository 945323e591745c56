"""Time of a short run without compiled programs and with them, also until its first step is done, and of making the
U-Net for the first time.

    python benchmarks/startup.py                # about four minutes on two cores
    KERAS_BACKEND=torch python benchmarks/startup.py

A run is the command on 8 built-in images for one epoch, from the start of its process to its end: cold, with an empty
folder of compiled programs; warm, with those that the cold run left; and warm with another learning rate and warm-up,
which need no other programs. The U-Net is made in a process that has imported kseg, without compiled programs: by kseg,
which on JAX draws the random weights in few shapes, and as Keras draws them. All take turns; a ratio compares two of
the same turn. Smallest and largest are in brackets.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import os
import statistics
import subprocess
import sys
import tempfile
import time

import keras
import tyro

RUN = ["--dev-mode", "--dev-samples", "8", "--epochs", "1"]
KINDS: dict[str, list[str]] = {"cold": [], "warm": [], "another rate": ["--lr", "0.001", "--warmup", "0"]}
# A run that ends with its first step.
FIRST_STEP = """
import os, sys
from kseg.callbacks import RunCheckpoint
RunCheckpoint.on_train_batch_end = lambda *given, **named: os._exit(0)
from kseg.commands import train
train.main(sys.argv[1:])
"""
MAKE = """
import time, keras, kseg
kseg.data.quiet_tensorflow()
keras.ops.zeros(1) + 1  # the backend is ready
start = time.perf_counter()
kseg.models.unet{way}()
print(time.perf_counter() - start)
"""
WAYS = {"by kseg": "", "as Keras draws": ".__wrapped__"}  # what the decorator covers


def main(rounds: int = 3) -> None:
    """Print seconds and ratios, with their spread.

    Args:
        rounds: Turns measured.
    """
    kseg.data.quiet_tensorflow()
    runs: dict[str, list[float]] = {kind: [] for kind in KINDS}
    steps: dict[str, list[float]] = {kind: [] for kind in KINDS}
    made: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for command, seconds in ((["-m", "kseg.train"], runs), (["-c", FIRST_STEP], steps)):
            with tempfile.TemporaryDirectory() as folder:
                for kind in seconds:
                    seconds[kind].append(_run([*command, *RUN, *KINDS[kind]], folder))
        for way, name in WAYS.items():
            with tempfile.TemporaryDirectory() as folder:
                made[way].append(float(_process(["-c", MAKE.format(way=name)], folder)))
    print(f"{keras.config.backend()}, {rounds} turns")
    pairs = ("warm", "cold"), ("another rate", "warm")
    _report("a run of 8 images and one epoch", runs, *pairs)
    _report("from its start until the first step is done", steps, *pairs)
    _report("the U-Net of 16 filters", made, ("by kseg", "as Keras draws"))


def _run(command: list[str], compiled: str) -> float:
    """Return the seconds of a run, with this folder for compiled programs."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        _process([*command, "--run-dir", f"{folder}/run"], compiled)
        return time.perf_counter() - start


def _process(arguments: list[str], compiled: str) -> str:
    """Run Python, with this folder for compiled programs, and return what it prints."""
    cache = {"JAX_COMPILATION_CACHE_DIR": compiled, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    environment = os.environ | cache | {"KERAS_BACKEND": keras.config.backend()}
    done = subprocess.run(
        [sys.executable, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    )
    return done.stdout.decode()


def _report(what: str, seconds: dict[str, list[float]], *pairs: tuple[str, str]) -> None:
    for name, values in seconds.items():
        print(f"  {what}, {name}: {statistics.median(values):.1f} s ({min(values):.1f} to {max(values):.1f})")
    for over, under in pairs:
        ratios = sorted(ours / theirs for ours, theirs in zip(seconds[over], seconds[under], strict=True))
        print(f"  {over} / {under} = {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    tyro.cli(main)
