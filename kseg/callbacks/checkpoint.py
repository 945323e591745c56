"""Checkpoints: a plain `.keras` file, whole or absent, that carries what a run needs to go on."""

import json
import logging
import math
import os
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import keras

from kseg.errors import KsegError

_log = logging.getLogger("kseg")

_ENTRY = "kseg.json"  # beside Keras's own entries, which ignore it
_FORMAT = 1

Logs = dict[str, Any]


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint knows besides model and optimizer."""

    history: list[Logs] = field(default_factory=list)
    """A row an epoch: `{"epoch": 1, "loss": …, "val_f1": …}`."""
    settings: Logs = field(default_factory=dict)
    """The settings of the run, as plain values."""
    score: str = "val_f1"
    """The value by which an epoch is best: `val_f1`, or `val_best_f1` for the F1 of the best threshold."""

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.history[-1]["epoch"] if self.history else 0

    @property
    def best_epoch(self) -> Logs | None:
        """The row with the best validation F1; the first of equals, None if there is none."""
        rows = [row for row in self.history if score(row, self.score) is not None]
        return max(rows, key=lambda row: row[self.score], default=None)

    @property
    def threshold(self) -> float | None:
        """The probability that the best epoch is to be thresholded at, if the best threshold was asked for."""
        best = self.best_epoch
        return best["val_best_threshold"] if best and self.score == "val_best_f1" else None

    def after(self, epoch: int, logs: Logs) -> "TrainingState":
        """The state after one more epoch, counted from 0."""
        return replace(self, history=[*self.history, {"epoch": epoch + 1, **logs}])


def score(logs: Logs, name: str = "val_f1") -> float | None:
    """The validation F1 of an epoch, or None if there was none or the epoch cannot be trusted.

    A NaN is never a score, and neither is the F1 of a model whose loss is not finite: such a model predicts
    no pixel, and its F1 of 0 would look like a number.

    >>> score({"val_f1": 0.5, "val_loss": 0.1}), score({"val_f1": 0.0, "val_loss": float("nan")})
    (0.5, None)
    """
    losses = (logs[key] for key in ("loss", "val_loss") if key in logs)
    finite = all(math.isfinite(value) for value in (logs.get(name, math.nan), *losses))
    return logs[name] if finite else None


def save_checkpoint(model: keras.Model, path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write model, optimizer and state as one file, which is either whole or not there.

    It is written beside its place, synced and renamed, so a crash leaves the former file as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.part.keras")
    model.save(temporary)
    with zipfile.ZipFile(temporary, "a") as archive:
        archive.writestr(_ENTRY, json.dumps({"format": _FORMAT, **asdict(state)}))
    _sync(temporary)
    temporary.replace(path)
    _sync(path.parent)


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """The state in a checkpoint.

    Raises:
        KsegError: there is no such file, or it is no checkpoint of kseg.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = json.loads(archive.read(_ENTRY))
    except FileNotFoundError:
        raise KsegError(f"There is no checkpoint {path}. Expected the last.keras or best.keras of a run.") from None
    except (OSError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise KsegError(
            f"{path} is not a checkpoint of kseg ({error}). Expected the last.keras or best.keras of a run."
        ) from error
    if content.pop("format") != _FORMAT:
        raise KsegError(f"{path} was written by another version of kseg; expected format {_FORMAT}.")
    return TrainingState(**content)


class LastCheckpoint(keras.callbacks.Callback):
    """Writes a checkpoint after every epoch.

    Args:
        path: the file, ending in `.keras`.
        state: where the run goes on from.
    """

    def __init__(self, path: str | os.PathLike[str], state: TrainingState | None = None) -> None:
        super().__init__()
        self.path = Path(path)
        self.state = state or TrainingState()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write it."""
        self.state = self.state.after(epoch, logs or {})
        save_checkpoint(self.model, self.path, self.state)


class BestF1Checkpoint(keras.callbacks.Callback):
    """Keeps the model with the best validation F1. NaN is never best, and neither is a model whose loss is NaN.

    Needs `kseg.metrics.SegmentationMetrics` (or `F1Score`) among the model's metrics, and validation data.
    Epochs without validation are passed over; a run without any is warned about at its end.

    With `state=TrainingState(score="val_best_f1")` the model is best whose best threshold gives the best F1, and
    `read_state(path).threshold` tells that threshold; needs `kseg.metrics.ThresholdCurve` among the metrics.

    Args:
        path: the file, ending in `.keras`; open it with `keras.models.load_model`.
        state: where the run goes on from; its best F1 has to be beaten.
        say: what takes the line that a model was saved.

    Raises:
        ValueError: validation ran and did not measure the score.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        state: TrainingState | None = None,
        say: Callable[[str], Any] = print,
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.state = state or TrainingState()
        self.say = say

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the model if it is the best so far."""
        logs = logs or {}
        name = self.state.score
        if name not in logs and any(key.startswith("val_") for key in logs):
            metric = "SegmentationMetrics" if name == "val_f1" else "ThresholdCurve"
            raise ValueError(
                f"BestF1Checkpoint found no {name} among {', '.join(sorted(logs))}; expected "
                f"model.compile(…, metrics=[kseg.metrics.{metric}()])."
            )
        best = self.state.best_epoch
        self.state = self.state.after(epoch, logs)
        if self.state.best_epoch != best:
            save_checkpoint(self.model, self.path, self.state)
            threshold, more = self.state.threshold, ""
            if threshold is not None:
                more = f" at threshold {threshold:.3g}"
            elif "val_iou" in logs:
                more = f", IoU: {logs['val_iou']:.4f}"
            self.say(f"✓ Saved best model (F1: {logs[name]:.4f}{more})")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Say so if there was nothing to choose by."""
        if not any(self.state.score in row for row in self.state.history):
            _log.warning("BestF1Checkpoint saved no model: there was no validation. Pass validation_data to fit.")
