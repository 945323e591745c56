"""What a run knows of itself: how far it is, what it measured, with what settings."""

import math
from dataclasses import dataclass, field, replace
from typing import Any

Logs = dict[str, Any]


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint knows besides model, optimizer and callbacks."""

    history: list[Logs] = field(default_factory=list)
    """A row an epoch: `{"epoch": 1, "loss": …, "val_f1": …}`."""
    settings: Logs = field(default_factory=dict)
    """The settings of the run, as plain values."""
    score: str = "val_f1"
    """The value by which an epoch is best: `val_f1`, or `val_best_f1` for the F1 of the best threshold."""
    batch: int = 0
    """How many batches are done of the epoch after those in `history`."""
    validating: bool = False
    """Whether these are all of that epoch, and its validation comes next."""
    stopped: bool = False
    """Whether a callback ended training before its last epoch."""
    data: str = ""
    """Which examples it trains and validates on, in words that change when they do."""
    made_with: dict[str, str] = field(default_factory=dict)
    """The backend, and the versions of what computes."""

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return self.history[-1]["epoch"] if self.history else 0

    @property
    def progress(self) -> str:
        """How far it is, in words.

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
        return replace(self, history=[*self.history, {"epoch": epoch + 1, **logs}], batch=0, validating=False)


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
