"""What an epoch gave: lines to read, and a table to plot."""

from collections.abc import Callable
from typing import Any

import keras

from kseg.checkpoints import Logs

_METRICS = {
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "IoU": "iou",
    "Accuracy": "accuracy",
}
_CURVE = ("best_f1", "best_threshold", "gap")


class EpochSummary(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, and after each epoch how good the masks are, in training and in validation.

    It takes the place of the bar that `fit` would add, so that its lines follow the finished bar, and keeps
    out of the bar what the lines say. What is not measured is left out: the lines need
    `kseg.metrics.SegmentationMetrics` among the model's metrics, and those of the curve `ThresholdCurve`. With
    `fit(verbose=0)` only the lines remain.

    Args:
        say: what takes each line.

    >>> summary = EpochSummary()
    >>> summary.set_params({"epochs": 50, "steps": 12, "verbose": 0})
    >>> summary.on_epoch_begin(4)
    >>> summary.on_epoch_end(4, {"loss": 0.3214, "f1": 0.45, "val_loss": 0.2833, "val_f1": 0.4823})
    Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823
    Train Metrics - F1: 0.4500
    Val Metrics - F1: 0.4823
    """

    async_safe = True  # as Keras takes its own bar to be

    def __init__(self, say: Callable[[str], Any] = print) -> None:
        super().__init__()
        self.say = say

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Move the bar."""
        super().on_train_batch_end(batch, _for_the_bar(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the bar, then say it."""
        logs = logs or {}
        super().on_epoch_end(epoch, _for_the_bar(logs))
        scores = " | ".join(filter(None, (_both(logs, "Loss", "loss"), _both(logs, "F1", "f1"))))
        self.say(f"Epoch {epoch + 1}/{self.epochs} Complete - {scores}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            measured = {label: prefix + key for label, key in _METRICS.items() if prefix + key in logs}
            if measured:
                values = " | ".join(f"{label}: {logs[key]:.4f}" for label, key in measured.items())
                self.say(f"{title} Metrics - {values}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            if prefix + "best_f1" in logs:
                best, threshold, gap = (logs[prefix + key] for key in _CURVE)
                self.say(f"{title} Curve - Best F1: {best:.4f} at threshold {threshold:.3g} | Gap: {gap:.2f} sd")


def _for_the_bar(logs: Logs) -> Logs:
    """What has no line of its own, and F1: a bar that is wider than the terminal is drawn anew each time."""
    said = {"target_mean", "finding", *_CURVE, *_METRICS.values()} - {"f1"}
    return {name: value for name, value in logs.items() if name not in said and not name.startswith("val_")}


def _both(logs: Logs, label: str, key: str) -> str:
    """One value in training and in validation, as far as it was measured."""
    places = (("Train", key), ("Val", f"val_{key}"))
    return ", ".join(f"{title} {label}: {logs[place]:.4f}" for title, place in places if place in logs)
