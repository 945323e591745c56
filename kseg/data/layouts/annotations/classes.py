"""The class indices of the classes that annotations name."""

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from kseg import IGNORE
from kseg.errors import KsegError

_MAX_CLASSES = 2**16 - 2  # values of a uint16 without 0 and 255
_MAX_DESCRIBED = 8

Name = TypeVar("Name", bound=Hashable)


def class_indices(names: Sequence[Name], path: Path) -> dict[Name, int]:
    """Return the class index of each name: 1, 2, … without 255, which is ignored.

    >>> class_indices(["cat", "dog"], Path("annotations.json"))
    {'cat': 1, 'dog': 2}

    Raises:
        KsegError: there are no names, or more than a uint16 mask can hold; the message begins with `path`.
    """
    if not 0 < len(names) <= _MAX_CLASSES:
        raise KsegError(f"{path} has {len(names)} classes; expected 1 to {_MAX_CLASSES}.")
    return {name: index + (index >= IGNORE) for index, name in enumerate(names, start=1)}


def describe_classes(classes: Mapping[int, str]) -> str:
    """Return the first eight classes as text.

    >>> describe_classes({1: "cat", 2: "dog"})
    '1 cat, 2 dog'
    """
    more = f" and {len(classes) - _MAX_DESCRIBED} more" if len(classes) > _MAX_DESCRIBED else ""
    return ", ".join(f"{index} {name}" for index, name in list(classes.items())[:_MAX_DESCRIBED]) + more
