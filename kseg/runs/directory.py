"""The files that a run writes, and the folder they are in."""

import contextlib
import logging
import shutil
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from kseg.callbacks.summary import Detail
from kseg.checkpoints import checkpoints_in, read_state
from kseg.config.base import read_yaml, write_yaml
from kseg.config.train import RunOptions, TrainConfig
from kseg.errors import KsegError
from kseg.processes import is_first
from kseg.storage.atomic import explain_write_errors, write_atomically
from kseg.storage.lock import lock, unlock

_log = logging.getLogger("kseg")

EPOCH_LEVEL = (logging.INFO + logging.WARNING) // 2
"""The level of the lines that a quiet console shows too: those of an epoch, and of the result."""

_RUNS = Path("runs")


class _OwnLineFormatter(logging.Formatter):
    """Starts each warning on a new line: it may come while the progress bar is on the current one."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"\n{message}" if record.levelno >= logging.WARNING else message


class RunDirectory:
    """The files of one run: `config.yaml`, `data.json`, `history.csv`, `seconds.csv`, `best.keras`, `last.keras`,
    `train.log`, `predictions.png`, `report.html`, and `skipped.txt` if examples were left out.

    Args:
        path: the folder.
        lasts: whether it stays after the run; that of a process which does not write is thrown away.
    """

    def __init__(self, path: Path, *, lasts: bool = True) -> None:
        self.path = path
        self._lasts = lasts
        self._may_be_removed = not path.exists()
        self.config = path / "config.yaml"
        self.history = path / "history.csv"
        self.seconds = path / "seconds.csv"
        self.best = path / "best.keras"
        self.last = path / "last.keras"
        self.log = path / "train.log"
        self.pictures = path / "predictions.png"
        self.skipped = path / "skipped.txt"
        self.report = path / "report.html"
        self.evaluation = path / "evaluation"

    @property
    def best_or_last(self) -> Path:
        """The file of the best model, or of the last one if none was best."""
        return self.best if self.best.exists() else self.last

    def refuse_links(self) -> None:
        """Refuse links in place of the files that are appended to or overwritten: they may lead anywhere.

        Raises:
            KsegError: there is one.
        """
        for file in (self.log, self.seconds, self.pictures, self.report, self.skipped):
            if file.is_symlink():
                raise KsegError(f"{file} is a link, and a run writes no file through one. Remove it.")

    def write_settings(self, config: TrainConfig) -> None:
        """Write `config.yaml`; a reader sees the whole old file or the whole new one.

        Raises:
            KsegError: it could not be written.
        """
        with explain_write_errors(self.path):
            write_atomically(self.config, lambda temporary: write_yaml(config, temporary))

    @contextlib.contextmanager
    def removed_if_refused(self) -> Iterator[None]:
        """Remove the folder where a run is refused before its training begins, unless it was there before; and one that
        does not last.
        """
        try:
            yield
        except KsegError:
            if self._may_be_removed:
                unlock(self.path)
                shutil.rmtree(self.path, ignore_errors=True)
                if self.path.parent == _RUNS:
                    with contextlib.suppress(OSError):  # there are other runs
                        _RUNS.rmdir()
            raise
        finally:
            if not self._lasts:
                shutil.rmtree(self.path, ignore_errors=True)

    def keep(self) -> None:
        """Let the folder stay whatever happens: training begins, and how it fails is worth reading."""
        self._may_be_removed = False

    @contextlib.contextmanager
    def logging(self, detail: Detail = "normal") -> Iterator[logging.Logger]:
        """Send the logger `kseg` to the console and, with the time, to `train.log`; afterwards it is as before."""
        logger = logging.getLogger("kseg")
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(_OwnLineFormatter())
        console.setLevel(EPOCH_LEVEL if detail == "quiet" else logging.INFO)
        if not self._lasts:  # the first process speaks
            console.setLevel(logging.ERROR)
        file = logging.FileHandler(self.log, encoding="utf-8", errors="backslashreplace")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        level, propagate = logger.level, logger.propagate
        logger.setLevel(logging.INFO)
        logger.propagate = False
        for handler in (console, file):
            logger.addHandler(handler)
        try:
            yield logger
        finally:
            for handler in (console, file):
                logger.removeHandler(handler)
            file.close()
            logger.setLevel(level)
            logger.propagate = propagate


def open_run(
    options: RunOptions, dataset: str, checkpoint: Path | None = None, *, resume: bool = False
) -> RunDirectory:
    """Make and lock the folder of a run: the one in the options, the checkpoint's, or a new one under `runs/`.

    It stays locked until this process exits. Of several processes the first has it, and each other one a temporary
    folder.

    Raises:
        KsegError: the folder holds another run, is in use, or cannot be made.
    """
    if not is_first():
        return RunDirectory(Path(tempfile.mkdtemp(prefix="kseg-")), lasts=False)
    if options.run_dir is not None:
        path = options.run_dir
    elif checkpoint is not None:
        path = checkpoint.parent
    else:
        name = dataset.strip("./").replace("/", "-") or "run"
        path = _RUNS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    run = RunDirectory(path)
    resumes = resume or (checkpoint is not None and checkpoint.resolve().parent == path.resolve())
    if run.config.exists() and not resumes:
        raise KsegError(
            f"{path} holds a run already. To resume it, add --resume: --run-dir {path} --resume. To start another "
            "run, choose another --run-dir."
        )
    run.refuse_links()
    lock(path)
    return run


def warn_if_inside(dataset: str, path: Path) -> None:
    """Warn if a run directory is inside the folder of the data set, where its pictures may be read as images."""
    folder = Path(dataset).expanduser()
    if folder.is_dir() and path.resolve().is_relative_to(folder.resolve()):
        _log.warning(
            f"⚠️  The run directory {path} is inside the data set {dataset}, where its pictures may be read as images. "
            "Choose a --run-dir outside of it."
        )


def newest_run() -> Path:
    """Return the folder under `runs/` whose run started, or was resumed, last.

    Raises:
        KsegError: there is none.
    """
    runs = sorted(_RUNS.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    if not runs:
        raise KsegError("There is no run to resume under runs/. Start one without --resume, or name a --run-dir.")
    return runs[-1].parent


def settings_in(path: Path) -> dict[str, Any]:
    """Return the settings of the run in a folder: those of its newest checkpoint, or of its start, or none."""
    for checkpoint in checkpoints_in(path):
        with contextlib.suppress(KsegError):  # a damaged checkpoint is reported where it is used
            return read_state(checkpoint).settings
    config = RunDirectory(path).config
    return read_yaml(config) if config.exists() else {}
