"""Checkpoints of a run that can be killed at any moment and resumed to the same bits."""

import contextlib
import importlib.metadata
import logging
import os
import signal
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

import keras

from kseg import __version__
from kseg.callbacks.best import check_score, saved_line
from kseg.callbacks.signals import Signals
from kseg.checkpoints import (
    Checkpoint,
    Extras,
    Logs,
    Memory,
    Restorer,
    TrainingState,
    Writer,
    newest_checkpoint,
    publish,
    read_checkpoint,
    read_extras,
    set_aside_damaged,
    wait_for_writes,
    write_checkpoint,
)
from kseg.distribution import by_this_process_alone
from kseg.errors import KsegError
from kseg.interval import Interval
from kseg.keras_private import (
    calling_callback_list,
    is_within_fit,
    jax_state_variables,
    mark_jax_state_synced,
    replace_train_function,
    set_initial_epoch,
)
from kseg.metadata import Metadata
from kseg.processes import asked_to_stop, from_first, is_first, process_count
from kseg.storage.atomic import explain_write_errors, make_anew, removed_on_error, temporary_path
from kseg.storage.lock import lock, unlock

_log = logging.getLogger("kseg")

# JAX computes dozens of steps behind the loop, and a request to stop would wait for all of them. Two steps keep the
# device busy.
_STEPS_AHEAD = 2
_LONGEST_WAIT = 60.0  # seconds, for the end of a step: after an error Keras may not report it


# The newest RunCheckpoint of each run directory in this process; only that one writes.
_newest: weakref.WeakValueDictionary[Path, "RunCheckpoint"] = weakref.WeakValueDictionary()


class RunCheckpoint(keras.callbacks.Callback):
    """Writes checkpoints of a run, and resumes it from the newest one, to the same bits.

    It restores weights, optimizer, learning rate, every seed generator (Dropout), the metrics of an unfinished epoch,
    the best score, and what the other callbacks of the `fit` remember: `EarlyStopping`, `ReduceLROnPlateau`,
    `SwapEMAWeights`, `CollapseDetector`, `HistoryFile`, your own. A callback remembers the attributes that are plain
    data (numbers, lists, arrays) and changed since training began; or, if it has these methods, what `get_state()`
    returns and `set_state(state)` takes.

    The run directory holds `last.keras`, the checkpoints before it (`last-1.keras`, …), and `best.keras`, the model
    with the best validation F1; NaN is never best. Each is a plain `.keras` file, complete or absent. Files are synced
    in the background. SIGTERM and Ctrl-C finish the batch, write a checkpoint and end `fit` with `SystemExit(143)` or
    `KeyboardInterrupt`; a second signal ends it at once. A finished `fit` does nothing when it is
    started again; one that `EarlyStopping` ended goes on with more epochs, or with more patience.

    With `kseg.data.training_batches(…, start=checkpoint.start)`, on the same machine with the same versions, a resumed
    run ends with the same bits as an uninterrupted one. The same holds for your own pipeline if every epoch gives the
    same batches in the same order; it starts with the epoch's first batch, and finished batches are read again and
    skipped. A pipeline with another shuffle (`Dataset.shuffle` counts its epochs from its own start; NumPy's global
    generator is not restored) continues with other batches: nothing is lost, but it is another run. A GPU needs a
    deterministic backend (`XLA_FLAGS=--xla_gpu_deterministic_ops=true`, `torch.use_deterministic_algorithms(True)`).

    Of several processes (`kseg.distribution.setup`) the first one reads for all, and writes. SIGTERM or Ctrl-C in one
    of them stops all at the same batch, with `SystemExit(143)`.

    It must be the last callback of the list.

    Args:
        run_dir: the folder, made if needed, and locked for this process until `fit` ends.
        checkpoint: a file to start from, instead of the newest checkpoint in `run_dir`.
        every: how often to write: "auto" is about once a minute, less often if writing takes over 2% of the time;
            or "200 batches", "30 s", "5 minutes", "1 epoch". A checkpoint is also written when the run ends or is
            stopped.
        keep: the number of checkpoints to keep, at least 1; an older one is used if a newer one is damaged.
        score: the value by which epochs are compared, greater is better; None keeps no best model.
        settings: the settings of the run, stored in the checkpoints.
        data: the description of the data, stored in the checkpoints.
        metadata: how the model is used, stored in the checkpoints for `kseg.load`.
        remember: the callbacks whose memory is stored and restored. By default all of the `fit`, which are found on
            Python's stack since Keras has no public way to them.
        print_fn: called with each line of text.

    Raises:
        KsegError: another process has locked the run directory; it cannot be written to; no checkpoint in it is intact,
            or the newest compares epochs by another score; in `fit`, the checkpoint does not fit the model, one cannot
            be written, or a newer RunCheckpoint of this process has the directory.
        ValueError: `every` is no interval, or `keep` is below 1; in `fit`, it is not the last callback (not checked
            with `remember`), or validation did not measure the score.

    >>> import tempfile
    >>> import numpy as np
    >>> checkpoint = RunCheckpoint(tempfile.mkdtemp(), every="1 epoch", score=None)
    >>> checkpoint.start  # finished epochs, finished batches of the next one: where the data must start
    (0, 0)
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile("adam", loss="mse")
    >>> history = model.fit(np.ones((4, 1)), np.ones((4, 1)), epochs=2, verbose=0, callbacks=[checkpoint])
    >>> sorted(path.name for path in checkpoint.run_dir.glob("*.keras"))
    ['last-1.keras', 'last.keras']
    """

    async_safe = True  # it needs no values at a batch's end

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
        metadata: Metadata | None = None,
        remember: Sequence[keras.callbacks.Callback] | None = None,
        print_fn: Callable[[str], Any] = print,
    ) -> None:
        super().__init__()
        if keep < 1:
            raise ValueError(f"RunCheckpoint's keep is {keep}; expected 1 checkpoint or more.")
        self.every = Interval.parse(every)
        self.keep = keep
        self.run_dir = Path(run_dir)
        self.print_fn = print_fn if is_first() else lambda text: None
        self.stalls: list[float] = []
        """For how many seconds each checkpoint stopped training."""
        self._keeps_best = score is not None
        self._remember = remember
        self._writer = Writer()
        self._used = self._skipping = self._in_epoch = self._in_training = False
        self._done = 0  # batches of this epoch
        self._batches_since, self._epochs_since, self._at = 0, 0, 0.0  # the last checkpoint
        self._signal: int | None = None
        self._looks = 0  # for a request to stop
        self._restorer: Restorer | None = None
        self._lock()
        _newest[self.run_dir.resolve()] = self
        wait_for_writes(self.run_dir)
        self._checkpoint = self._find(checkpoint)
        self.found = self._checkpoint and self._checkpoint.state
        """The state from which the run resumes; None at its start."""
        self.origin = self._checkpoint.path if self._checkpoint else None
        """The file that holds this state."""
        state = self.found or TrainingState()
        self.start = (state.epoch, state.batch)
        """The finished epochs, and the finished batches of the next one: where the data must start."""
        self.state = replace(
            state,
            settings=settings or state.settings,
            score=score or state.score,
            data=data or state.data,
            metadata=metadata.as_data() if metadata else state.metadata,
            made_with=made_with(),
        )

    def _lock(self) -> None:
        if is_first():
            lock(self.run_dir)

    def _find(self, path: str | Path | None) -> Checkpoint | None:
        """Return the checkpoint to resume from. Of several processes the first finds it; all read the same bytes."""
        found = self._read(path) if is_first() else None
        if process_count() == 1:
            return found
        content = from_first(found.path.read_bytes() if found else None)
        if content is None:
            return None
        with tempfile.TemporaryDirectory(prefix="kseg-") as folder:
            copy = Path(folder) / "last.keras"
            copy.write_bytes(content)
            read = read_checkpoint(copy)
        return replace(read, path=found.path) if found else read

    def _read(self, path: str | Path | None) -> Checkpoint | None:
        if path is not None:
            return read_checkpoint(Path(path))
        newest, faults = newest_checkpoint(self.run_dir)
        for fault in faults:
            _log.warning(f"⚠️  {fault}")
        if newest and faults:
            _log.warning(f"⚠️  Resuming from {newest.path} instead ({newest.state.progress}).")
            set_aside_damaged(self.run_dir, newest)
        return newest

    # Hooks

    def on_train_begin(self, logs: Any = None) -> None:
        """Restore everything, and skip the finished batches."""
        if self._used:
            raise ValueError("This RunCheckpoint was used in a fit; make another one, which resumes where that ended.")
        self._used = True
        self._refuse_if_replaced()
        self._lock()
        self._folder = _identity(self.run_dir)
        if self.found and self._keeps_best and self.state.score != self.found.score:
            raise KsegError(
                f"{self.origin} compares epochs by {self.found.score}, and score is {self.state.score}: best.keras "
                f"would be the best by another value. Keep score={self.found.score!r}, or start another run."
            )
        if self.params["steps"] and self.state.batch > self.params["steps"]:
            raise KsegError(
                f"{self.origin} has {self.state.batch} finished batches of an epoch, and an epoch has "
                f"{self.params['steps']}. Give the data set and the batch size of that run."
            )
        # Only here: on JAX, `self.model` fetches the model's state from the device.
        self._fitted = self.model
        self._steps_per_execution = self._fitted.steps_per_execution
        callbacks = _all_callbacks(self) if self._remember is None else self._remember
        self._memory = Memory([callback for callback in callbacks if callback is not self])
        if self._checkpoint:
            _warn_of_changes(self._checkpoint.state.made_with)
            self._restorer = Restorer(self._fitted, self._memory, self._checkpoint)
            self._restorer.restore()
            self._checkpoint = None
        self._skipping = bool(self.state.batch)
        if self._skipping:
            self._logs = self._fitted.get_metrics_result()
            self._train_function = replace_train_function(self._fitted, self._skip_step)
        if self.state.stopped:
            self.state = replace(self.state, stopped=not self._goes_on(callbacks))
        set_initial_epoch(self._fitted, self.params["epochs"] if self.state.stopped else self.state.epoch)
        if process_count() == 1:
            self._signals = Signals(self._asked_to_stop)
        else:  # SIGTERM is JAX's, which tells the other processes
            self._signals = Signals(self._ask_all_to_stop, [signal.SIGINT])
        self._at = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Count the batches of this epoch."""
        set_initial_epoch(self._fitted, None)
        if not self._skipping:
            self._restorer = None  # it holds a copy of all weights
        self._done = 0
        self._in_epoch = self._in_training = True
        self._ahead = threading.Semaphore(_STEPS_AHEAD)

    # Weights are read where Keras calls from the training thread. It may not at a batch's end.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Write a checkpoint, if it is time: `batch` batches are finished."""
        self._look_for_request()
        self._count(batch)
        if self._skipping and batch >= self.state.batch:
            self._end_skipping()
        self._writer.raise_if_failed()
        if batch and not self._skipping and self._is_time():
            self._save(replace(self.state, batch=batch))
            self._stop_if_asked()
        self._ahead.acquire(timeout=_LONGEST_WAIT)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let another step begin. JAX calls this in another thread, once the step is computed."""
        self._ahead.release()

    def on_test_begin(self, logs: Any = None) -> None:
        """Write a checkpoint, if it is time, and keep what validation will change."""
        if not self._in_epoch:
            return
        self._end_training_epoch()
        if self._is_time():
            self._save(self._validating())
            self._stop_if_asked()
        self._before_validation = read_extras(self._fitted), self._memory.read()
        # Steps of a validation do not depend on each other. If JAX computes two at once on a CPU, each may wait for
        # another process and hold the thread that the other step needs.
        self._ahead = threading.Semaphore(1 if process_count() > 1 else _STEPS_AHEAD)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Interrupt validation if a signal asked to stop."""
        self._look_for_request()
        if self._signal and self._in_epoch:
            self._save(self._validating(), *self._before_validation)
            self._stop_if_asked()
        if self._in_epoch:
            self._ahead.acquire(timeout=_LONGEST_WAIT)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Let another step begin."""
        if self._in_epoch:
            self._ahead.release()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a checkpoint, if the epoch is the best or the last, or if it is time."""
        if self._in_training:
            self._end_training_epoch()
        self._in_epoch = False
        logs = logs or {}
        former = self.state.best_epoch
        if self._keeps_best:
            check_score("RunCheckpoint", self.state.score, logs)
        stopped = bool(self._fitted.stop_training)
        self.state = replace(self.state.after(epoch, logs), stopped=stopped, planned=self.params["epochs"])
        best = self._keeps_best and self.state.best_epoch != former
        self._epochs_since += 1
        if best or stopped or epoch + 1 == self.params["epochs"] or self._is_time():
            self._save(self.state, best=best)
        if best:
            self.print_fn(saved_line(self.state, logs))
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

    def _end_training_epoch(self) -> None:
        self._in_training = False
        steps = self._done + self._steps_per_execution
        self._count(min(steps, self.params["steps"] or steps))
        if self._skipping:
            self._end_skipping()

    # Resuming

    def _goes_on(self, callbacks: Sequence[keras.callbacks.Callback]) -> bool:
        """Return whether a run that a callback ended goes on: with more epochs, or with more patience; and say so."""
        was = f"A callback ended this run after {self.state.epoch} epochs"
        if self.params["epochs"] <= self.state.epoch:
            return False
        if 0 < self.state.planned < self.params["epochs"]:
            self.print_fn(
                f"{was}. It goes on, since epochs is now {self.params['epochs']} instead of {self.state.planned}."
            )
            return True
        for callback in callbacks:
            if isinstance(callback, keras.callbacks.EarlyStopping) and callback.wait < callback.patience:
                self.print_fn(
                    f"{was}. It goes on, since {callback.wait} epochs without improvement are within the patience of "
                    f"{callback.patience}."
                )
                return True
        self.print_fn(f"{was}. To go on, give more epochs than {self.params['epochs']}, or more patience.")
        return False

    def _skip_step(self, *arguments: Any) -> Any:
        """Skip a finished step. Arguments and result are those of `replace_train_function`."""
        *state, batches = arguments
        if state:
            for _ in range(self._steps_per_execution):
                next(batches)
        if self._done + self._steps_per_execution < self.state.batch:
            return (self._logs, *state) if state else self._logs
        # After the last one Keras may read the epoch's logs from the metrics.
        replace_train_function(self._fitted, self._train_function)
        self._restore()
        if not state:
            return self._logs
        mark_jax_state_synced(self._fitted)
        values = ([variable.value for variable in group] for group in jax_state_variables(self._fitted))
        return self._logs, tuple(values)

    def _end_skipping(self) -> None:
        """Restore once more, now that training is where the checkpoint was written."""
        self._skipping = False
        self._restore()
        self._restorer = None
        self._batches_since, self._at = 0, time.monotonic()

    def _restore(self) -> None:
        if self._restorer:
            self._restorer.restore()

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
        # On JAX, `self.model` fetches its state from the device, and reading a value waits for the batch.
        keras.ops.convert_to_numpy(self.model.optimizer.iterations)
        if is_first():
            self._write(state, extras, memories, best=best)
        self._batches_since, self._epochs_since, self._at = 0, 0, time.monotonic()

    def _write(
        self, state: TrainingState, extras: Extras | None, memories: list[dict[str, Any]] | None, *, best: bool
    ) -> None:
        self._refuse_if_replaced()
        if _identity(self.run_dir) != self._folder:
            raise KsegError(
                f"The run directory {self.run_dir} was deleted, moved or replaced while this run wrote to it. Put it "
                "back and resume, or start again."
            )
        began = time.monotonic()
        self._writer.wait()
        temporary = temporary_path(self.run_dir / "last.keras")
        memories = self._memory.read() if memories is None else memories
        with explain_write_errors(self.run_dir), removed_on_error(temporary), by_this_process_alone():
            make_anew(temporary)
            write_checkpoint(self._fitted, temporary, state, extras, memories)
        self._writer.start(lambda: publish(temporary, self.keep, best), self.run_dir)
        self.stalls.append(time.monotonic() - began)

    def _refuse_if_replaced(self) -> None:
        if _newest.get(self.run_dir.resolve()) is not self:
            raise KsegError(
                f"A newer RunCheckpoint of this process has the run directory {self.run_dir}, and this one would "
                "replace its files. Use the newer one, or another directory."
            )

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Remember a signal. The former handlers take the next one."""
        self._signals.restore()
        if not is_within_fit(frame, self):  # an error ended that `fit`
            signal.raise_signal(number)
            return
        self._signal = number
        self._say_that_it_stops()

    def _say_that_it_stops(self) -> None:
        name = signal.Signals(self._signal or signal.SIGTERM).name
        self.print_fn(f"\n{name}: finishing the batch, then writing a checkpoint. Again: stop at once.")

    def _ask_all_to_stop(self, number: int, frame: FrameType | None) -> None:
        """Ask all processes to stop. The former handler takes the next Ctrl-C."""
        self._signals.restore()
        os.kill(os.getpid(), signal.SIGTERM)

    def _look_for_request(self) -> None:
        """Note that some process got a signal, at the same step in all of them."""
        self._looks += 1
        if process_count() > 1 and not self._signal and asked_to_stop(self._looks):
            self._signal = signal.SIGTERM
            self._say_that_it_stops()

    def _stop_if_asked(self) -> None:
        if not self._signal:
            return
        self._writer.wait()
        newest = self.run_dir / "last.keras"
        self.print_fn(f"\nStopped. {newest} has everything up to here.")
        unlock(self.run_dir)
        raise KeyboardInterrupt if self._signal == signal.SIGINT else SystemExit(128 + self._signal)


def _identity(folder: Path) -> tuple[int, int] | None:
    """Return what tells a folder from another one of the same name; None if there is none."""
    with contextlib.suppress(OSError):
        status = folder.stat()
        return status.st_dev, status.st_ino
    return None


def made_with() -> dict[str, str]:
    """Return the backend, and the versions of the packages that compute."""
    backend = keras.config.backend()
    packages = {"jax": ("keras", "jax", "jaxlib"), "torch": ("keras", "torch")}.get(backend, ("keras",))
    return {"backend": backend, "kseg": __version__, **{name: importlib.metadata.version(name) for name in packages}}


def _warn_of_changes(before: dict[str, str]) -> None:
    """Warn if the backend or a version changed since the checkpoint was written."""
    now = made_with()
    if before.get("backend") != now["backend"]:
        _log.warning(
            f"⚠️  The checkpoint was written on {before.get('backend')}, this run is on {now['backend']}: weights, "
            "optimizer and history are kept, but numbers are rounded and drawn differently, so not to the same bits."
        )
        return
    changed = [f"{name} {was} -> {now.get(name)}" for name, was in before.items() if now.get(name) != was]
    if changed:
        _log.warning(f"⚠️  The checkpoint was written by other versions, so not to the same bits: {', '.join(changed)}.")


def _all_callbacks(checkpoint: RunCheckpoint) -> list[keras.callbacks.Callback]:
    """Return all callbacks of the `fit` that is calling.

    Raises:
        ValueError: `checkpoint` is not the last, apart from Keras's own.
    """
    callbacks = calling_callback_list().callbacks
    later = callbacks[callbacks.index(checkpoint) + 1 :]
    own = (keras.callbacks.History, keras.callbacks.ProgbarLogger)
    names = [type(one).__name__ for one in later if not isinstance(one, own)]
    if names:
        raise ValueError(f"RunCheckpoint stands before {', '.join(names)}; expected it last, to see what they do.")
    return callbacks
