"""The history of a run, and how long its epochs took, as CSV files."""

import csv
import io
import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from kseg.callbacks.learning_rate import current_learning_rate
from kseg.checkpoints import Logs
from kseg.diagnosis.rules import cause_of
from kseg.processes import is_first
from kseg.storage.atomic import explain_write_errors, write_atomically


class HistoryFile(keras.callbacks.Callback):
    """Writes `history.csv`: a row per epoch, a column per value. The file is complete at every moment.

    Of several processes the first one writes.

    The column `learning_rate` holds the rate at the end of the epoch. The column `finding` holds the cause that
    `CollapseDetector` named in the epoch, and is empty if it named none. For that the detector must stand before this
    callback in `callbacks`.

    Args:
        path: the file.

    Raises:
        KsegError: in `fit`, it cannot be written; the rows before are kept.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)
        self._columns: list[str] = []
        self._text = ""  # the whole file; a checkpoint stores a text faster than thousands of numbers

    def get_state(self) -> dict[str, str]:
        """Return the file so far, which `RunCheckpoint` remembers."""
        return {"text": self._text}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on after these rows."""
        self._text = state.get("text", "")
        self._columns = next(csv.reader(self._text.splitlines()), [])
        for row in state.get("rows", ()):  # of older versions
            self._add(row)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add a row, and replace the file: a reader never sees half a line."""
        rate = current_learning_rate(self.model)
        self._add({"epoch": epoch + 1, **(logs or {}), **({} if rate is None else {"learning_rate": rate})})
        if not is_first():
            return
        with explain_write_errors(self.path.parent):
            write_atomically(self.path, lambda temporary: temporary.write_text(self._text, newline=""))

    def _add(self, row: Logs) -> None:
        if "finding" in row:
            row = row | {"finding": cause_of(row["finding"])}
        if new := [name for name in row if name not in self._columns]:
            before = list(csv.DictReader(io.StringIO(self._text)))
            self._columns += new
            self._text = self._lines([dict(zip(self._columns, self._columns, strict=True)), *before])
        self._text += self._lines([row])

    def _lines(self, rows: Iterable[Logs]) -> str:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self._columns, restval="").writerows(rows)
        return text.getvalue()


class EpochSeconds(keras.callbacks.Callback):
    """Writes `seconds.csv`: how long each epoch took, validation included.

    A file of its own, because the seconds differ between two runs whose `history.csv` is equal to the bit. Of an epoch
    that was interrupted the seconds since then count; an epoch that is trained again has another row. Of several
    processes the first one writes.

    Args:
        path: the file, which rows are added to.

    Raises:
        KsegError: in `fit`, it cannot be written.

    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "seconds.csv")
    >>> seconds = EpochSeconds(file)
    >>> seconds.on_epoch_begin(0)
    >>> seconds.on_epoch_end(0)
    >>> file.read_text().split()
    ['epoch,seconds', '1,0.0']
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self.path = Path(path)

    def get_state(self) -> dict[str, float]:
        """Return nothing: no checkpoint holds the time, or that of a resumed run would be another."""
        return {}

    def set_state(self, state: dict[str, float]) -> None:
        """Do nothing: the time begins anew."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin the time."""
        self._began = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add a row."""
        seconds = time.monotonic() - self._began
        if not is_first():
            return
        with explain_write_errors(self.path.parent), self.path.open("a") as file:
            if not file.tell():
                file.write("epoch,seconds\n")
            file.write(f"{epoch + 1},{seconds:.1f}\n")
