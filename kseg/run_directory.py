"""What a run writes, and where."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from kseg.config import TrainConfig
from kseg.errors import KsegError


class _BesideTheBar(logging.Formatter):
    """Warnings come while the progress bar is under way, and begin a line of their own."""

    def format(self, record: logging.LogRecord) -> str:
        message = super().format(record)
        return f"\n{message}" if record.levelno >= logging.WARNING else message


class RunDirectory:
    """The files of one run: `config.yaml`, `history.csv`, `best.keras`, `last.keras`, `train.log`, `predictions.png`.

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


def open_run(config: TrainConfig, checkpoint: Path | None) -> RunDirectory:
    """The folder for a run, made if need be: the one asked for, the checkpoint's, or a new one under `runs/`.

    Raises:
        KsegError: the folder holds another run, or cannot be made.
    """
    if config.run_dir is not None:
        path = config.run_dir
    elif checkpoint is not None:
        path = checkpoint.parent
    else:
        name = config.dataset.strip("./").replace("/", "-") or "run"
        path = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    run = RunDirectory(path)
    goes_on = checkpoint is not None and checkpoint.resolve().parent == path.resolve()
    if run.config.exists() and not goes_on:
        raise KsegError(f"{path} holds a run already. Give another --run-dir, or go on with --checkpoint {run.last}.")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KsegError(f"The run directory {path} cannot be made: {error.strerror}.") from error
    return run
