"""A run that can be killed at any moment and goes on bit for bit."""

import importlib.metadata
import inspect
import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import keras
import numpy as np

from kseg import __version__
from kseg.callbacks.best import announce, check_score
from kseg.callbacks.signals import Signals
from kseg.checkpoints import (
    Checkpoint,
    Extras,
    Logs,
    Memory,
    TrainingState,
    Writer,
    fitting,
    load_weights,
    newest_checkpoint,
    publish,
    read_checkpoint,
    read_extras,
    set_aside_damaged,
    write_checkpoint,
    write_extras,
)
from kseg.interval import Interval
from kseg.storage.lock import lock, unlock
from kseg.storage.whole import beside, disk_errors

_log = logging.getLogger("kseg")

# JAX computes behind the loop, dozens of steps behind: who asks a run to stop would wait for all of them. Two keep the
# device busy.
_STEPS_AHEAD = 2
_LONGEST_WAIT = 60.0  # seconds, for the end of a step that an error may have kept from being told


class RunCheckpoint(keras.callbacks.Callback):
    """Writes checkpoints of a run, and goes on with it from the newest one, to the bit.

    What is restored: weights, optimizer, learning rate, the state of every seed generator (Dropout), the metrics of
    an epoch under way, the best score, and what the other callbacks of the `fit` remember: `EarlyStopping`,
    `ReduceLROnPlateau`, `SwapEMAWeights`, `CollapseDetector`, `HistoryFile`, those of your own. A callback remembers
    the attributes that are plain data (numbers, lists, arrays) and that have changed since training began, or, if it
    has them, what `get_state()` returns and `set_state(state)` takes.

    In the run directory are `last.keras`, the checkpoints before it (`last-1.keras`, …), and `best.keras`, the model
    with the best validation F1, NaN never being one. Each is a plain `.keras` file, whole or absent. Files are synced
    in the background. SIGTERM and Ctrl-C finish the batch, write a checkpoint and end `fit` with `SystemExit(143)` or
    `KeyboardInterrupt`; a second one is not waited for. A `fit` that is over does nothing when it is begun again.

    How exact it is: with `kseg.data.training_batches(…, start=checkpoint.start)`, on the same machine with the same
    versions, the run ends with the same bits as one that nobody touched. So it does with a pipeline of your own that
    gives the same batches in the same order in every epoch. One that is shuffled otherwise (`Dataset.shuffle` counts
    its epochs from where it was made; NumPy's global generator is not restored) goes on with other batches: nothing is
    lost, and it is another run. A pipeline of your own begins with the epoch's first batch: those that were done
    are drawn once more, and passed over. On a GPU the backend has to be deterministic
    (`XLA_FLAGS=--xla_gpu_deterministic_ops=true`, `torch.use_deterministic_algorithms(True)`).

    It has to be the last callback of the list.

    Args:
        run_dir: the folder, made if need be, and kept for this process while `fit` runs.
        checkpoint: a file to begin with, in place of the newest checkpoint in `run_dir`.
        every: how often to write: "auto" is about a minute, more if writing holds training up for over 2% of the time;
            or "200 batches", "30 s", "5 minutes", "1 epoch". Also written when the run ends or is stopped.
        keep: how many to keep, at least 1; an older one is used if a newer one is damaged.
        score: the value by which an epoch is best, greater being better; None keeps no best model.
        settings: what to write into the checkpoints as the settings of the run.
        data: what to write as the data of the run.
        say: what takes the lines to read.

    Raises:
        KsegError: another process has the run directory; it cannot be written to; the checkpoint does not fit the
            model; no checkpoint in it is whole; in `fit`, one could not be written.
        ValueError: `every` is no interval, or `keep` below 1; in `fit`, it is not the last callback, or validation did
            not measure the score.

    >>> import tempfile
    >>> checkpoint = RunCheckpoint(tempfile.mkdtemp(), every="1 epoch", score=None)
    >>> checkpoint.start  # epochs done, batches done of the next one: where the data has to begin
    (0, 0)
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("adam", loss="mse")
    >>> history = model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[checkpoint])
    >>> sorted(path.name for path in checkpoint.run_dir.glob("*.keras"))
    ['last-1.keras', 'last.keras']
    """

    async_safe = True  # all that it does at the end of a batch is to count

    def __init__(
        self,
        run_dir: str | Path,
        *,
        checkpoint: str | Path | None = None,
        every: str = "auto",
        keep: int = 2,
        score: str | None = "val_f1",
        settings: Logs | None = None,
        data: str = "",
        say: Callable[[str], Any] = print,
    ) -> None:
        super().__init__()
        if keep < 1:
            raise ValueError(f"RunCheckpoint keeps {keep} checkpoints; expected 1 or more.")
        self.every = Interval.parse(every)
        self.keep = keep
        self.run_dir = Path(run_dir)
        self.say = say
        self.stalls: list[float] = []
        """How many seconds each checkpoint held training up."""
        self._keeps_best = score is not None
        self._writer = Writer()
        self._fitted: keras.Model | None = None
        self._passing = self._in_epoch = self._in_training = False
        self._done = 0  # batches of the epoch under way
        self._batches_since, self._epochs_since, self._at = 0, 0, 0.0  # the last checkpoint
        self._signal: int | None = None
        lock(self.run_dir)
        self._found = self._find(checkpoint)
        self.found = self._found and self._found.state
        """What there is to go on from; None at the beginning."""
        self.origin = self._found and self._found.path
        """The file that this is in."""
        state = self.found or TrainingState()
        self.start = (state.epoch, state.batch)
        """The epochs that are done, and the batches of the next one: where the data has to begin."""
        self.state = replace(
            state,
            settings=settings or state.settings,
            score=score or state.score,
            data=data or state.data,
            made_with=made_with(),
        )

    def _find(self, path: str | Path | None) -> Checkpoint | None:
        if path is not None:
            return read_checkpoint(Path(path))
        found, faults = newest_checkpoint(self.run_dir)
        for fault in faults:
            _log.warning(f"⚠️  {fault}")
        if faults:
            _log.warning(f"⚠️  Going on from {found.path} instead ({found.state.progress}).")
            set_aside_damaged(self.run_dir, found)
        return found

    # Where Keras calls

    def on_train_begin(self, logs: Any = None) -> None:
        """Put everything back, and have the batches that are done passed over."""
        if self._fitted is not None:
            raise ValueError("This RunCheckpoint had its fit; make another one, which goes on from where that ended.")
        # Asked for here only: on JAX, `self.model` brings the model's state back from the device.
        self._fitted = self.model
        self._steps_per_execution = self._fitted.steps_per_execution
        self._list = _list_of(self)
        self._memory = Memory([callback for callback in self._list.callbacks if callback is not self])
        if self._found:
            self._say_where_it_was_made()
            load_weights(self._fitted, self._found)
            self._weights = [np.array(keras.ops.convert_to_numpy(one)) for one in _saved(self._fitted)]
            self._extras = fitting(self._fitted, self._found.extras)
            self._restore()
        self._passing = bool(self.state.batch)
        if self._passing:
            self._logs = self._fitted.get_metrics_result()
            self._train_function = self._fitted.train_function
            self._fitted.train_function = self._pass_over
        # As Keras's own BackupAndRestore does it.
        self._fitted._initial_epoch = self.params["epochs"] if self.state.stopped else self.state.epoch
        self._signals = Signals(self._asked_to_stop)
        self._at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count from here."""
        self._fitted._initial_epoch = None
        if not self._passing:
            self._forget()
        self._done = 0
        self._in_epoch = self._in_training = True
        self._ahead = threading.Semaphore(_STEPS_AHEAD)

    # Weights are read where Keras calls from the thread that trains, which at a batch's end it need not.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Write, if it is time: `batch` batches are done."""
        self._count(batch)
        if self._passing and batch >= self.state.batch:
            self._arrive()
        self._writer.raise_if_failed()
        if batch and not self._passing and self._is_time():
            self._save(replace(self.state, batch=batch))
            self._stop_if_asked()
        self._ahead.acquire(timeout=_LONGEST_WAIT)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let another step begin. On JAX this comes in another thread, once the step is computed."""
        self._ahead.release()

    def on_test_begin(self, logs: Any = None) -> None:
        """Write, if it is time, and remember what validation is going to change."""
        if not self._in_epoch:
            return
        self._end_of_training_epoch()
        if self._is_time():
            self._save(self._validating())
            self._stop_if_asked()
        self._before_validation = read_extras(self._fitted), self._memory.read()

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Do not finish a validation when asked to stop."""
        if self._signal and self._in_epoch:
            self._save(self._validating(), *self._before_validation)
            self._stop_if_asked()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write, if the epoch was the best, or the last, or it is time."""
        if self._in_training:
            self._end_of_training_epoch()
        self._in_epoch = False
        logs = logs or {}
        former = self.state.best_epoch
        if self._keeps_best:
            check_score("RunCheckpoint", self.state.score, logs)
        stopped = bool(self._fitted.stop_training)
        self.state = replace(self.state.after(epoch, logs), stopped=stopped)
        best = self._keeps_best and self.state.best_epoch != former
        self._epochs_since += 1
        if best or stopped or epoch + 1 == self.params["epochs"] or self._is_time():
            self._save(self.state, best=best)
        if best:
            self.say(announce(self.state, logs))
        self._stop_if_asked()

    def on_train_end(self, logs: Any = None) -> None:
        """Wait for the last file."""
        self._signals.restore()
        self._writer.wait()
        if self._keeps_best and self.state.history and not any(self.state.score in row for row in self.state.history):
            _log.warning("RunCheckpoint saved no best model: there was no validation. Pass validation_data to fit.")
        unlock(self.run_dir)

    def _count(self, batches: int) -> None:
        self._batches_since += batches - self._done
        self._done = batches

    def _end_of_training_epoch(self) -> None:
        self._in_training = False
        steps = self._done + self._steps_per_execution
        self._count(min(steps, self.params["steps"] or steps))
        if self._passing:
            self._arrive()

    # Going on

    def _say_where_it_was_made(self) -> None:
        state = self._found.state
        now = made_with()
        if state.made_with.get("backend") != now["backend"]:
            _log.warning(
                f"⚠️  Made on {state.made_with.get('backend')}, going on with {now['backend']}: weights, optimizer and "
                "history carry over; numbers are rounded and drawn otherwise, so it is not the same to the last bit."
            )
            return
        changed = [f"{name} {was} -> {now.get(name)}" for name, was in state.made_with.items() if now.get(name) != was]
        if changed:
            _log.warning(f"⚠️  Made with other versions, so not the same to the last bit: {', '.join(changed)}.")

    def _restore(self) -> None:
        """Give callbacks and variables what they had. More than once: Keras calls hooks on the way to the batch."""
        self._memory.write(self._found.memories)
        for variable, value in zip(_saved(self._fitted), self._weights, strict=True):
            variable.assign(value)
        write_extras(self._fitted, self._extras)

    def _pass_over(self, *arguments: Any) -> Any:
        """Take the place of a step that is done. JAX calls it as `(state, iterator)`, torch as `(batches,)`."""
        *state, batches = arguments
        if state:
            for _ in range(self._steps_per_execution):
                next(batches)
        if self._done + self._steps_per_execution < self.state.batch:
            return (self._logs, *state) if state else self._logs
        # The last of them: the epoch's logs may be made of the metrics next.
        model = self._fitted
        model.train_function = self._train_function
        self._restore()
        if not state:
            return self._logs
        model._jax_state_synced = True  # the model has its values: `fit` takes them from there
        groups = (
            model.trainable_variables,
            model.non_trainable_variables,
            model.optimizer.variables,
            model.metrics_variables,
        )
        return self._logs, tuple([variable.value for variable in group] for group in groups)

    def _arrive(self) -> None:
        """The place is reached where the checkpoint was made."""
        self._passing = False
        self._restore()
        self._forget()
        self._batches_since, self._at = 0, time.monotonic()

    def _forget(self) -> None:
        """A copy of all weights is no longer needed."""
        self._found, self._weights, self._extras = None, [], {}

    # Writing

    def _is_time(self) -> bool:
        if self._signal:
            return True
        seconds, cost = time.monotonic() - self._at, self.stalls[-1] if self.stalls else 0.0
        return self.every.is_due(batches=self._batches_since, seconds=seconds, epochs=self._epochs_since, cost=cost)

    def _validating(self) -> TrainingState:
        return replace(self.state, batch=self._done, validating=True)

    def _save(
        self,
        state: TrainingState,
        extras: Extras | None = None,
        memories: list[dict[str, Any]] | None = None,
        *,
        best: bool = False,
    ) -> None:
        # On JAX, asking for the model brings its state back from the device, and a value of it waits for the batch.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        began = time.monotonic()
        self._writer.wait()
        temporary = beside(self.run_dir / "last.keras")
        memories = self._memory.read() if memories is None else memories
        with disk_errors(self.run_dir):
            write_checkpoint(self._fitted, temporary, state, extras, memories)
        self._writer.start(lambda: publish(temporary, self.keep, best), self.run_dir)
        self._batches_since, self._epochs_since, self._at = 0, 0, time.monotonic()
        self.stalls.append(self._at - began)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; the next one is taken by who took them before."""
        self._signals.restore()
        while frame and frame.f_locals.get("callbacks") is not self._list:
            frame = frame.f_back
        if not frame:  # that `fit` is over, by an error
            signal.raise_signal(number)
            return
        self._signal = number
        self.say(
            f"\n{signal.Signals(number).name}: finishing the batch, then writing a checkpoint. Again: leave at once."
        )

    def _stop_if_asked(self) -> None:
        if not self._signal:
            return
        self._writer.wait()
        newest = self.run_dir / "last.keras"
        self.say(f"\nStopped. {newest} has everything up to here.")
        unlock(self.run_dir)
        raise KeyboardInterrupt if self._signal == signal.SIGINT else SystemExit(128 + self._signal)


def made_with() -> dict[str, str]:
    """The backend, and the versions of what computes."""
    backend = keras.config.backend()
    packages = {"jax": ("keras", "jax", "jaxlib"), "torch": ("keras", "torch")}.get(backend, ("keras",))
    return {"backend": backend, "kseg": __version__, **{name: importlib.metadata.version(name) for name in packages}}


def _saved(model: keras.Model) -> list[keras.Variable]:
    """The variables that Keras saves."""
    return [*model.weights, *model.optimizer.variables]


def _list_of(callback: keras.callbacks.Callback) -> keras.callbacks.CallbackList:
    """The callbacks of the `fit` that is calling: Keras tells a callback nothing of the others."""
    frame = inspect.currentframe()
    while frame:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList):
            break
        frame = frame.f_back
    else:
        raise RuntimeError("RunCheckpoint was not called by a keras.callbacks.CallbackList.")
    after = owner.callbacks[owner.callbacks.index(callback) + 1 :]
    shown = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    behind = [type(one).__name__ for one in after if not isinstance(one, shown)]
    if behind:
        raise ValueError(f"RunCheckpoint stands before {', '.join(behind)}; expected it last, to see what they do.")
    return owner
