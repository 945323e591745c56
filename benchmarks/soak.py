"""Kills a run again and again, at random moments and inside its checkpoint writes, and compares it with one left alone.

    python benchmarks/soak.py                          # on JAX
    KERAS_BACKEND=torch python benchmarks/soak.py      # on torch

These runs are soaked: `command`, which is `python -m kseg.train` restarted with one unchanged command; `processes`, the
same on two processes of two devices each, of which one or both are killed (JAX only); and `own`, a `model.fit` with
Dropout, BatchNormalization, mixed precision, an exponential moving average of the weights that is swapped in for
validation, and a learning rate that a callback lowers. For each it prints the kills survived, the batches that were
done twice, how many bits of weights, optimizer, random state, callbacks' memories and history differ from those of the
run that nobody touched (0 is the claim), the size of a checkpoint, how long it takes to write one, and for how long
that holds training up.
"""

import argparse
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ports import free_port

EPOCHS = 6
EVERY = "7 batches"
IMAGES = 96
FAULTS = ("inside the write", "between write and rename", "between two renames")


def main() -> None:
    """Soak both runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how often each run is killed")
    parser.add_argument("--seed", type=int, default=0, help="decides the moments")
    parser.add_argument("--run", choices=tuple(RUNS), action="append", help="which to soak; all if not given")
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    on_torch = os.environ.get("KERAS_BACKEND") == "torch"
    for name in arguments.run or [name for name in RUNS if not (on_torch and name in PROCESSES)]:
        soak(name, arguments.kills, random.Random(arguments.seed))


def soak(name: str, kills: int, chance: random.Random) -> None:
    """Run it once untouched and once killed, and print how they compare."""
    processes = PROCESSES.get(name, 1)
    with tempfile.TemporaryDirectory() as folder:
        untouched, killed = Path(folder, "untouched"), Path(folder, "killed")
        wait(start(name, untouched))
        timings = json.loads(Path(f"{untouched}.timings").read_text())
        longest = timings["seconds"] / kills / 2  # so that it is not through before it was killed so often
        ends = [*FAULTS, *(str(chance.uniform(0, longest)) for _ in range(kills - len(FAULTS)))]
        chance.shuffle(ends)
        for number, end in enumerate(ends, 1):
            writes = end in FAULTS  # as the first process alone does
            victims = {0} if writes or processes == 1 else chance.choice([{0}, {1}, {0, 1}])
            kill_once(name, killed, end, victims)
            print(f"\r{name}: killed {number} times", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
        wait(start(name, killed))

        done = Path(f"{killed}.batches").read_text().split()
        steps = len(set(Path(f"{untouched}.batches").read_text().split()))
        stall, write = np.mean(timings["stalls"]), np.mean(timings["writes"])
        among = f" in {processes} processes" if processes > 1 else ""
        print(f"{name} on {os.environ.get('KERAS_BACKEND', 'jax')}{among}: {EPOCHS} epochs, {steps} batches in all")
        print(f"  kills survived         {kills} ({', '.join(FAULTS)}, {kills - len(FAULTS)} at random moments)")
        print(f"  batches done twice     {len(done) - steps} (a checkpoint every {EVERY})")
        print(f"  bits that differ       {differing_bits(untouched, killed)}")
        print(f"  checkpoint             {(untouched / 'last.keras').stat().st_size / 1e6:.1f} MB")
        print(f"  written in             {write:.3f} s, in the background")
        print(f"  stall                  {stall:.3f} s each; at one a minute {stall / 60:.2%} of the time")


def start(name: str, run_dir: Path, end: str = "", victims: set[int] = frozenset()) -> list[subprocess.Popen]:
    """The children that run it, quietly; some until the end that is told."""
    coordinator = f"127.0.0.1:{free_port()}"
    several = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"} if name in PROCESSES else {}
    children = []
    for process in range(PROCESSES.get(name, 1)):
        told = [name, str(run_dir), end if process in victims else "", str(process), coordinator]
        with Path(f"{run_dir}.output{process}").open("a") as output:
            command = [sys.executable, __file__, "--child", *told]
            children.append(subprocess.Popen(command, stdout=output, stderr=output, env=os.environ | several))
    return children


def wait(children: list[subprocess.Popen]) -> list[int]:
    """How each of them ended."""
    return [child.wait() for child in children]


def kill_once(name: str, run_dir: Path, end: str, victims: set[int]) -> None:
    """Let it run into its end: a fault, or so many seconds after its first new batch."""
    ends = wait(start(name, run_dir, end, victims))
    if 0 in ends:
        raise SystemExit(f"{name} was through before it was killed so often: give fewer --kills, on a quieter machine.")
    for process, status in enumerate(ends):
        # Those that lose another end with a message, or JAX ends them.
        if status not in ({-signal.SIGKILL} if len(ends) == 1 else {-signal.SIGKILL, -signal.SIGABRT, 4}):
            output = Path(f"{run_dir}.output{process}").read_text()
            raise SystemExit(f"{name} ended with {status} before it was killed:\n{output[-3000:]}")


def differing_bits(one: Path, two: Path) -> int:
    """Bits in which two runs differ, in all that they leave."""
    total = 0
    for name in ("last.keras", "best.keras"):
        parts = zip(contents(one / name), contents(two / name), strict=True)
        total += sum(int(np.bitwise_count(a ^ b).sum()) if a.size == b.size else 8 * a.size for a, b in parts)
    histories = [np.frombuffer((run / "history.csv").read_bytes(), np.uint8) for run in (one, two)]
    return total + (0 if np.array_equal(*histories) else 8 * histories[0].size)


def contents(path: Path) -> Iterator[np.ndarray]:
    """All that a checkpoint holds, as bytes, but for the date, and for the numbers that Keras gives to objects."""
    with zipfile.ZipFile(path) as archive:
        for name in sorted(archive.namelist()):
            if name == "model.weights.h5":
                with h5py.File(io.BytesIO(archive.read(name))) as file:
                    names: list[str] = []
                    file.visit(names.append)
                    arrays = [file[key][()] for key in sorted(names) if isinstance(file[key], h5py.Dataset)]
                yield np.frombuffer(b"".join(array.tobytes() for array in arrays), np.uint8)
            elif name == "kseg.json":
                state = json.loads(archive.read(name))
                del state["entries"]  # checksums of the other entries, also of those with the date
                # Why the masks are read so: a resumed run was told, the first one found it.
                state["state"]["metadata"].get("rule", {}).pop("because", None)
                yield np.frombuffer(json.dumps(state).encode(), np.uint8)
            elif name not in ("metadata.json", "config.json"):
                yield np.frombuffer(archive.read(name), np.uint8)


def child(name: str, run_dir: str, end: str, process: str, coordinator: str) -> None:
    """Run it, telling which batches it does and how long its checkpoints take, and die where it is told to."""
    import kseg
    from kseg.callbacks import RunCheckpoint, run_checkpoint

    kseg.data.quiet_tensorflow()
    writes: list[float] = []
    stalls: list[float] = []
    begun: list[float] = []
    # Appended with each batch: what a killed process has written so far is in the file.
    told_by = "" if process == "0" else process
    batches = os.open(f"{run_dir}.batches{told_by}", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    on_train_batch_begin, publish = RunCheckpoint.on_train_batch_begin, run_checkpoint.publish

    def told(self: RunCheckpoint, batch: int, logs: Any = None) -> None:
        on_train_batch_begin(self, batch, logs)
        if not self._skipping:
            begun.append(time.monotonic())
            if len(begun) == 1 and end not in ("", *FAULTS):
                timer = threading.Timer(float(end), os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            os.write(batches, f"{self.state.epoch}/{batch}\n".encode())

    def timed(*arguments: Any) -> None:
        began = time.monotonic()
        publish(*arguments)
        writes.append(time.monotonic() - began)

    RunCheckpoint.on_train_batch_begin, run_checkpoint.publish = told, timed
    if end in FAULTS:
        die(end)
    flags = (
        f"--coordinator {coordinator} --process {process} --processes {PROCESSES[name]}" if name in PROCESSES else ""
    )
    RUNS[name](run_dir, stalls, flags)
    timings = {"stalls": stalls, "writes": writes, "seconds": begun[-1] - begun[1] if begun[1:] else 0.0}
    Path(f"{run_dir}.timings{told_by}").write_text(json.dumps(timings))


def die(fault: str) -> None:
    """Have the process kill itself at its next checkpoint."""
    target, method = (zipfile.ZipFile, "writestr") if fault == FAULTS[0] else (Path, "replace")
    original = getattr(target, method)

    def fatal(self: Any, *arguments: Any, **keywords: Any) -> Any:
        name = str(arguments[0]) if target is zipfile.ZipFile else self.name
        wanted = {FAULTS[0]: "kseg.json", FAULTS[1]: ".last.part.keras", FAULTS[2]: ".last.part.keras"}[fault]
        if fault == FAULTS[2] and self.name == "last.keras":
            original(self, *arguments, **keywords)  # the former one has its new name, the new one not yet its own
            os.kill(os.getpid(), signal.SIGKILL)
        if name == wanted and fault != FAULTS[2]:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, *arguments, **keywords)

    setattr(target, method, fatal)


def command(run_dir: str, stalls: list[float], flags: str) -> None:
    """`python -m kseg.train`, with the line that a restart loop would have."""
    from kseg.callbacks import RunCheckpoint
    from kseg.commands import train

    on_train_end = RunCheckpoint.on_train_end

    def told(self: RunCheckpoint, logs: Any = None) -> None:
        stalls.extend(self.stalls)
        on_train_end(self, logs)

    RunCheckpoint.on_train_end = told
    line = f"--dev-mode --dev-samples {IMAGES} --epochs {EPOCHS} --image-size 64 --run-dir {run_dir} --resume"
    status = train.main([*line.split(), *flags.split(), "--checkpoint-every", EVERY])
    if status:
        raise SystemExit(status)


def own(run_dir: str, stalls: list[float], flags: str) -> None:
    """A `model.fit` of somebody's own."""
    import keras

    import kseg
    from kseg.data import find_foreground, open_sources, training_batches, validation_batches

    checkpoint = kseg.callbacks.RunCheckpoint(run_dir, every=EVERY)
    training, validation = (source.take(IMAGES) for source in open_sources("shapes"))
    foreground = find_foreground(training)
    batches = training_batches(training, foreground, image_size=(64, 64), batch_size=4, seed=0, start=checkpoint.start)
    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy("mixed_bfloat16")
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((64, 64, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(16, 5, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.3),
            layers.Conv2D(16, 5, padding="same", activation="relu"),
            layers.GaussianNoise(0.1),
            layers.Conv2D(1, 1, dtype="float32"),
        ]
    )
    model.compile(
        keras.optimizers.AdamW(3e-3, use_ema=True, ema_momentum=0.9),
        loss=kseg.losses.CombinedSegmentationLoss(),
        metrics=[
            kseg.metrics.SegmentationMetrics(),
            kseg.metrics.PredictionMonitor(),
            kseg.metrics.ThresholdCurve(),
        ],
    )
    model.fit(
        batches.dataset,
        steps_per_epoch=batches.steps,
        validation_data=validation_batches(validation, foreground, image_size=(64, 64), batch_size=4).dataset,
        epochs=EPOCHS,
        shuffle=False,
        verbose=0,
        callbacks=[
            keras.callbacks.SwapEMAWeights(),
            keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=0.05),
            keras.callbacks.EarlyStopping("val_f1", mode="max", patience=EPOCHS, restore_best_weights=True),
            kseg.callbacks.CollapseDetector(every=10, action="recover"),
            kseg.callbacks.HistoryFile(f"{run_dir}/history.csv"),
            checkpoint,
        ],
    )
    stalls.extend(checkpoint.stalls)


RUNS: dict[str, Callable[[str, list[float], str], None]] = {"command": command, "processes": command, "own": own}
PROCESSES = {"processes": 2}

if __name__ == "__main__":
    main()
