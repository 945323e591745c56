"""What an epoch gave: lines to read, and a table to plot."""

import csv
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

Logs = dict[str, Any]

_METRICS = {
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "IoU": "iou",
    "Accuracy": "accuracy",
}


class EpochSummary(keras.callbacks.Callback):
    """Says after each epoch how good the masks are, in training and in validation.

    Needs `kseg.metrics.SegmentationMetrics` among the model's metrics; what is not measured is left out.

    Args:
        say: what takes each line.

    >>> summary = EpochSummary()
    >>> summary.set_params({"epochs": 50})
    >>> summary.on_epoch_end(4, {"loss": 0.3214, "f1": 0.45, "val_loss": 0.2833, "val_f1": 0.4823})
    Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823
    Train Metrics - F1: 0.4500
    Val Metrics - F1: 0.4823
    """

    def __init__(self, say: Callable[[str], Any] = print) -> None:
        super().__init__()
        self.say = say

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Say it."""
        logs = logs or {}
        groups = (_values(logs, {"Loss": "loss"}, ", "), _values(logs, {"F1": "f1"}, ", "))
        scores = " | ".join(filter(None, groups))
        self.say(f"Epoch {epoch + 1}/{self.params['epochs']} Complete - {scores}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            measured = {label: prefix + key for label, key in _METRICS.items() if prefix + key in logs}
            if measured:
                values = " | ".join(f"{label}: {logs[key]:.4f}" for label, key in measured.items())
                self.say(f"{title} Metrics - {values}")


def _values(logs: Logs, keys: dict[str, str], separator: str) -> str:
    """Each value in training and in validation, as far as it was measured."""
    return separator.join(
        f"{title} {label}: {logs[prefix + key]:.4f}"
        for label, key in keys.items()
        for title, prefix in (("Train", ""), ("Val", "val_"))
        if prefix + key in logs
    )


class HistoryFile(keras.callbacks.Callback):
    """Writes `history.csv`: a row an epoch, a column a value, whole at every moment.

    Args:
        path: the file.
        rows: the epochs of a run that goes on, each `{"epoch": 1, "loss": …}`.
    """

    def __init__(self, path: str | os.PathLike[str], rows: Sequence[Logs] = ()) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows = list(rows)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add a row; the file is replaced, so a reader never meets half a line."""
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        columns = dict.fromkeys(column for row in self.rows for column in row)
        temporary = self.path.with_name(f".{self.path.name}.part")
        with temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
        temporary.replace(self.path)
