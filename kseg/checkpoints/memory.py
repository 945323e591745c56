"""The memory of callbacks as plain data for a checkpoint: no code, no pickle."""

import json
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kseg.errors import KsegError
from kseg.keras_private import callback_attributes

_log = logging.getLogger("kseg")

_ARRAY = "__array__"
_PLAIN = frozenset((type(None), bool, int, float, str))

# Callbacks without a memory.
_WITHOUT_MEMORY = (keras.callbacks.ProgbarLogger, keras.callbacks.History)


def encode(value: Any, arrays: list[np.ndarray]) -> Any:
    """Return plain data for JSON; its arrays are appended to a list.

    Raises:
        TypeError: it is no plain data: numbers, strings, None, arrays, and lists and dicts of these.

    >>> arrays = []
    >>> encode({"best": np.float64(0.5), "weights": [np.zeros(3)]}, arrays), len(arrays)
    ({'best': 0.5, 'weights': [{'__array__': 0, 'dtype': 'float64'}]}, 1)
    """
    if type(value) in _PLAIN:  # first, for the rows of a thousand epochs
        return value
    if isinstance(value, bool | int | float | str):
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
    """Return what `encode` was given."""
    if isinstance(value, list):
        return [decode(item, arrays) for item in value]
    if isinstance(value, dict) and _ARRAY in value:
        # bfloat16 and the like come out of a file as integers.
        return arrays[value[_ARRAY]].view(value["dtype"])
    if isinstance(value, dict):
        return {key: decode(item, arrays) for key, item in value.items()}
    return value


class Memory:
    """What the callbacks of a `fit` remember.

    For a callback with `get_state()` and `set_state(state)` it is what these return and take. For any other it is each
    attribute that changed since the `fit` began and is plain data but no string, such as the wait, the best value and
    the best weights of `EarlyStopping`. An unchanged attribute is a setting and is not restored: if the code raises the
    patience, the new patience counts.

    Args:
        callbacks: of a `fit` that just began.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self._callbacks = [callback for callback in callbacks if not isinstance(callback, _WITHOUT_MEMORY)]
        self._initial = [
            {name: _Copy.of(value) for name, value in _plain_attributes(callback).items()}
            for callback in self._callbacks
        ]

    def read(self) -> list[dict[str, Any]]:
        """Return all memories, in the order of the callbacks."""
        return [
            {"callback": type(callback).__name__, "memory": self._read(callback, initial)}
            for callback, initial in zip(self._callbacks, self._initial, strict=True)
        ]

    @staticmethod
    def _read(callback: keras.callbacks.Callback, initial: dict[str, "_Copy"]) -> Any:
        if _has_state_methods(callback):
            return callback.get_state()
        return {
            name: value for name, value in _plain_attributes(callback).items() if _Copy.of(value) != initial.get(name)
        }

    def write(self, memories: Sequence[dict[str, Any]]) -> None:
        """Restore the memories. A callback without one keeps its current memory, with a warning.

        Raises:
            KsegError: a memory does not fit its callback.
        """
        stored = {key: entry["memory"] for key, entry in zip(_keys(memories), memories, strict=True)}
        now = [{"callback": type(callback).__name__} for callback in self._callbacks]
        for key, callback, initial in zip(_keys(now), self._callbacks, self._initial, strict=True):
            if key not in stored:
                _log.warning(f"⚠️  The checkpoint has no memory of {key[0]}; it starts without one.")
            elif _has_state_methods(callback):
                try:
                    callback.set_state(stored[key])
                except KsegError:
                    raise
                except Exception as error:  # what the file holds may have any shape
                    raise KsegError(f"The checkpoint's memory of {key[0]} does not fit it ({error!r}).") from error
            else:
                for name, value in initial.items():
                    setattr(callback, name, value.value())
                for name, value in stored[key].items():
                    # Other attributes, such as the path that a callback writes to, are not taken from a file.
                    if name in initial or not hasattr(callback, name):
                        setattr(callback, name, value)


@dataclass(frozen=True, eq=False)
class _Copy:
    """A copy of plain data, which later changes to the original do not change."""

    text: str
    arrays: list[np.ndarray]

    @classmethod
    def of(cls, value: Any) -> "_Copy":
        arrays: list[np.ndarray] = []
        text = json.dumps(encode(value, arrays))
        return cls(text, [array.copy() for array in arrays])

    def value(self) -> Any:
        """Return another copy of the data."""
        return decode(json.loads(self.text), [array.copy() for array in self.arrays])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Copy) or self.text != other.text:
            return False
        pairs = zip(self.arrays, other.arrays, strict=True)
        return all(one.shape == two.shape and one.tobytes() == two.tobytes() for one, two in pairs)


def _has_state_methods(callback: keras.callbacks.Callback) -> bool:
    return hasattr(callback, "get_state") and hasattr(callback, "set_state")


def _plain_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes that may be memory."""
    if _has_state_methods(callback):
        return {}
    return {
        name: value
        for name, value in callback_attributes(callback).items()
        if not isinstance(value, str) and _is_plain(value)
    }


def _is_plain(value: Any) -> bool:
    try:
        encode(value, [])
    except TypeError:
        return False
    return True


def _keys(entries: Sequence[dict[str, Any]]) -> Iterator[tuple[str, int]]:
    """Yield class name and occurrence index of each callback."""
    counts: Counter[str] = Counter()
    for entry in entries:
        yield entry["callback"], counts[entry["callback"]]
        counts[entry["callback"]] += 1
