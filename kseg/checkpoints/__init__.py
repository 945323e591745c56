"""Checkpoints: everything a run needs to resume, in files that are complete or absent and safe to open."""

from kseg.checkpoints.extras import Extras, matching_extras, read_extras, write_extras
from kseg.checkpoints.file import (
    Checkpoint,
    load_weights,
    read_checkpoint,
    read_state,
    save_checkpoint,
    write_checkpoint,
)
from kseg.checkpoints.folder import checkpoints_in, newest_checkpoint, publish, set_aside_damaged
from kseg.checkpoints.memory import Memory
from kseg.checkpoints.restorer import Restorer
from kseg.checkpoints.state import Logs, TrainingState, score
from kseg.checkpoints.writer import Writer, wait_for_writes

__all__ = [
    "Checkpoint",
    "Extras",
    "Logs",
    "Memory",
    "Restorer",
    "TrainingState",
    "Writer",
    "checkpoints_in",
    "load_weights",
    "matching_extras",
    "newest_checkpoint",
    "publish",
    "read_checkpoint",
    "read_extras",
    "read_state",
    "save_checkpoint",
    "score",
    "set_aside_damaged",
    "wait_for_writes",
    "write_checkpoint",
    "write_extras",
]
