"""What a run writes, and where."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from kseg.checkpoints import checkpoints_in, read_state
from kseg.config.base import read_yaml
from kseg.config.train import TrainConfig, write_yaml
from kseg.errors import KsegError
from kseg.storage.atomic import explain_write_errors, write_atomically
from kseg.storage.lock import lock

_RUNS = Path("runs")


class _BesideTheBar(logging.Formatter):
    """Warnings come while the progress bar is under way, and begin a line of their own."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"\n{message}" if record.levelno >= logging.WARNING else message


class RunDirectory:
    """The files of one run: `config.yaml`, `history.csv`, `best.keras`, `last.keras`, `train.log`, `predictions.png`,
    and `skipped.txt` if something was.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.history = path / "history.csv"
        self.best = path / "best.keras"
        self.last = path / "last.keras"
        self.log = path / "train.log"
        self.pictures = path / "predictions.png"
        self.skipped = path / "skipped.txt"

    def write_settings(self, config: TrainConfig) -> None:
        """Write `config.yaml`, which is whole or as it was.

        Raises:
            KsegError: it could not be written.
        """
        with explain_write_errors(self.path):
            write_atomically(self.config, lambda temporary: write_yaml(config, temporary))

    @contextlib.contextmanager
    def logging(self) -> Iterator[logging.Logger]:
        """The logger `kseg`, writing to the console and, with the time, to `train.log`."""
        logger = logging.getLogger("kseg")
        console = logging.StreamHandler(sys.stdout)
        console.setFormatter(_BesideTheBar())
        file = logging.FileHandler(self.log, encoding="utf-8")
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


def open_run(config: TrainConfig, checkpoint: Path | None = None, *, resume: bool = False) -> RunDirectory:
    """The folder for a run, made if need be: the one asked for, the checkpoint's, or a new one under `runs/`.

    It is this process's until that ends.

    Raises:
        KsegError: the folder holds another run, is in use, or cannot be made.
    """
    if config.run_dir is not None:
        path = config.run_dir
    elif checkpoint is not None:
        path = checkpoint.parent
    else:
        name = config.dataset.strip("./").replace("/", "-") or "run"
        path = _RUNS / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    run = RunDirectory(path)
    goes_on = resume or (checkpoint is not None and checkpoint.resolve().parent == path.resolve())
    if run.config.exists() and not goes_on:
        raise KsegError(f"{path} holds a run already. Go on with it: --run-dir {path} --resume. Or give another.")
    lock(path)
    return run


def newest_run() -> Path:
    """The folder under `runs/` that was begun, or gone on with, last.

    Raises:
        KsegError: there is none.
    """
    begun = sorted(_RUNS.glob("*/config.yaml"), key=lambda path: path.stat().st_mtime)
    if not begun:
        raise KsegError("There is no run under runs/ to go on with. Start one without --resume, or with --run-dir.")
    return begun[-1].parent


def settings_in(path: Path) -> dict[str, Any]:
    """The settings of the run in a folder: those of its newest checkpoint, or of its start; none if it has none."""
    for checkpoint in checkpoints_in(path):
        with contextlib.suppress(KsegError):  # of a damaged one, more is said where it is used
            return read_state(checkpoint).settings
    config = RunDirectory(path).config
    return read_yaml(config) if config.exists() else {}
