"""OpenCV without threads of its own."""

import threading

import cv2


class _SingleThread:
    """Switches OpenCV's own threads off in a `with` block.

    tf.data has threads already: those of OpenCV would only compete with them. The setting belongs to the whole
    process, so the first block that is entered changes it, and the last one that is left changes it back.
    """

    def __init__(self) -> None:
        self._blocks, self._threads, self._lock = 0, 0, threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            if not self._blocks:
                self._threads = cv2.getNumThreads()
                cv2.setNumThreads(0)
            self._blocks += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._blocks -= 1
            if not self._blocks:
                cv2.setNumThreads(self._threads)


single_thread = _SingleThread()
