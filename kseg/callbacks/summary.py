"""Lines that sum up an epoch."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import keras

from kseg.callbacks.learning_rate import current_learning_rate
from kseg.checkpoints import Logs
from kseg.processes import is_first
from kseg.task import safe_names

_METRICS = {
    "Precision": "precision",
    "Recall": "recall",
    "F1": "f1",
    "IoU": "iou",
    "Accuracy": "accuracy",
}
_COLUMNS = {"Val F1": "f1", "Val IoU": "iou", "Best F1": "best_f1", "at threshold": "best_threshold"}  # of the table
_TABLE_EVERY = 5  # epochs
_CURVE = ("best_f1", "best_threshold", "gap")
_WORTH_A_LINE = 0.02  # how far the best F1 over all thresholds lies above F1 before it has a line

Detail = Literal["quiet", "normal", "verbose"]
"""How much of an epoch is printed."""


class EpochSummary(keras.callbacks.ProgbarLogger):
    """Keras's progress bar, and after each epoch lines with the scores, learning rate and seconds.

    It replaces the bar that `fit` would add, so that the lines follow the finished bar; values in the lines are not in
    the bar. Values that are not measured are left out: most lines need `kseg.metrics.SegmentationMetrics` among the
    model's metrics, the line `Curve` needs `ThresholdCurve`, and comes where the best F1 over all thresholds is more
    than 0.02 above F1. With `fit(verbose=0)` only the lines remain. Of several processes the first one alone prints.

    With `class_names` a table with the validation scores of each class follows every five epochs and in the last; it
    needs `SegmentationMetrics(class_names=…)` among the metrics. With `ThresholdCurve(label_names=…)` it has the best
    F1 of each label too, and its threshold.

    Args:
        print_fn: called with each line.
        class_names: the names of the classes, without background; none or one: no table.
        class_shares: the share of the pixels of each class, for the table.
        output_name: in a model of several outputs the one whose scores are shown: that of its metrics.
        detail: "quiet": the first line alone; "normal"; or "verbose": the lines `Curve` in every epoch.

    >>> summary = EpochSummary()
    >>> summary.set_params({"epochs": 50, "steps": 12, "verbose": 0})
    >>> summary.on_epoch_begin(4)
    >>> summary.on_epoch_end(4, {"loss": 0.3214, "f1": 0.45, "val_loss": 0.2833, "val_f1": 0.4823})
    Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823
    Train Metrics - F1: 0.4500
    Val Metrics - F1: 0.4823
    """

    async_safe = True  # as in Keras's own bar: it needs no values at a batch's end

    def __init__(
        self,
        print_fn: Callable[[str], Any] = print,
        class_names: Sequence[str] = (),
        class_shares: Sequence[float] = (),
        output_name: str | None = None,
        detail: Detail = "normal",
    ) -> None:
        super().__init__()
        self.print_fn = print_fn if is_first() else lambda line: None
        self.detail = detail
        self.class_names = tuple(class_names)
        self.class_shares = tuple(class_shares)
        self.output_name = output_name

    def set_params(self, params: dict[str, Any]) -> None:
        """Take what `fit` says; of several processes the first one alone has a bar."""
        super().set_params(params if is_first() else params | {"verbose": 0})

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Move the bar."""
        super().on_train_batch_end(batch, _bar_logs(self._of_output(logs or {})))

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the bar, then print the lines."""
        logs = self._of_output(logs or {})
        super().on_epoch_end(epoch, _bar_logs(logs))
        scores = " | ".join(filter(None, (_train_and_val(logs, "Loss", "loss"), _train_and_val(logs, "F1", "f1"))))
        self.print_fn(f"Epoch {epoch + 1}/{self.epochs} Complete - {scores}{self._rate_and_time()}")
        if self.detail == "quiet":
            return
        for title, prefix in (("Train", ""), ("Val", "val_")):
            measured = {label: prefix + key for label, key in _METRICS.items() if prefix + key in logs}
            if measured:
                values = " | ".join(f"{label}: {logs[key]:.4f}" for label, key in measured.items())
                self.print_fn(f"{title} Metrics - {values}")
        for title, prefix in (("Train", ""), ("Val", "val_")):
            if self._shows_curve(logs, prefix):
                best, threshold, gap = (logs[prefix + key] for key in _CURVE)
                self.print_fn(f"{title} Curve - Best F1: {best:.4f} at threshold {threshold:.3g} | Gap: {gap:.2f} sd")
        if len(self.class_names) > 1 and ((epoch + 1) % _TABLE_EVERY == 0 or epoch + 1 == self.epochs):
            for line in self._class_table(logs):
                self.print_fn(line)

    def _shows_curve(self, logs: Logs, prefix: str) -> bool:
        """Return whether the best F1 over all thresholds was measured, and is worth a line."""
        if f"{prefix}best_f1" not in logs:
            return False
        above = logs[f"{prefix}best_f1"] - logs.get(f"{prefix}f1", 0.0)
        return self.detail == "verbose" or above > _WORTH_A_LINE

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin the bar, and the time."""
        super().on_epoch_begin(epoch, logs)
        self._began, self._first_rate = time.monotonic(), current_learning_rate(self.model)

    def _rate_and_time(self) -> str:
        """Return the larger of the learning rates at begin and end, of which one may be 0, and the seconds."""
        rates = [rate for rate in (self._first_rate, current_learning_rate(self.model)) if rate is not None]
        seconds = time.monotonic() - self._began
        rate = f" | Learning Rate: {max(rates):.2g}" if rates else ""
        return rate + (f" | {seconds:.0f} s" if seconds >= 1 else "")

    def _of_output(self, logs: Logs) -> Logs:
        """Return the logs with the values of the output that is shown under their plain names."""
        if not self.output_name:
            return logs
        own = f"{self.output_name}_"
        return {
            ("val_" if name.startswith("val_") else "") + name.removeprefix("val_").removeprefix(own): value
            for name, value in logs.items()
        }

    def _class_table(self, logs: Logs) -> Iterator[str]:
        """Yield the lines of a table of the classes, if validation measured them."""
        names = safe_names(self.class_names)
        columns = {title: key for title, key in _COLUMNS.items() if all(f"val_{key}_{name}" in logs for name in names)}
        if "Val F1" not in columns:
            return
        width = max(len("Class"), *map(len, self.class_names))
        share = "  Pixels" if self.class_shares else ""
        yield f"{'Class':{width}}  {'  '.join(columns)}{share}"
        for index, (title, name) in enumerate(zip(self.class_names, names, strict=True)):
            scores = [f"{_score(logs[f'val_{key}_{name}']):>{len(column)}}" for column, key in columns.items()]
            share = f"  {self.class_shares[index]:6.2%}" if self.class_shares else ""
            yield f"{title:{width}}  {'  '.join(scores)}{share}"


def _bar_logs(logs: Logs) -> Logs:
    """Return F1 and the values that are in no line: a bar wider than the terminal is printed again at each step."""
    in_lines = {"target_mean", "finding", *_CURVE, *_METRICS.values()} - {"f1"}
    of_classes = ("val_", "f1_", "iou_", "best_f1_", "best_threshold_")
    return {name: value for name, value in logs.items() if name not in in_lines and not name.startswith(of_classes)}


def _score(value: float) -> str:
    """Return a score as text; a class that no mask contains has none."""
    return "     -" if math.isnan(value) else f"{value:.4f}"


def _train_and_val(logs: Logs, label: str, key: str) -> str:
    """Return one value in training and in validation, as far as it was measured."""
    places = (("Train", key), ("Val", f"val_{key}"))
    return ", ".join(f"{title} {label}: {logs[place]:.4f}" for title, place in places if place in logs)
