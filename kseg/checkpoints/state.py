"""The state of a run: its progress, its scores, its settings."""

import math
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import Field

Logs = dict[str, Any]


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint holds besides model, optimizer and callbacks."""

    history: list[Logs] = field(default_factory=list)
    """A row per epoch: `{"epoch": 1, "loss": …, "val_f1": …}`."""
    settings: Logs = field(default_factory=dict)
    """The settings of the run, as plain values."""
    score: str = "val_f1"
    """The value by which epochs are compared: `val_f1`, or `val_best_f1` for the F1 at the best threshold."""
    batch: Annotated[int, Field(ge=0, lt=2**31)] = 0
    """Finished batches of the epoch after those in `history`."""
    validating: bool = False
    """Whether all batches of that epoch are finished, so its validation comes next."""
    stopped: bool = False
    """Whether a callback ended training before its last epoch."""
    planned: int = 0
    """The number of epochs that `fit` was asked for; 0 in files of older versions."""
    data: str = ""
    """A description of the training and validation examples, which changes if they do."""
    metadata: Logs = field(default_factory=dict)
    """How the model is used, as plain values: `Metadata.as_data`; empty if nobody said."""
    made_with: dict[str, str] = field(default_factory=dict)
    """The backend, and the versions of the packages that compute."""

    @property
    def epoch(self) -> int:
        """The number of finished epochs."""
        return self.history[-1]["epoch"] if self.history else 0

    @property
    def progress(self) -> str:
        """The progress in words.

        >>> TrainingState([{"epoch": 1}], batch=7).progress
        'epoch 2, after 7 batches'
        """
        if self.validating:
            return f"epoch {self.epoch + 1}, before validation"
        if self.batch:
            return f"epoch {self.epoch + 1}, after {self.batch} batches"
        return f"{self.epoch} epochs done"

    @property
    def best_epoch(self) -> Logs | None:
        """The row with the best score, the first of equal ones; None if there is no score."""
        best: Logs | None = None
        for row in self.history:
            beats = best is None or row.get(self.score, -math.inf) > best[self.score]
            if beats and score(row, self.score) is not None:
                best = row
        return best

    @property
    def threshold(self) -> float | None:
        """The best threshold of the best epoch, if `score` is `val_best_f1`, or that of an output."""
        best = self.best_epoch
        if not best or not self.score.endswith("best_f1"):
            return None
        return best[self.score.removesuffix("best_f1") + "best_threshold"]

    def after(self, epoch: int, logs: Logs) -> "TrainingState":
        """Return the state after one more epoch, counted from 0."""
        return replace(self, history=[*self.history, {"epoch": epoch + 1, **logs}], batch=0, validating=False)


def score(logs: Logs, name: str = "val_f1") -> float | None:
    """Return the score in the logs of an epoch; None if there is none, or if it or a loss is not finite.

    A model whose loss is NaN predicts no pixel, so its F1 of 0 would look like a score.

    >>> score({"val_f1": 0.5, "val_loss": 0.1}), score({"val_f1": 0.0, "val_loss": float("nan")})
    (0.5, None)
    """
    losses = (logs[key] for key in ("loss", "val_loss") if key in logs)
    finite = all(math.isfinite(value) for value in (logs.get(name, math.nan), *losses))
    return logs[name] if finite else None
