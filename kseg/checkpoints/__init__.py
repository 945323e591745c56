"""Checkpoints: what a run has to remember to go on, in files that are whole or absent and safe to open."""

from kseg.checkpoints.extras import Extras, fitting, read_extras, write_extras
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
from kseg.checkpoints.state import Logs, TrainingState, score
from kseg.checkpoints.writer import Writer
from kseg.storage.lock import lock, unlock
from kseg.storage.whole import beside, disk_errors

__all__ = [
    "Checkpoint",
    "Extras",
    "Logs",
    "Memory",
    "TrainingState",
    "Writer",
    "beside",
    "checkpoints_in",
    "disk_errors",
    "fitting",
    "load_weights",
    "lock",
    "newest_checkpoint",
    "publish",
    "read_checkpoint",
    "read_extras",
    "read_state",
    "save_checkpoint",
    "score",
    "set_aside_damaged",
    "unlock",
    "write_checkpoint",
    "write_extras",
]
