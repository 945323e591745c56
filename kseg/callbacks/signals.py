"""Being asked to stop, by a person or by a machine that is taken away."""

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any


class Signals:
    """SIGINT and SIGTERM, taken in the main thread only, where they are not ignored."""

    def __init__(self, handler: Callable[[int, FrameType | None], None]) -> None:
        self._former: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) != signal.SIG_IGN:
                self._former[number] = signal.signal(number, handler)

    def restore(self) -> None:
        """Give them back."""
        while self._former:
            signal.signal(*self._former.popitem())
