"""Callbacks for any `model.fit`: notice a collapse, keep the best model, resume a run, print a summary."""

from kseg.callbacks.best import BestF1Checkpoint
from kseg.callbacks.collapse import CollapseDetector, CollapseError
from kseg.callbacks.history import HistoryFile
from kseg.callbacks.preflight_check import Preflight
from kseg.callbacks.run_checkpoint import RunCheckpoint
from kseg.callbacks.summary import EpochSummary
from kseg.checkpoints import TrainingState, read_state, save_checkpoint
from kseg.checks.preflight import preflight

__all__ = [
    "BestF1Checkpoint",
    "CollapseDetector",
    "CollapseError",
    "EpochSummary",
    "HistoryFile",
    "Preflight",
    "RunCheckpoint",
    "TrainingState",
    "preflight",
    "read_state",
    "save_checkpoint",
]
