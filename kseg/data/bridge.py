"""Calls Python from tf.data, and turns TensorFlow's errors back into `KsegError`."""

import atexit
import contextlib
import functools
import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf


def call_python(function: Callable, types: Any, *arguments: "tf.Tensor") -> Any:
    """Return what a function of NumPy arrays gives, as tensors; for `Dataset.map`.

    Args:
        function: it must depend on nothing but its arguments.
        types: the dtype of the result, or those of several results.
        arguments: given to the function as NumPy arrays.
    """
    import tensorflow as tf

    calls = _running_calls()

    def call(*arrays: Any) -> Any:
        with calls:
            return function(*arrays)

    return tf.numpy_function(call, arguments, types, stateful=False)


@functools.cache
def _running_calls() -> "_RunningCalls":
    return _RunningCalls()


class _RunningCalls:
    """Counts Python calls running in tf.data threads. At exit we wait for them; otherwise the process crashes."""

    def __init__(self) -> None:
        self._count, self._lock, self._ending = 0, threading.Lock(), False
        atexit.register(self._wait)

    def __enter__(self) -> None:
        if self._ending:
            raise KsegError("Python is ending; no more examples are read.")
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def _wait(self) -> None:
        self._ending = True
        while self._count:
            time.sleep(0.01)
        time.sleep(0.05)  # for the calls that are refused now


@contextlib.contextmanager
def explain_read_errors(dataset: str) -> Iterator[None]:
    """Turn a TensorFlow error in a `with` block into a `KsegError`, with the message of ours that it wraps, if any."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        wrapped = re.search(r"KsegError: (.*?)\n", error.message)
        raise KsegError(wrapped[1] if wrapped else f"{dataset} cannot be read: {error.message}") from error
