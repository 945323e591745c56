"""Callbacks for anyone's `model.fit`: notice a collapse, keep the best model, say how it goes."""

from kseg.callbacks.checkpoint import (
    BestF1Checkpoint,
    LastCheckpoint,
    TrainingState,
    read_state,
    save_checkpoint,
)
from kseg.callbacks.collapse import CollapseDetector, CollapseError
from kseg.callbacks.preflight import Preflight, preflight
from kseg.callbacks.summary import EpochSummary, HistoryFile

__all__ = [
    "BestF1Checkpoint",
    "CollapseDetector",
    "CollapseError",
    "EpochSummary",
    "HistoryFile",
    "LastCheckpoint",
    "Preflight",
    "TrainingState",
    "preflight",
    "read_state",
    "save_checkpoint",
]
