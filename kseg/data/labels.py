"""The meaning of the values in a data set's masks: background, foreground or ignored."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from kseg import IGNORE
from kseg.data.sources.base import Source
from kseg.data.survey import MaskValues, list_values, refuse_unclear_masks, survey_masks, values_in
from kseg.errors import KsegError
from kseg.task import Task

_VALUES = 65536  # masks have 8 or 16 bits

NOT_COVERED = 254
"""Marker for a mask value the rule does not cover; reading it raises."""

# If 255 is among the values, the others are class indices only if there are few of them and the first is low. More
# values, or higher ones, are soft edges: the mask was interpolated, or stored as JPEG, and no rule fits it.
_MAX_CLASSES = 64
_MAX_FIRST_CLASS = 32

_HELP = "Set the foreground values with --foreground (values, or any), or correct the masks."

WHITE = tuple(range(128, 256))
"""The foreground values of masks that were black and white before a resize, or before they were saved as JPEG."""

ForegroundSetting: TypeAlias = Sequence[int] | Literal["auto", "any", "classes", "white"]
"""How to find the foreground, see `find_foreground`."""


@dataclass(frozen=True)
class Foreground:
    """The rule that turns stored mask values into 0 (background), 1 (foreground) and 255 (ignored).

    Args:
        values: the foreground values, 0 to 65535; None: every value but 0.
        ignored: the values to ignore.
        only: the values that the rule covers; reading any other value raises `KsegError`. None: all values.
        because: where the rule comes from, for the log.
        name: what foreground is called.
        selected: whether the user named classes of the data set that are foreground.

    >>> rule = Foreground(values=(2,))
    >>> rule.table()[[0, 1, 2, 255]]
    array([  0,   0,   1, 255], dtype=uint8)
    """

    values: tuple[int, ...] | None
    ignored: tuple[int, ...] = (IGNORE,)
    only: tuple[int, ...] | None = None
    because: str = "as set"
    name: str = "foreground"
    selected: bool = False
    shares: tuple[float, ...] = field(default=(), compare=False)
    """The share of background and foreground among the pixels of the training masks, as far as known."""

    @property
    def foreground_shares(self) -> tuple[float, ...]:
        """The share of foreground, see `shares`."""
        return self.shares[1:]

    @property
    def task(self) -> Task:
        """What a model of this foreground tells apart."""
        return Task("binary", (self.name,))

    def called(self, name: str) -> "Foreground":
        """Return the same rule with a name for foreground."""
        return replace(self, name=name)

    def settings(self) -> dict[str, Any]:
        """Return the settings that give this rule for the same masks."""
        return {"task": "binary"} if self.selected else {"task": "binary", "foreground": self.setting}

    def __str__(self) -> str:
        values = "every value but 0" if self.values is None else "value " + list_values(self.values)
        ignored = "; ignored: " + ", ".join(map(str, self.ignored)) if self.ignored else ""
        return f"{values}{ignored} ({self.because})"

    @property
    def setting(self) -> ForegroundSetting:
        """The value of `--foreground` that gives this rule without reading the masks."""
        if self.values == WHITE:
            return "white"
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


def find_foreground(source: Source, setting: ForegroundSetting = "auto") -> Foreground:
    """Return the rule for a data set's masks.

    Args:
        source: the data set.
        setting: how to find the rule:

            - `any`: every value but 0 is foreground (instance ids, or masks of 0 and 255).
            - `classes`: every value but 0 is foreground, and 255 is ignored.
            - `white`: 128 to 255 are foreground, in masks of 0 to 255 with soft edges.
            - values: these are foreground, all others background; 255 is ignored unless it is one of them.
            - `auto`: reads the first 1000 masks, and goes on while they are all empty. In masks of 0 and 255, 255 is
              foreground. Other masks hold class indices, where 255 is ignored; so do all masks of a data set that
              names its classes.

    Raises:
        KsegError: `auto` finds no rule: no mask has foreground, no mask has background, the masks have soft edges, or
            some write foreground as 255 and others as 1. Also if a mask cannot be read.

    Example::

        train, validation = open_sources("path/to/folder")
        print(find_foreground(train))  # value 255 (the masks hold 0 and 255)
    """
    if setting != "auto":
        return foreground_as_set(setting)
    return decide_foreground(survey_masks(source, until_foreground=True), source.name, named=bool(source.classes))


def refuse_uncovered(
    rule: Foreground,
    training: str,
    validation: str,
    training_masks: Sequence[MaskValues],
    validation_masks: Sequence[MaskValues],
    setting: str,
) -> None:
    """Refuse a rule that does not cover the validation masks, or finds no foreground in the training masks.

    Args:
        rule: the rule.
        training, validation: the names of the sources, for messages.
        training_masks, validation_masks: what their masks hold.
        setting: where the rule comes from, for messages.

    Raises:
        KsegError: it does not.
    """
    table = rule.table()
    for split, name, masks in (("training", training, training_masks), ("validation", validation, validation_masks)):
        uncovered = [value for value in values_in(masks) if table[value] == NOT_COVERED]
        if uncovered and rule.only is not None:
            raise KsegError(
                f"The {split} masks of {name} hold {list_values(uncovered)}; expected {list_values(rule.only)}: "
                f"foreground is {rule}. {_HELP}"
            )
    if not (table[values_in(training_masks)] == 1).any():
        raise KsegError(
            f"No training mask of {training} has any foreground by --foreground {setting}: they hold "
            f"{list_values(values_in(training_masks))}. Give other values, or auto."
        )


def decide_foreground(survey: Sequence[MaskValues], name: str, *, named: bool) -> Foreground:
    """Return the rule that `auto` finds in masks; see `find_foreground` and `read_foreground`."""
    if not named:
        refuse_unclear_masks(name, survey)
    return read_foreground(values_in(survey), name, named=named)


def foreground_as_set(setting: Sequence[int] | Literal["any", "classes", "white"]) -> Foreground:
    """Return the rule of a setting other than `auto`, see `find_foreground`; no mask is read."""
    if setting == "any":
        return Foreground(values=None, ignored=())
    if setting == "classes":
        return Foreground(values=None)
    if setting == "white":
        return Foreground(WHITE, ignored=(), only=tuple(range(WHITE[-1] + 1)), because="the light half of 0 to 255")
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
            f"The masks of {name} hold {listed}: too many values, or too high ones, for class indices and 255. {_HELP}"
        )
    return Foreground(values=None, because=f"the masks hold {listed}")
