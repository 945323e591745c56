"""Writes history.csv: one row per epoch."""

import csv
import os
from pathlib import Path

import keras

from kseg.checkpoints import Logs
from kseg.diagnosis.rules import cause_of
from kseg.storage.whole import beside, disk_errors, put


class HistoryFile(keras.callbacks.Callback):
    """Writes `history.csv`: a row an epoch, a column a value, whole at every moment.

    `finding` holds the name of the cause that `CollapseDetector` named in the epoch, and is empty if it named none; for
    that the detector has to stand before this in `callbacks`.

    Args:
        path: the file.

    Raises:
        KsegError: it could not be written; the rows before are whole.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        self.rows: list[Logs] = []  # `RunCheckpoint` remembers them

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add a row; the file is replaced, so a reader never meets half a line."""
        self.rows.append({"epoch": epoch + 1, **(logs or {})})
        rows = [row | ({"finding": cause_of(row["finding"])} if "finding" in row else {}) for row in self.rows]
        columns = dict.fromkeys(column for row in self.rows for column in row)
        temporary = beside(self.path)
        with disk_errors(self.path.parent):
            with temporary.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)
            put(temporary, self.path)
