"""The meaning of the values in a data set's masks: background, foreground or ignored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kseg import IGNORE
from kseg.data.bridge import call_python, explain_read_errors
from kseg.data.sources.base import Source
from kseg.errors import KsegError

_MASKS_TO_READ = 1000
_VALUES = 65536  # masks have 8 or 16 bits

NOT_COVERED = 2
"""Marker for a mask value the rule does not cover; reading it raises."""

# If 255 is among the values, the others are class indices only if there are few of them and the first is low. More
# values, or higher ones, are soft edges: the mask was interpolated, or stored as JPEG, and no rule fits it.
_MAX_CLASSES = 64
_MAX_FIRST_CLASS = 32

_HELP = "Set the foreground values with --foreground (values, or any), or correct the masks."


@dataclass(frozen=True)
class Foreground:
    """The rule that turns stored mask values into 0 (background), 1 (foreground) and 255 (ignored).

    Args:
        values: the foreground values, 0 to 65535; None: every value but 0.
        ignored: the values to ignore.
        only: the values that the rule covers; reading any other value raises `KsegError`. None: all values.
        because: where the rule comes from, for the log.

    >>> rule = Foreground(values=(2,))
    >>> rule.table()[[0, 1, 2, 255]]
    array([  0,   0,   1, 255], dtype=uint8)
    """

    values: tuple[int, ...] | None
    ignored: tuple[int, ...] = (IGNORE,)
    only: tuple[int, ...] | None = None
    because: str = "as set"

    def __str__(self) -> str:
        values = "every value but 0" if self.values is None else "value " + ", ".join(map(str, self.values))
        ignored = "; ignored: " + ", ".join(map(str, self.ignored)) if self.ignored else ""
        return f"{values}{ignored} ({self.because})"

    @property
    def setting(self) -> tuple[int, ...] | Literal["any", "classes"]:
        """The value of `--foreground` that gives this rule without reading the masks."""
        if self.values is not None:
            return self.values
        return "classes" if self.ignored else "any"

    def table(self) -> np.ndarray:
        """Return the new value of each stored value, uint8 `(65536,)`."""
        table = np.zeros(_VALUES, np.uint8)
        if self.values is None:
            table[1:] = 1
        if self.only is not None:
            table[np.setdiff1d(np.arange(_VALUES), self.only)] = NOT_COVERED
        table[list(self.ignored)] = IGNORE
        table[list(self.values or ())] = 1
        return table


NAMED_CLASSES = Foreground(values=None, because="the data set names its classes")
"""The rule for masks that hold class indices."""


def find_foreground(source: Source, setting: Sequence[int] | Literal["auto", "any", "classes"] = "auto") -> Foreground:
    """Return the rule for a data set's masks.

    Args:
        source: the data set.
        setting: how to find the rule:

            - `any`: every value but 0 is foreground (instance ids, or masks of 0 and 255).
            - `classes`: every value but 0 is foreground, and 255 is ignored.
            - values: these are foreground, all others background; 255 is ignored unless it is one of them.
            - `auto`: reads the first 1000 masks, and goes on while they are all empty. In masks of 0 and 255, 255 is
              foreground. Other masks hold class indices, where 255 is ignored; so do all masks of a data set that
              names its classes.

    Raises:
        KsegError: `auto` finds no rule: no mask has foreground, no mask has background, or the masks have soft edges.
            Also if a mask cannot be read.

    Example::

        train, validation = open_sources("path/to/folder")
        print(find_foreground(train))  # value 255 (the masks hold 0 and 255)
    """
    if setting != "auto":
        return foreground_as_set(setting)
    counts = np.zeros(_VALUES, int)
    for number, mask in enumerate(stored_masks(source), start=1):
        counts += np.bincount(mask.ravel(), minlength=_VALUES)
        if source.classes and counts[0] and counts[list(source.classes)].any():
            break
        if number >= _MASKS_TO_READ and counts[1:].any():
            break
    return read_foreground(np.flatnonzero(counts).tolist(), source.name, named=bool(source.classes))


def foreground_as_set(setting: Sequence[int] | Literal["any", "classes"]) -> Foreground:
    """Return the rule of a setting other than `auto`, see `find_foreground`; no mask is read."""
    if setting == "any":
        return Foreground(values=None, ignored=())
    if setting == "classes":
        return Foreground(values=None)
    values = tuple(int(value) for value in setting)
    return Foreground(values, ignored=() if IGNORE in values else (IGNORE,))


def read_foreground(found: Sequence[int], name: str, *, named: bool = False) -> Foreground:
    """Return the rule that `auto` finds, see `find_foreground`.

    Args:
        found: the values in the masks, ascending.
        name: the name of the data set, for messages.
        named: whether the data set names its classes.

    Raises:
        KsegError: no rule fits these values.

    >>> print(read_foreground([0, 255], "cells"))
    value 255 (the masks hold 0 and 255)
    """
    classes = [value for value in found if value not in (0, IGNORE)]
    listed = list_values(found)
    if set(found) <= ({0, IGNORE} if named else {0}):
        raise KsegError(f"No mask of {name} has any foreground: all pixels are {listed}. There is nothing to learn.")
    if 0 not in found:
        raise KsegError(f"The masks of {name} hold {listed}; expected 0, the background, among them. {_HELP}")
    if named:
        return NAMED_CLASSES
    if not classes:
        return Foreground((IGNORE,), ignored=(), only=(0, IGNORE), because="the masks hold 0 and 255")
    if IGNORE in found and (len(classes) > _MAX_CLASSES or classes[0] > _MAX_FIRST_CLASS):
        raise KsegError(
            f"The masks of {name} hold {listed}: too many values, or too high ones, for class indices and 255. Masks "
            f"of 0 and 255 that were resized or saved as JPEG look like this. {_HELP}"
        )
    return Foreground(values=None, because=f"the masks hold {listed}")


def list_values(found: Sequence[int]) -> str:
    """Return the values as text, the first eight of them.

    >>> list_values(range(10))
    '0, 1, 2, 3, 4, 5, 6, 7 and 2 more'
    """
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(map(str, found[:8])) + more


def stored_masks(source: Source) -> Iterator[np.ndarray]:
    """Yield the masks of a source with their stored values, uint16 `(H, W, 1)`, in order; they are read in parallel.

    Raises:
        KsegError: a mask cannot be read.
    """
    import tensorflow as tf

    masks = source.examples().map(
        lambda *example: call_python(source.read_mask, tf.uint16, *example), num_parallel_calls=tf.data.AUTOTUNE
    )
    with explain_read_errors(source.name):
        yield from masks.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
