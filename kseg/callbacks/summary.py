"""Lines that sum up an epoch."""

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
    """Keras's progress bar, and after each epoch lines with the scores of training and validation.

    It replaces the bar that `fit` would add, so that the lines follow the finished bar; values in the lines are not in
    the bar. Values that are not measured are left out: most lines need `kseg.metrics.SegmentationMetrics` among the
    model's metrics, the line `Curve` needs `ThresholdCurve`. With `fit(verbose=0)` only the lines remain.

    Args:
        print_fn: called with each line.

    >>> summary = EpochSummary()
    >>> summary.set_params({"epochs": 50, "steps": 12, "verbose": 0})
    >>> summary.on_epoch_begin(4)
    >>> summary.on_epoch_end(4, {"loss": 0.3214, "f1": 0.45, "val_loss": 0.2833, "val_f1": 0.4823})
    Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823
    Train Metrics - F1: 0.4500
    Val Metrics - F1: 0.4823
    """

    async_safe = True  # as in Keras's own bar: it needs no values at a batch's end

    def __init__(self, print_fn: Callable[[str], Any] = print) -> None:
        super().__init__()
        self.print_fn = print_fn

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Move the bar."""
        super().on_train_batch_end(batch, _bar_logs(logs or {}))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the bar, then print the lines."""
        logs = logs or {}
        super().on_epoch_end(epoch, _bar_logs(logs))
        scores = " | ".join(filter(None, (_train_and_val(logs, "Loss", "loss"), _train_and_val(logs, "F1", "f1"))))
        self.print_fn(f"Epoch {epoch + 1}/{self.epochs} Complete - {scores}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            measured = {label: prefix + key for label, key in _METRICS.items() if prefix + key in logs}
            if measured:
                values = " | ".join(f"{label}: {logs[key]:.4f}" for label, key in measured.items())
                self.print_fn(f"{title} Metrics - {values}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            if prefix + "best_f1" in logs:
                best, threshold, gap = (logs[prefix + key] for key in _CURVE)
                self.print_fn(f"{title} Curve - Best F1: {best:.4f} at threshold {threshold:.3g} | Gap: {gap:.2f} sd")


def _bar_logs(logs: Logs) -> Logs:
    """Return F1 and the values that are in no line: a bar wider than the terminal is printed again at each step."""
    in_lines = {"target_mean", "finding", *_CURVE, *_METRICS.values()} - {"f1"}
    return {name: value for name, value in logs.items() if name not in in_lines and not name.startswith("val_")}


def _train_and_val(logs: Logs, label: str, key: str) -> str:
    """Return one value in training and in validation, as far as it was measured."""
    places = (("Train", key), ("Val", f"val_{key}"))
    return ", ".join(f"{title} {label}: {logs[place]:.4f}" for title, place in places if place in logs)
