"""Calls Python from tf.data, and turns TensorFlow errors back into `KsegError`."""

import atexit
import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf


def in_python(function: Callable, types: Any, *arguments: "tf.Tensor") -> Any:
    """What a function of NumPy arrays gives, as tensors; for `Dataset.map`. It has to be one of its arguments alone."""
    import tensorflow as tf

    def call(*arrays: Any) -> Any:
        with _under_way:
            return function(*arrays)

    return tf.numpy_function(call, arguments, types, stateful=False)


class _UnderWay:
    """What TensorFlow's threads have Python do, which has to be over when Python ends: else they end the process.

    An iterator that is alive then has filled its buffers, or fills them with errors now, and rests.
    """

    def __init__(self) -> None:
        self._count, self._lock, self._ending = 0, threading.Lock(), False
        atexit.register(self._end)

    def __enter__(self) -> None:
        if self._ending:
            raise KsegError("Python is ending; no more examples are read.")
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def _end(self) -> None:
        self._ending = True
        while self._count:
            time.sleep(0.01)
        time.sleep(0.05)  # those that were turned away


_under_way = _UnderWay()


@contextlib.contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Turn what TensorFlow makes of an error inside a function on the data of that name back into a `KsegError`."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raised = re.search(r"KsegError: (.*?)\n", error.message)
        raise KsegError(raised[1] if raised else f"{name} cannot be read: {error.message}") from error
