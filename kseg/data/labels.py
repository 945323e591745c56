"""What the values in a data set's masks mean: background, foreground, ignored."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kseg import IGNORE
from kseg.data.bridge import call_python, explain_read_errors
from kseg.data.sources.base import Source
from kseg.errors import KsegError

_MASKS_LOOKED_AT = 1000
_VALUES = 65536  # masks are 8 or 16 bits

UNSAID = 2
"""What a mask value becomes that the rule says nothing of: an error."""

# With 255 among them, values are class indices only if they look like it: few, and starting low. Others are
# soft edges (a mask that was interpolated, or stored as JPEG), where no reading is right.
_MOST_CLASSES = 64
_LATEST_FIRST_CLASS = 32

_SAY_SO = "Say which values are foreground with --foreground (values, or any), or mend the masks."


@dataclass(frozen=True)
class Foreground:
    """The rule from mask values to 0 (background), 1 (foreground) and 255 (ignored).

    Args:
        values: the foreground values; None is every value but 0.
        ignored: the values to ignore.
        only: if given, the only values that the rule is for; any other is an error where it is met.
        because: what the rule was read from, for the log.
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
        """The `--foreground` that gives this rule without looking at the masks."""
        if self.values is not None:
            return self.values
        return "classes" if self.ignored else "any"

    def table(self) -> np.ndarray:
        """uint8 `(65536,)`: what each value becomes."""
        table = np.zeros(_VALUES, np.uint8)
        if self.values is None:
            table[1:] = 1
        if self.only is not None:
            table[np.setdiff1d(np.arange(_VALUES), self.only)] = UNSAID
        table[list(self.ignored)] = IGNORE
        table[list(self.values or ())] = 1
        return table


NAMED_CLASSES = Foreground(values=None, because="the data set names its classes")
"""The rule for masks that are known to hold class indices."""


def find_foreground(source: Source, setting: Sequence[int] | Literal["auto", "any", "classes"] = "auto") -> Foreground:
    """The rule for a data set: as set, or read from the first 1000 masks, and from more while all are empty.

    - `any`: every value but 0 is foreground (instance ids, or masks of 0 and 255).
    - `classes`: every value but 0 is foreground, and 255 is ignored.
    - values: these are foreground, all others background, 255 ignored unless it is among them.
    - `auto`: masks of 0 and 255 hold foreground as 255; others hold class indices, and 255 is ignored. Where the data
      set names its classes, there are no others.

    Raises:
        KsegError: `auto` cannot tell: no mask has foreground, none has background, or there are soft edges.
    """
    if setting != "auto":
        return foreground_as_set(setting)
    counts = np.zeros(_VALUES, int)
    for number, mask in enumerate(stored_masks(source), start=1):
        counts += np.bincount(mask.ravel(), minlength=_VALUES)
        if source.classes and counts[0] and counts[list(source.classes)].any():
            break
        if number >= _MASKS_LOOKED_AT and counts[1:].any():
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
    """The rule that `auto` reads from the values found in the masks of a data set of that name.

    Args:
        found: the values, in order.
        name: what to call the data set.
        named: whether it names its classes.

    Raises:
        KsegError: there is no telling, see `find_foreground`.

    >>> print(read_foreground([0, 255], "cells"))
    value 255 (the masks hold 0 and 255)
    """
    classes = [value for value in found if value not in (0, IGNORE)]
    listed = list_values(found)
    if set(found) <= ({0, IGNORE} if named else {0}):
        raise KsegError(f"No mask of {name} has any foreground: all pixels are {listed}. There is nothing to learn.")
    if 0 not in found:
        raise KsegError(f"The masks of {name} hold {listed}, and 0, the background, nowhere. {_SAY_SO}")
    if named:
        return NAMED_CLASSES
    if not classes:
        return Foreground((IGNORE,), ignored=(), only=(0, IGNORE), because="the masks hold 0 and 255")
    if IGNORE in found and (len(classes) > _MOST_CLASSES or classes[0] > _LATEST_FIRST_CLASS):
        raise KsegError(
            f"The masks of {name} hold {listed}: too many values, or too odd ones, for class indices "
            f"beside 255. Masks of 0 and 255 that were resized or saved as JPEG look like this. {_SAY_SO}"
        )
    return Foreground(values=None, because=f"the masks hold {listed}")


def list_values(found: Sequence[int]) -> str:
    """Values in words, the first eight of them.

    >>> list_values(range(10))
    '0, 1, 2, 3, 4, 5, 6, 7 and 2 more'
    """
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(map(str, found[:8])) + more


def stored_masks(source: Source) -> Iterator[np.ndarray]:
    """The masks of a source as they are stored, uint16 `(H, W, 1)` each, read in parallel, in order.

    Raises:
        KsegError: a mask cannot be read.
    """
    import tensorflow as tf

    masks = source.examples().map(
        lambda *example: call_python(source.read_mask, tf.uint16, *example), num_parallel_calls=tf.data.AUTOTUNE
    )
    with explain_read_errors(source.name):
        yield from masks.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
