"""Two processes on this machine train one model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(keras.config.backend() != "jax", reason="several processes train on JAX alone"),
]

ROOT = Path(__file__).parents[2]
TWO_DEVICES = {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"}


@pytest.fixture
def start(tmp_path):
    """A function that starts so many processes of one command, and returns them with the files of their output."""
    started = []

    def start(count, command, **environment):
        coordinator = f"127.0.0.1:{free_port()}"
        processes, outputs = [], []
        for process in range(count):
            together = ["--coordinator", coordinator, "--process", str(process), "--processes", str(count)]
            outputs.append(tmp_path / f"output-{len(started)}")
            with outputs[-1].open("w") as output:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, *command, *(together if count > 1 else ())],
                        **{"stdout": output, "stderr": output, "cwd": ROOT},
                        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
                    )
                )
            started.append(processes[-1])
        return processes, outputs

    yield start
    for process in started:
        process.kill()
        process.wait()


def ends(processes):
    return [process.wait(timeout=180) for process in processes]


def wait_for(text, output, process):
    while text not in output.read_text():
        assert process.poll() is None, output.read_text()
        time.sleep(0.05)


def run(folder, run_dir, *more):
    return [
        *("-m", "kseg.train", "--dataset", str(folder), "--image-size", "32", "--run-dir", str(run_dir), "--resume"),
        *("--model", "tests.runs.test_optimizers:own_model", "--val-fraction", "0.34", "--epochs", "3", *more),
    ]


def content(run_dir):
    history = (run_dir / "history.csv").read_text()
    return history, keras.models.load_model(run_dir / "last.keras", compile=False).get_weights()


def test_two_processes_train_as_one_with_two_devices_and_stop_and_go_on_together(folder, start, tmp_path):
    processes, _ = start(1, run(folder, tmp_path / "one", "--devices", "2"), **TWO_DEVICES)
    assert ends(processes) == [0]

    processes, outputs = start(2, run(folder, tmp_path / "two"))
    wait_for("Checking the first batches", outputs[0], processes[0])
    processes[1].send_signal(signal.SIGTERM)  # some process
    assert ends(processes) == [143, 143], [output.read_text()[-3000:] for output in outputs]
    first, second = (output.read_text() for output in outputs)
    assert "SIGTERM: finishing the batch" in first
    assert "last.keras has everything up to here" in first
    assert "Devices: 2 in 2 processes, 2 images on each of a batch of 4" in first
    assert "by the process that needs them" in first
    assert "Epoch 3/3" not in first

    processes, outputs = start(2, run(folder, tmp_path / "two"))
    assert ends(processes) == [0, 0], [output.read_text()[-3000:] for output in outputs]
    assert "Resuming from" in outputs[0].read_text()
    for silent in (second, outputs[1].read_text()):
        assert "Training on" not in silent
        assert "Epoch" not in silent
    (one, weights), (two, others) = content(tmp_path / "one"), content(tmp_path / "two")
    # XLA starts a thread for each core, and at least one for each device. Another number of threads rounds otherwise.
    same_threads = len(os.sched_getaffinity(0)) >= 2
    assert one == two or not same_threads
    for ours, theirs in zip(weights, others, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=0 if same_threads else 2e-5)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


def test_where_one_is_killed_the_other_says_so_and_ends(folder, start, tmp_path):
    processes, outputs = start(2, run(folder, tmp_path / "run", "--epochs", "2000", "--checkpoint-every", "2 batches"))
    wait_for("Epoch 1/", outputs[0], processes[0])
    processes[1].kill()
    assert ends(processes) == [4, -signal.SIGKILL], outputs[0].read_text()[:6000]
    said = outputs[0].read_text()
    assert "kseg: Process 0 of 2 cannot go on: process 1 has ended, or cannot be reached" in said
    assert "--resume" in said
    assert "Traceback" not in said


def test_a_process_whose_others_do_not_come_says_so():
    script = """if True:
        from kseg import processes
        processes._LONGEST_WAIT, processes._LAST_WORD = 3, 2
        processes.join(processes.Cluster("--coordinator", "127.0.0.1:9", 1, 2))  # where nobody is
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == -signal.SIGABRT
    assert "kseg: The other processes (--coordinator) did not come within 3 seconds" in done.stderr


def test_what_is_refused_ends_all(folder, start, tmp_path):
    processes, outputs = start(2, run(folder, tmp_path / "run", "--batch-size", "3"))
    assert ends(processes) == [2, 2]
    for output in outputs:
        assert "A batch of 3 images does not divide by 2 devices; near it are 2 and 4" in output.read_text()
    assert not (tmp_path / "run").exists()
    # What only the first one sees.
    (tmp_path / "run").mkdir()
    (tmp_path / "run/last.keras").write_text("no checkpoint")
    processes, outputs = start(2, run(folder, tmp_path / "run"))
    first, second = ends(processes)
    assert first == 2
    assert second
    assert "No checkpoint in" in outputs[0].read_text()


OWN_SCRIPT = """
import json, sys

import kseg

folder, out, *together = sys.argv[1:]
given = dict(zip(together[::2], together[1::2]))
number = kseg.distribution.setup(
    coordinator=given.get("--coordinator"),
    process=int(given["--process"]) if given else None,
    processes=int(given["--processes"]) if given else None,
)
import jax
import keras
import numpy as np

# Else a process now and then waits for ever.
assert not (together and jax.config.read("jax_cpu_enable_async_dispatch"))

train, val = kseg.data.open_sources(folder, val_fraction=0.42)  # a short last batch
foreground = kseg.data.find_foreground(train)
saved = kseg.callbacks.RunCheckpoint(out, every="2 batches")
how = {"image_size": (32, 32), "batch_size": 4}
mine = kseg.distribution.process_index(), kseg.distribution.process_count()
batches = kseg.data.training_batches(train, foreground, seed=0, start=saved.start, **how).of_process(*mine)
validation = kseg.data.validation_batches(val, foreground, **how).of_process(*mine)

# Sums of a few small integers, which no order of additions rounds.
images = keras.Input((None, None, 3))
less = keras.initializers.Constant(-5200.0)
logits = keras.layers.Conv2D(1, 3, padding="same", kernel_initializer="ones", bias_initializer=less)(images)
model = keras.Model(images, logits)
metrics = [kseg.metrics.SegmentationMetrics(), kseg.metrics.ThresholdCurve(), kseg.metrics.PredictionMonitor()]
model.compile(
    keras.optimizers.SGD(0.0),
    loss=kseg.losses.CombinedSegmentationLoss(),
    metrics=metrics,
)
counts, means = [], []


class Counts(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        counts.append({name: np.ravel(value).tolist() for name, value in metrics[0].counts().items()})
        counts.append([np.asarray(v.value).tolist() for metric in metrics[:2] for v in metric.variables])
        means.append({name: float(value) for name, value in metrics[2].result().items()})


model.fit(
    batches.dataset, steps_per_epoch=batches.steps, validation_data=validation.dataset, epochs=2, shuffle=False,
    verbose=2, callbacks=[
        Counts(), kseg.callbacks.CollapseDetector(action="warn", preflight=False), kseg.callbacks.EpochSummary(),
        kseg.callbacks.HistoryFile(f"{out}/history{mine[0]}.csv"),
        kseg.callbacks.TensorBoardTracker(f"{out}/tracker{mine[0]}"), saved,
    ],
)
if kseg.distribution.is_first():
    json.dump({"number": number, "counts": counts, "means": means}, open(f"{out}/counts.json", "w"))
"""


def test_your_own_fit_counts_to_the_integer_what_one_device_counts(folder, start, tmp_path):
    found = {}
    for name, count, environment in [("1", 1, {}), ("2x2", 2, TWO_DEVICES)]:
        processes, outputs = start(count, ["-c", OWN_SCRIPT, str(folder), str(tmp_path / name)], **environment)
        assert set(ends(processes)) == {0}, [output.read_text()[-3000:] for output in outputs]
        found[name] = json.loads((tmp_path / name / "counts.json").read_text())
        assert "Epoch 2/2 Complete" in outputs[0].read_text()
        assert {path.name for path in (tmp_path / name).iterdir()} >= {"history0.csv", "tracker0"}
    assert "Epoch" not in outputs[1].read_text()
    assert not {path.name for path in (tmp_path / "2x2").iterdir()} & {"history1.csv", "tracker1"}
    one, other = found["1"], found["2x2"]
    assert (one["number"], other["number"]) == (1, 4)
    assert sum(one["counts"][0]["tp"]) > 0 < sum(one["counts"][0]["fn"])
    assert sum(map(sum, one["counts"][0].values())) == 5 * 32 * 32  # each image of five once, and no blank
    assert one["counts"] == other["counts"]
    for ours, theirs in zip(one["means"], other["means"], strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)  # sums of probabilities are rounded
