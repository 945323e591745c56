"""The model with the best validation F1."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras

from kseg.checkpoints import Logs, TrainingState, save_checkpoint
from kseg.diagnosis.rules import cause_of, is_harmful
from kseg.distribution import by_this_process_alone, is_first
from kseg.storage.atomic import explain_write_errors

_log = logging.getLogger("kseg")


class BestF1Checkpoint(keras.callbacks.Callback):
    """Keeps the model with the best validation F1. NaN is never best, and neither is a model whose loss is NaN.

    For a `fit` without `RunCheckpoint`, which keeps the best model too. Needs `kseg.metrics.SegmentationMetrics` (or
    `F1Score`) among the model's metrics, and validation data. Epochs without validation are skipped. Warns at the end
    of a run without any. Of several processes the first one writes.

    With `score="val_best_f1"` models are compared by the F1 at their best threshold, and `read_state(path).threshold`
    is that threshold; needs `kseg.metrics.ThresholdCurve` among the metrics.

    Args:
        path: the file, ending in `.keras`; open it with `keras.models.load_model`.
        score: the value in an epoch's logs by which models are compared; greater is better.
        print_fn: called with the line that a model was saved.

    Raises:
        KsegError: in `fit`, the file cannot be written; the former one is unchanged.
        ValueError: in `fit`, validation did not measure the score.
    """

    def __init__(
        self, path: str | os.PathLike[str], score: str = "val_f1", print_fn: Callable[[str], Any] = print
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self.state = TrainingState(score=score)
        self.print_fn = print_fn

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the model if it is the best so far."""
        logs = logs or {}
        check_score("BestF1Checkpoint", self.state.score, logs)
        best = self.state.best_epoch
        self.state = self.state.after(epoch, logs)
        if self.state.best_epoch != best and is_first():
            with explain_write_errors(self.path.parent), by_this_process_alone():
                save_checkpoint(self.model, self.path, self.state)
            self.print_fn(saved_line(self.state, logs))

    def get_state(self) -> Logs:
        """Return the history, for `RunCheckpoint`."""
        return {"history": self.state.history}

    def set_state(self, state: Logs) -> None:
        """Continue a history: its best score has to be beaten."""
        self.state = replace(self.state, history=state["history"])

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Warn if there was no validation."""
        if not any(self.state.score in row for row in self.state.history):
            _log.warning("BestF1Checkpoint saved no model: there was no validation. Pass validation_data to fit.")


def check_score(callback: str, name: str, logs: Logs) -> None:
    """Check that the logs hold the score if validation ran.

    Raises:
        ValueError: they do not.
    """
    if name not in logs and any(key.startswith("val_") for key in logs):
        metric = "ThresholdCurve" if name.endswith("best_f1") else "SegmentationMetrics"
        raise ValueError(
            f"{callback} found no {name} among {', '.join(sorted(logs))}; expected model.compile(…, "
            f"metrics=[kseg.metrics.{metric}()]), or another score."
        )


def saved_line(state: TrainingState, logs: Logs) -> str:
    """Return the line that says that the best model was saved; with a ✓ only if it finds something in a sound run."""
    more, cause = "", cause_of(logs.get("finding", 0.0))
    if state.threshold is not None:
        more = f" at threshold {state.threshold:.3g}"
    elif "val_iou" in logs:
        more = f", IoU: {logs['val_iou']:.4f}"
    score = f"(F1: {logs[state.score]:.4f}{more})"
    if not logs[state.score]:
        return f"Saved a model that finds nothing yet {score}"
    if is_harmful(cause):
        return f"Saved best model so far {score}, in spite of {cause}"
    return f"✓ Saved best model {score}"
