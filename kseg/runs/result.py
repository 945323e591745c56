"""What a finished run gives back."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras

from kseg.callbacks import TrainingState
from kseg.keras_private import quick_initializers
from kseg.runs.directory import RunDirectory


@dataclass(frozen=True)
class TrainingResult:
    """The files of a run, and what it reached."""

    run: RunDirectory
    state: TrainingState

    @property
    def best_f1(self) -> float | None:
        """The best validation F1, or None if there was none; with `threshold: auto` at the best threshold."""
        best = self.state.best_epoch
        return float(best[self.state.score]) if best else None

    @property
    def history(self) -> list[dict[str, Any]]:
        """One dict per epoch: `epoch`, from 1, and the value of each metric, as in `history.csv`."""
        return [dict(row) for row in self.state.history]

    @cached_property
    def model(self) -> keras.Model:
        """The best model, or the last one if none was best, read from its file and compiled."""
        with quick_initializers():
            return keras.models.load_model(self.run.best_or_last)
