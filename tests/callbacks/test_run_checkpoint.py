import os
import shutil
import signal
import threading
import time
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kseg.callbacks import CollapseDetector, HistoryFile, RunCheckpoint, run_checkpoint
from kseg.checkpoints import checkpoints_in, newest_checkpoint, read_checkpoint
from kseg.checkpoints.memory import encode
from kseg.checkpoints.writer import wait_for_writes
from kseg.errors import KsegError
from kseg.losses import CombinedSegmentationLoss
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.optimizers import adjustable

EPOCHS, STEPS = 3, 6


class Killed(BaseException):
    """Raised by a test in place of SIGKILL: nothing in kseg may catch it."""


class Killer(keras.callbacks.Callback):
    """Ends a `fit` when more than this number of new batches have begun."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_train_begin(self, logs=None):
        self.begun = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.begun += not self.checkpoint._skipping
        if self.begun > self.batches:
            raise Killed


class At(keras.callbacks.Callback):
    """Calls a function once, in one hook of one epoch."""

    def __init__(self, hook, epoch, action):
        super().__init__()
        self.epoch, self.wanted, self.action = 0, epoch, action
        setattr(self, hook, self.act)

    def get_state(self):
        return {}

    def set_state(self, state):
        pass

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def act(self, *arguments, logs=None):
        """Called with a batch, or without one."""
        if self.epoch == self.wanted:
            self.wanted = None
            self.action()


class Subject:
    """A `fit` that can be killed and restarted, in a folder."""

    def __init__(self, folder, optimizer="adamw", callbacks=list, every="2 batches", policy="float32", **compiled):
        self.folder, self.optimizer, self.callbacks, self.every = Path(folder), optimizer, callbacks, every
        self.policy, self.compiled = policy, compiled
        rng = np.random.default_rng(0)
        self.x = rng.normal(size=(4 * STEPS, 8, 8, 1)).astype("float32")
        self.y = (self.x + rng.normal(0, 0.5, self.x.shape) > 0.5).astype("uint8")

    def model(self):
        keras.utils.set_random_seed(3)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                layers.Conv2D(4, 3, padding="same", activation="relu", dtype=self.policy),
                layers.Dropout(0.3, dtype=self.policy),
                layers.BatchNormalization(dtype=self.policy),
                layers.Dropout(0.2, seed=5, dtype=self.policy),
                layers.Conv2D(1, 1, dtype="float32"),
            ]
        )
        make = getattr(self.optimizer, "from_config", None)
        optimizer = make(self.optimizer.get_config()) if make else self.optimizer
        seen = [PredictionMonitor(), ThresholdCurve()] if self.callbacks is detecting else []
        model.compile(optimizer, CombinedSegmentationLoss(), metrics=[SegmentationMetrics(), *seen], **self.compiled)
        return model

    def fit(self, *first, epochs=EPOCHS, data=None, **keywords):
        self.said = []
        self.checkpoint = RunCheckpoint(self.folder, every=self.every, print_fn=self.said.append, **keywords)
        self.others = [*self.callbacks(), HistoryFile(self.folder / "history.csv")]
        for helper in first:
            helper.checkpoint = self.checkpoint
        model = self.model()
        x, y = data or (self.x, self.y)
        model.fit(
            x,
            y,
            batch_size=4,
            shuffle=False,
            epochs=epochs,
            validation_data=(self.x, self.y),
            validation_batch_size=8,
            verbose=0,
            callbacks=[*first, *self.others, self.checkpoint],
        )
        return model

    def killed_every(self, batches):
        """Kill and restart it until it ends; return the model, and where it started each time."""
        starts = []
        while len(starts) < 20:
            try:
                model = self.fit(Killer(batches))
            except Killed:
                starts.append(self.checkpoint.start)
                self.checkpoint._writer.wait()
            else:
                return model, [*starts, self.checkpoint.start]
        raise AssertionError("no progress")


def assert_same(one, two, *folders):
    """Compare every bit of two models, of their histories, and of the checkpoints in their folders."""
    for group in ("weights", "non_trainable_variables"):
        for ours, theirs in zip(getattr(one, group), getattr(two, group), strict=True):
            assert keras.ops.convert_to_numpy(ours).tobytes() == keras.ops.convert_to_numpy(theirs).tobytes(), ours.path
    for ours, theirs in zip(one.optimizer.variables, two.optimizer.variables, strict=True):
        assert keras.ops.convert_to_numpy(ours).tobytes() == keras.ops.convert_to_numpy(theirs).tobytes(), ours.path
    histories = [(folder / "history.csv").read_text() for folder in folders]
    assert histories[0] == histories[1]
    for name in ("last.keras", "best.keras"):
        first, second = (read_checkpoint(folder / name) for folder in folders)
        assert first.state == second.state
        assert first.extras.keys() == second.extras.keys()
        assert encoded(first.extras) == encoded(second.extras)
        memories = [
            [one for one in file.memories if one["callback"] not in ("Killer", "At")] for file in (first, second)
        ]
        assert encoded(memories[0]) == encoded(memories[1])


def encoded(value):
    arrays = []
    return encode(value, arrays), [array.tobytes() for array in arrays]


def remembering():
    return [
        keras.callbacks.ReduceLROnPlateau("val_loss", patience=1, min_delta=1.0),
        keras.callbacks.EarlyStopping("val_f1", mode="max", patience=9, restore_best_weights=True),
    ]


def averaging():
    return [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]


def detecting():
    return [CollapseDetector(every=2, action="recover", max_recoveries=9)]


SUBJECTS = {
    "plateau and early stopping": {"callbacks": remembering, "optimizer": keras.optimizers.SGD(0.1, momentum=0.9)},
    "averaged weights in bfloat16": {
        "callbacks": averaging,
        "optimizer": keras.optimizers.AdamW(0.01, use_ema=True, ema_momentum=0.8),
        "policy": "mixed_bfloat16",
    },
    "recoveries and a schedule": {
        "callbacks": detecting,
        "optimizer": keras.optimizers.AdamW(keras.optimizers.schedules.CosineDecay(1e3, 18)),
    },
    "recoveries and a schedule that is adjusted": {
        "callbacks": detecting,
        "optimizer": adjustable(keras.optimizers.AdamW)(keras.optimizers.schedules.CosineDecay(1e3, 18)),
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SUBJECTS)
def test_a_killed_and_restarted_run_ends_with_the_same_bits(name, tmp_path):
    untouched, killed = (Subject(tmp_path / folder, **SUBJECTS[name]) for folder in ("untouched", "killed"))
    expected = untouched.fit()
    model, starts = killed.killed_every(10)
    assert any(batch for _, batch in starts)
    assert_same(expected, model, untouched.folder, killed.folder)
    if name.startswith("plateau"):
        assert float(model.optimizer.learning_rate) < 0.02
    if name.startswith("recoveries"):
        assert killed.others[0].recoveries == untouched.others[0].recoveries > 0
        assert [str(one) for one in killed.others[0].findings] == [str(one) for one in untouched.others[0].findings]


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras has steps_per_execution on JAX only")
def test_several_steps_per_execution_are_skipped_together(tmp_path):
    one, two = (Subject(tmp_path / name, steps_per_execution=2) for name in "ab")
    expected = one.fit()
    model, starts = two.killed_every(4)  # executions
    assert {batch % 2 for _, batch in starts} == {0}
    assert any(batch for _, batch in starts)
    assert_same(expected, model, one.folder, two.folder)


# Signals


@pytest.mark.slow
@pytest.mark.parametrize(
    ("hook", "number", "ends", "start"),
    [
        ("on_train_batch_begin", signal.SIGINT, KeyboardInterrupt, (1, 1)),
        ("on_train_batch_begin", signal.SIGTERM, SystemExit, (1, 1)),
        ("on_test_begin", signal.SIGTERM, SystemExit, (1, STEPS)),
        ("on_test_batch_begin", signal.SIGTERM, SystemExit, (1, STEPS)),
        ("on_test_end", signal.SIGINT, KeyboardInterrupt, (2, 0)),
    ],
)
def test_a_signal_loses_nothing(hook, number, ends, start, tmp_path, signals):
    one, two = (Subject(tmp_path / name, every="99 epochs", callbacks=averaging) for name in "ab")
    one.optimizer = two.optimizer = keras.optimizers.AdamW(0.01, use_ema=True)
    expected = one.fit()
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(ends) as stopped:
        two.fit(At(hook, 1, lambda: os.kill(os.getpid(), number)))
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert number == signal.SIGINT or stopped.value.code == 143
    assert f"\n{number.name}: finishing the batch, then writing a checkpoint. Again" in two.said[-2]
    assert two.said[-1] == f"\nStopped. {two.folder / 'last.keras'} has everything up to here."
    model = two.fit()
    assert two.checkpoint.start == start
    assert_same(expected, model, one.folder, two.folder)


@pytest.mark.slow
def test_a_second_signal_ends_the_run_at_once(tmp_path, signals):
    subject = Subject(tmp_path, every="1 batch")

    def twice():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        subject.fit(At("on_train_batch_begin", 1, twice))
    assert "Stopped" not in subject.said[-1]
    for thread in threading.enumerate():
        if thread.name == "kseg-checkpoint":  # which may be between two renames; the end of a process waits for it
            thread.join()
    assert newest_checkpoint(tmp_path)[1] == []


@pytest.mark.slow
def test_a_fit_that_failed_handles_no_signals(tmp_path, signals):
    with pytest.raises(Killed):
        Subject(tmp_path).fit(Killer(2))
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_the_loop_runs_no_further_ahead_than_two_steps(tmp_path):
    ahead, most = [], []

    class Count(keras.callbacks.Callback):
        async_safe = True

        def on_train_batch_begin(self, batch, logs=None):
            most.append(len(ahead))
            ahead.append(batch)

        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0.01)
            ahead.pop()

    Subject(tmp_path, every="99 epochs").fit(Count())
    assert max(most) <= 2
    assert len(most) == EPOCHS * STEPS


@pytest.mark.slow
def test_an_ignored_signal_stays_ignored(tmp_path, signals):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    subject = Subject(tmp_path)
    subject.fit(At("on_train_batch_begin", 1, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert subject.checkpoint.state.epoch == EPOCHS


# Disk errors


def failing(monkeypatch, target, name, at):
    """Let the call number `at` of a function find the disk full; return the list of its calls."""
    original, calls = getattr(target, name), []

    def fail(*arguments, **keywords):
        calls.append(name)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        return original(*arguments, **keywords)

    monkeypatch.setattr(target, name, fail)
    return calls


WRITES = [
    (keras.Model, "save", 2),
    (np.lib.format, "write_array", 2),
    (zipfile.ZipFile, "writestr", 2),
    (os, "fsync", 4),
    (shutil, "copyfile", 1),
    (Path, "replace", 6),
]


@pytest.mark.slow
@pytest.mark.parametrize(("target", "name", "times"), WRITES, ids=[name for _, name, _ in WRITES])
def test_a_full_disk_at_any_write_loses_only_what_came_after_the_last_checkpoint(
    target, name, times, tmp_path, monkeypatch
):
    subject = Subject(tmp_path / "run", every="2 batches", callbacks=list)
    with pytest.raises(Killed):
        subject.fit(Killer(5))
    subject.checkpoint._writer.wait()
    kept = newest_checkpoint(subject.folder)[0].state
    for at in range(1, times + 1):
        with monkeypatch.context() as patch:
            failing(patch, target, name, at)
            with pytest.raises((Killed, KsegError)) as ended:
                subject.fit(Killer(6), epochs=99)
        if ended.type is Killed:
            break  # there is no such call any more
        assert f"Cannot write to {subject.folder}: " in str(ended.value)
        assert "No space left on device" in str(ended.value)
        wait_for_writes(subject.folder)
        assert not list(subject.folder.glob("*.part*"))
        found, faults = newest_checkpoint(subject.folder)
        assert faults == []
        assert (found.state.epoch, found.state.batch) >= (kept.epoch, kept.batch)
        kept = found.state
    assert ended.type is KsegError or at > 1


@pytest.mark.slow
def test_a_run_directory_that_is_deleted_or_replaced_is_named(tmp_path):
    def delete():
        wait_for_writes(subject.folder)
        shutil.rmtree(subject.folder)

    subject = Subject(tmp_path / "deleted")
    with pytest.raises(KsegError, match="deleted, moved or replaced while this run|it was deleted or moved"):
        subject.fit(At("on_train_batch_begin", 2, delete))
    assert not subject.folder.exists()

    def replace():
        wait_for_writes(subject.folder)
        subject.folder.rename(tmp_path / "away")
        subject.folder.mkdir()

    subject = Subject(tmp_path / "replaced", callbacks=list)
    with pytest.raises(KsegError, match="replaced was deleted, moved or replaced while this run wrote to it"):
        subject.fit(At("on_train_batch_begin", 2, replace))
    assert not list(subject.folder.iterdir())


@pytest.mark.slow
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, caplog):
    one, two = Subject(tmp_path / "a", every="1 epoch"), Subject(tmp_path / "b", every="1 epoch")
    expected = one.fit()
    with pytest.raises(Killed):
        two.fit(Killer(2 * STEPS + 1))
    two.checkpoint._writer.wait()
    last = two.folder / "last.keras"
    last.write_bytes(last.read_bytes()[:-100])
    model = two.fit()
    assert two.checkpoint.found.epoch == 1
    assert f"⚠️  {last} is damaged, or no checkpoint of kseg (" in caplog.text
    assert f"Resuming from {two.folder / 'last-1.keras'} instead (1 epochs done)" in caplog.text
    assert (two.folder / "last.damaged").exists()
    assert_same(expected, model, one.folder, two.folder)


def test_a_run_does_not_start_if_no_checkpoint_is_intact(tmp_path):
    (tmp_path / "last.keras").write_text("hello")
    (tmp_path / "last-1.keras").mkdir()
    with pytest.raises(
        KsegError, match=r"No checkpoint in .* is intact. Start again in another --run-dir.\n.*last.keras"
    ):
        RunCheckpoint(tmp_path)
    with pytest.raises(KsegError, match="last-1.keras is a folder"):
        RunCheckpoint(tmp_path)


@pytest.mark.slow
def test_a_run_directory_may_be_on_another_file_system(tmp_path):
    elsewhere = Path("/dev/shm") / f"kseg-{os.getpid()}"
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no other file system at /dev/shm")
    try:
        one, two = Subject(tmp_path), Subject(elsewhere)
        expected = one.fit()
        model, _ = two.killed_every(10)
        assert_same(expected, model, one.folder, two.folder)
    finally:
        shutil.rmtree(elsewhere, ignore_errors=True)


# Use and misuse


@pytest.mark.slow
def test_a_finished_run_stays_unchanged(tmp_path):
    stopping = Subject(tmp_path, callbacks=lambda: [keras.callbacks.EarlyStopping("val_f1", mode="min", patience=0)])
    stopping.fit(epochs=9)
    assert stopping.checkpoint.state.stopped
    before = (tmp_path / "last.keras").read_bytes()
    epoch = stopping.checkpoint.state.epoch
    model = stopping.fit(epochs=9)
    assert stopping.checkpoint.state.epoch == epoch < 9
    assert model.history.epoch == []
    assert (tmp_path / "last.keras").read_bytes() == before
    assert f"A callback ended this run after {epoch} epochs. To go on, give more epochs than 9, or" in stopping.said[0]


@pytest.mark.slow
@pytest.mark.parametrize(("epochs", "patience", "why"), [(18, 0, "since epochs is now 18"), (9, 50, "patience of 50")])
def test_a_run_that_early_stopping_ended_goes_on_with_more_epochs_or_patience(tmp_path, epochs, patience, why):
    subject = Subject(tmp_path, callbacks=lambda: [keras.callbacks.EarlyStopping("val_f1", mode="min", patience=0)])
    subject.fit(epochs=9)
    ended = subject.checkpoint.state.epoch
    assert subject.checkpoint.state.stopped
    assert ended < 9
    subject.callbacks = lambda: [keras.callbacks.EarlyStopping("val_f1", mode="min", patience=patience)]
    model = subject.fit(epochs=epochs)
    assert model.history.epoch[0] == ended
    assert why in subject.said[0]
    assert subject.checkpoint.state.stopped == (patience == 0)


@pytest.mark.slow
def test_it_keeps_the_number_of_checkpoints_it_was_given(tmp_path):
    subject = Subject(tmp_path, every="2 batches")
    subject.fit(keep=3)
    kept = checkpoints_in(tmp_path)
    assert [path.name for path in kept] == ["last.keras", "last-1.keras", "last-2.keras"]
    places = [(read_checkpoint(path).state.epoch, read_checkpoint(path).state.batch) for path in kept]
    assert places == sorted(places, reverse=True)
    assert places[0] == (3, 0)
    subject.fit(epochs=EPOCHS + 1, keep=1)
    assert [path.name for path in checkpoints_in(tmp_path)] == ["last.keras"]


@pytest.mark.slow
def test_a_jump_of_the_clock_changes_nothing(tmp_path, monkeypatch):
    backwards = iter(range(2 * 10**9, 10**9, -86400))
    monkeypatch.setattr("time.time", lambda: float(next(backwards)))
    now = iter(range(0, 10**6, 10))
    monkeypatch.setattr(run_checkpoint.time, "monotonic", lambda: float(next(now)))
    subject = Subject(tmp_path, every="60 s")
    subject.fit(epochs=2)
    assert 2 <= len(subject.checkpoint.stalls) <= 6


@pytest.mark.slow
def test_another_backend_or_version_is_warned_about(tmp_path, caplog, monkeypatch):
    subject = Subject(tmp_path)
    monkeypatch.setattr(run_checkpoint, "made_with", lambda: {"backend": "abacus", "keras": "1"})
    subject.fit(epochs=1)
    monkeypatch.setattr(run_checkpoint, "made_with", lambda: {"backend": "slide rule", "keras": "1"})
    subject.fit(epochs=2)
    assert (
        "The checkpoint was written on abacus, this run is on slide rule: weights, optimizer and history are kept"
        in caplog.text
    )
    monkeypatch.setattr(run_checkpoint, "made_with", lambda: {"backend": "slide rule", "keras": "2"})
    subject.fit(epochs=3)
    assert "The checkpoint was written by other versions, so not to the same bits: keras 1 -> 2." in caplog.text


@pytest.mark.slow
def test_misuse_is_named(tmp_path):
    subject = Subject(tmp_path / "a")
    subject.fit(epochs=1)
    model = subject.model()
    with pytest.raises(ValueError, match="This RunCheckpoint was used in a fit; make another one"):
        model.fit(subject.x, subject.y, verbose=0, callbacks=[subject.checkpoint])
    early = [RunCheckpoint(tmp_path / "b"), keras.callbacks.EarlyStopping("loss")]
    with pytest.raises(ValueError, match="RunCheckpoint stands before EarlyStopping; expected it last"):
        model.fit(subject.x, subject.y, verbose=0, callbacks=early)
    with pytest.raises(ValueError, match=r"RunCheckpoint found no val_dice among .*, or another score"):
        Subject(tmp_path / "d").fit(epochs=2, score="val_dice")
    with pytest.raises(KsegError, match=r"last.keras compares epochs by val_f1, and score is val_best_f1: best.keras"):
        subject.fit(epochs=2, score="val_best_f1")
    with pytest.raises(ValueError, match="'often' is not allowed; expected auto"):
        RunCheckpoint(tmp_path / "c", every="often")
    with pytest.raises(ValueError, match="keep is 0; expected 1 checkpoint or more"):
        RunCheckpoint(tmp_path / "c", keep=0)
    with pytest.raises(KsegError, match="The folder /proc/kseg cannot be made or written to: "):
        RunCheckpoint("/proc/kseg")


@pytest.mark.slow
def test_another_model_is_refused(tmp_path):
    subject = Subject(tmp_path)
    subject.fit(epochs=1)
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(3, 3), layers.Conv2D(1, 1)])
    model.compile("adamw", "mse")
    with pytest.raises(KsegError, match="last.keras does not fit the "):
        model.fit(subject.x, np.zeros((24, 6, 6, 1)), verbose=0, callbacks=[RunCheckpoint(tmp_path, score=None)])


@pytest.mark.slow
def test_other_metrics_start_from_their_initial_values_with_a_warning(tmp_path, caplog):
    subject = Subject(tmp_path)
    with pytest.raises(Killed):
        subject.fit(Killer(3))
    subject.checkpoint._writer.wait()
    model = subject.model()
    model.compile("adamw", CombinedSegmentationLoss(), metrics=["mse"])
    model.fit(subject.x, subject.y, batch_size=4, verbose=0, callbacks=[RunCheckpoint(tmp_path, score=None)])
    assert "The metrics of the checkpoint do not fit this model; they start from their initial values." in caplog.text


def test_only_the_callbacks_to_remember_are_remembered(tmp_path, monkeypatch):
    def fit(epochs):
        stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=50)
        plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=50)
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
        model.compile("adam", loss="mse")
        checkpoint = RunCheckpoint(tmp_path, score=None, remember=[stopping])
        ones = np.ones((4, 1), np.float32)
        model.fit(ones, ones, epochs=epochs, verbose=0, callbacks=[stopping, plateau, checkpoint])
        return stopping

    # The list of callbacks is not looked for: that would raise here.
    monkeypatch.setattr(run_checkpoint, "calling_callback_list", None)
    fit(epochs=2)
    memories = read_checkpoint(tmp_path / "last.keras").memories
    assert [memory["callback"] for memory in memories] == ["EarlyStopping"]
    stopping = fit(epochs=3)
    assert np.isfinite(stopping.best)
    assert read_checkpoint(tmp_path / "last.keras").state.epoch == 3


@pytest.mark.slow
def test_of_two_on_one_directory_the_newer_writes(tmp_path):
    subject = Subject(tmp_path)
    older = RunCheckpoint(tmp_path, every="1 epoch")
    newer = RunCheckpoint(tmp_path, every="1 epoch")
    data = {"verbose": 0, "validation_data": (subject.x, subject.y)}
    with pytest.raises(KsegError, match="A newer RunCheckpoint of this process has the run directory .* Use the newer"):
        subject.model().fit(subject.x, subject.y, callbacks=[older], **data)
    subject.model().fit(subject.x, subject.y, epochs=2, callbacks=[newer], **data)
    assert read_checkpoint(tmp_path / "last.keras").state.epoch == 2
    assert RunCheckpoint(tmp_path).start == (2, 0)


@pytest.mark.slow
def test_after_an_error_the_next_one_waits_for_what_is_still_written(tmp_path, monkeypatch):
    subject, wanted, publish = Subject(tmp_path), threading.Event(), run_checkpoint.publish

    def slow(*arguments):
        wanted.wait(10)
        publish(*arguments)

    monkeypatch.setattr(run_checkpoint, "publish", slow)
    with pytest.raises(Killed):
        subject.fit(Killer(3))
    threading.Timer(0.5, wanted.set).start()
    assert RunCheckpoint(tmp_path).start == (0, 2)
    assert [path.name for path in tmp_path.glob("*.damaged")] == []


@pytest.mark.slow
def test_more_finished_batches_than_an_epoch_has_are_refused(tmp_path):
    subject = Subject(tmp_path)
    with pytest.raises(Killed):
        subject.fit(Killer(5))
    with pytest.raises(KsegError, match=r"has 4 finished batches of an epoch, and an epoch has 2. Give the data set"):
        subject.fit(data=(subject.x[:8], subject.y[:8]))


@pytest.mark.parametrize("recoveries", [-1, 10**9])
def test_recoveries_that_cannot_be_are_refused(recoveries):
    with pytest.raises(ValueError, match=f"{recoveries} recoveries"):
        CollapseDetector().set_state({"recoveries": recoveries})
