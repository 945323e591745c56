"""What callbacks remember, as plain data that a checkpoint can hold: no code, no pickle."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from kseg.errors import KsegError

_log = logging.getLogger("kseg")

_ARRAY = "__array__"

# What Keras sets; `min_delta`, whose sign its callbacks turn when they first compare, in every process anew.
_NOT_MEMORY = ("_model", "params", "validation_data", "min_delta")
# What is shown and not remembered.
_SHOW = (keras.callbacks.ProgbarLogger, keras.callbacks.History)


def encode(value: Any, arrays: list[np.ndarray]) -> Any:
    """Plain data as JSON takes it, its arrays put into a list.

    Raises:
        TypeError: it is no plain data: numbers, strings, None, arrays, lists and dicts of these.

    >>> arrays = []
    >>> encode({"best": np.float64(0.5), "weights": [np.zeros(3)]}, arrays), len(arrays)
    ({'best': 0.5, 'weights': [{'__array__': 0, 'dtype': 'float64'}]}, 1)
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value.item() if isinstance(value, np.generic) else value
    if isinstance(value, np.ndarray) and value.dtype != object:
        arrays.append(value)
        return {_ARRAY: len(arrays) - 1, "dtype": value.dtype.name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [encode(item, arrays) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: encode(item, arrays) for key, item in value.items()}
    raise TypeError(f"{type(value).__name__} is no plain data")


def decode(value: Any, arrays: Sequence[np.ndarray]) -> Any:
    """The reverse of `encode`."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if isinstance(value, dict) and _ARRAY in value:
        # bfloat16 and the like come out of a file as the bare bytes.
        return arrays[value[_ARRAY]].view(value["dtype"])
    if isinstance(value, dict):
        return {key: decode(item, arrays) for key, item in value.items()}
    return value


class Memory:
    """What the callbacks of a `fit` have come to remember since it began.

    Of a callback with `get_state()` and `set_state(state)` it is what these say. Of any other it is what has changed of
    its attributes that are plain data and no strings: `EarlyStopping`'s wait, best value and best weights. What
    was set when the callback was made is no memory and follows the code: a patience that was raised is raised.

    Args:
        callbacks: of a training that just began.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self._callbacks = [callback for callback in callbacks if not isinstance(callback, _SHOW)]
        self._at_first = [
            {name: _fixed(value) for name, value in _own(callback).items()} for callback in self._callbacks
        ]

    def read(self) -> list[dict[str, Any]]:
        """All of it, in the order of the callbacks."""
        return [
            {"callback": type(callback).__name__, "memory": self._read(callback, at_first)}
            for callback, at_first in zip(self._callbacks, self._at_first, strict=True)
        ]

    @staticmethod
    def _read(callback: keras.callbacks.Callback, at_first: dict[str, Any]) -> Any:
        if _tells(callback):
            return callback.get_state()
        return {name: value for name, value in _own(callback).items() if _fixed(value) != at_first.get(name)}

    def write(self, memories: Sequence[dict[str, Any]]) -> None:
        """Give the callbacks back what they remembered; those that are new begin as they are.

        Raises:
            KsegError: a callback cannot make anything of it.
        """
        stored = {key: entry["memory"] for key, entry in zip(_names(memories), memories, strict=True)}
        now = [{"callback": type(callback).__name__} for callback in self._callbacks]
        for key, callback, at_first in zip(_names(now), self._callbacks, self._at_first, strict=True):
            if key not in stored:
                _log.warning(f"⚠️  The checkpoint knows of no {key[0]}: its memory begins anew.")
            elif _tells(callback):
                try:
                    callback.set_state(stored[key])
                except (LookupError, TypeError, ValueError, AttributeError) as error:
                    raise KsegError(f"What the checkpoint says of {key[0]} does not fit it ({error!r}).") from error
            else:
                for name, (text, arrays) in at_first.items():
                    setattr(callback, name, decode(json.loads(text), [array.copy() for array in arrays]))
                for name, value in stored[key].items():
                    # What is no memory, such as the path that a callback writes to, is not taken from a file.
                    if name in at_first or not hasattr(callback, name):
                        setattr(callback, name, value)


class _Fixed(tuple):
    """A value as it was, however it is changed later."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Fixed) or self[0] != other[0]:
            return False
        pairs = zip(self[1], other[1], strict=True)
        return all(one.shape == two.shape and one.tobytes() == two.tobytes() for one, two in pairs)

    __hash__ = None


def _fixed(value: Any) -> _Fixed:
    arrays: list[np.ndarray] = []
    text = json.dumps(encode(value, arrays))
    return _Fixed((text, [array.copy() for array in arrays]))


def _tells(callback: keras.callbacks.Callback) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _own(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """The attributes that may be memory."""
    if _tells(callback):
        return {}
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _NOT_MEMORY and not isinstance(value, str) and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    try:
        encode(value, [])
    except TypeError:
        return False
    return True


def _names(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """The class of each, and the how manieth of it that it is."""
    seen: Counter[str] = Counter()
    for entry in entries:
        yield entry["callback"], seen[entry["callback"]]
        seen[entry["callback"]] += 1
