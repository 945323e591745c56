"""Requests to stop: Ctrl-C, and SIGTERM from a machine that is about to end."""

import signal
import threading
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Any


class Signals:
    """Handles signals, unless they are ignored. Does nothing in other threads than the main one.

    Args:
        handler: called with the signal's number and the frame that it interrupted.
        numbers: which signals.
    """

    def __init__(
        self,
        handler: Callable[[int, FrameType | None], None],
        numbers: Sequence[int] = (signal.SIGINT, signal.SIGTERM),
    ) -> None:
        self._former: dict[int, Any] = {}
        if threading.current_thread() is not threading.main_thread():
            return
        for number in numbers:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._former[number] = signal.signal(number, handler)

    def restore(self) -> None:
        """Restore the former handlers."""
        while self._former:
            signal.signal(*self._former.popitem())
