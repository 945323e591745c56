"""What takes long is done while training goes on."""

import threading
from collections.abc import Callable
from pathlib import Path

from kseg.storage.whole import disk_errors


class Writer:
    """Does one thing at a time in the background, and raises its error in the foreground."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    def start(self, work: Callable[[], None], run_dir: Path) -> None:
        """Begin with something that writes to a run directory."""

        def run() -> None:
            try:
                with disk_errors(run_dir):
                    work()
            except BaseException as error:
                self._error = error

        self._thread = threading.Thread(target=run, name="kseg-checkpoint")
        self._thread.start()

    def wait(self) -> None:
        """Until it is done.

        Raises:
            KsegError: it failed.
        """
        if self._thread is not None:
            self._thread.join()
        self.raise_if_failed()

    def raise_if_failed(self) -> None:
        """Do not wait.

        Raises:
            KsegError: what was done last failed.
        """
        if self._error is not None:
            error, self._error = self._error, None
            raise error
