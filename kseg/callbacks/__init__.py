"""Callbacks for any `model.fit`: notice a collapse, keep the best model, resume a run, print a summary."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.callbacks.best import BestF1Checkpoint
from kseg.callbacks.collapse import CollapseDetector, CollapseError
from kseg.callbacks.history import EpochSeconds, HistoryFile
from kseg.callbacks.preflight_check import Preflight
from kseg.callbacks.run_checkpoint import RunCheckpoint
from kseg.callbacks.summary import EpochSummary
from kseg.callbacks.trackers import MLflowTracker, TensorBoardTracker, Tracker, WandbTracker
from kseg.checkpoints import TrainingState, read_state, save_checkpoint
from kseg.checks.preflight import preflight

__all__ = [
    "BestF1Checkpoint",
    "CollapseDetector",
    "CollapseError",
    "EpochSeconds",
    "EpochSummary",
    "HistoryFile",
    "MLflowTracker",
    "Preflight",
    "RunCheckpoint",
    "TensorBoardTracker",
    "Tracker",
    "TrainingState",
    "WandbTracker",
    "preflight",
    "read_state",
    "save_checkpoint",
]
