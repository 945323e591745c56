"""What the formats of annotations share: JSON that may hold anything, and the names and indices of classes."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from kseg import IGNORE
from kseg.data.layouts.pairing import read_text
from kseg.errors import KsegError

_MOST_CLASSES = 2**16 - 2  # what a uint16 has room for, without 0 and 255
_MOST_LISTED = 8


def read_json(path: Path, keep: Callable[[dict], Any] | None = None) -> Any:
    """What a JSON file holds.

    Args:
        path: a file of UTF-8, with a byte order mark or without.
        keep: makes of each object, as soon as it has been read, what is kept of it.

    Raises:
        KsegError: it cannot be read, or is no JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_hook=keep)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise KsegError(f"{path} is not JSON: {reason}. Export it again.") from error


def class_indices(names: Sequence[Any], path: Path) -> dict[Any, int]:
    """The class index of each of these, from 1 on; 255 is left out, since it stands for what is ignored.

    Raises:
        KsegError: there are none, or too many for a mask.
    """
    if not 0 < len(names) <= _MOST_CLASSES:
        raise KsegError(f"{path} has {len(names)} classes; expected 1 to {_MOST_CLASSES}.")
    return {name: index + (index >= IGNORE) for index, name in enumerate(names, start=1)}


def listed(classes: Mapping[int, str]) -> str:
    """Classes in words, the first eight of them.

    >>> listed({1: "cat", 2: "dog"})
    '1 cat, 2 dog'
    """
    more = f" and {len(classes) - _MOST_LISTED} more" if len(classes) > _MOST_LISTED else ""
    return ", ".join(f"{index} {name}" for index, name in list(classes.items())[:_MOST_LISTED]) + more
