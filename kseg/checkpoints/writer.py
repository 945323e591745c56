"""Slow writes happen in the background, while training continues."""

import threading
from collections.abc import Callable
from pathlib import Path

from kseg.storage.atomic import explain_write_errors

_threads: dict[Path, threading.Thread] = {}  # the last one that wrote to each run directory


def wait_for_writes(run_dir: Path) -> None:
    """Wait until an earlier `fit` of this process, which an error may have ended, has written to a run directory."""
    if thread := _threads.get(run_dir.resolve()):
        thread.join()


class Writer:
    """Runs one piece of work at a time in the background, and raises its error in the foreground."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None], run_dir: Path) -> None:
        """Start work that writes to a run directory."""

        def run() -> None:
            try:
                with explain_write_errors(run_dir):
                    work()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="kseg-checkpoint")
        _threads[run_dir.resolve()] = self._thread
        self._thread.start()

    def wait(self) -> None:
        """Wait until the work is done.

        Raises:
            KsegError: it failed to write.
        """
        if self._thread is not None:
            self._thread.join()
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """Raise the error of the last work, without waiting.

        Raises:
            KsegError: it failed to write.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
