"""Which classes the masks of a data set hold, and which of them a model tells apart."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from kseg import IGNORE
from kseg.data.labels import NOT_COVERED
from kseg.data.sources.base import Source
from kseg.data.survey import MaskValues, list_values
from kseg.errors import KsegError
from kseg.task import Task

Rest = Literal["background", "ignore"]

MAX_CLASSES = NOT_COVERED - 1

_VALUES = 65536  # masks have 8 or 16 bits
_RARE = 0.001  # below this share of the pixels a class is named before the first step

# Masks with this many values or more may hold instance ids: numbers of objects, which mean something else in each mask.
_FEWEST_IDS = 6
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Classes:
    """The rule that turns stored mask values into class indices: 0 is background, 1, 2, … the classes, 255 ignored.

    Args:
        names: the name of each class, without background.
        values: the stored value of each class, 0 to 65535; 0 and 255 are never among them.
        known: the name of each value that the masks may hold besides 0 and 255; reading any other raises `KsegError`.
            Empty: all values.
        rest: what becomes of the known values that are no class.
        shares: the share of background and each class among the pixels of the training masks, as far as known.

    >>> rule = Classes(names=("dog", "cat"), values=(7, 3))
    >>> rule.table()[[0, 3, 5, 7, 255]]
    array([  0,   2,   0,   1, 255], dtype=uint8)
    """

    names: tuple[str, ...]
    values: tuple[int, ...]
    known: Mapping[int, str] = field(default_factory=dict)
    rest: Rest = "background"
    shares: tuple[float, ...] = ()

    @property
    def task(self) -> Task:
        """What a model of these classes tells apart."""
        return Task("multiclass", ("background", *self.names))

    @property
    def foreground_shares(self) -> tuple[float, ...]:
        """The share of each class, see `shares`."""
        return self.shares[1:]

    @property
    def only(self) -> tuple[int, ...] | None:
        """The values that the rule covers; None: all."""
        return (0, IGNORE, *self.known) if self.known else None

    def __str__(self) -> str:
        stored = ", ".join(f"{value} is {name}" for value, name in zip(self.values, self.names, strict=True))
        return f"{stored}; 255 is ignored" + ("; so are all other values but 0" if self.rest == "ignore" else "")

    def settings(self) -> dict[str, Any]:
        """Return the settings that give this rule for the same masks."""
        return {"task": "multiclass", "foreground": "auto", "class_names": tuple(self.known.values()) or None}

    def table(self) -> np.ndarray:
        """Return the new value of each stored value, uint8 `(65536,)`."""
        table = np.full(_VALUES, IGNORE if self.rest == "ignore" else 0, np.uint8)
        if self.known:
            table[np.setdiff1d(np.arange(_VALUES), list(self.known))] = NOT_COVERED
        table[[0, IGNORE]] = 0, IGNORE
        table[list(self.values)] = np.arange(1, len(self.values) + 1)
        return table


def class_shares(survey: Sequence[MaskValues], table: np.ndarray, number: int) -> np.ndarray:
    """Return the share of each class index, 0 to `number` - 1, among the pixels that are not ignored, `(number,)`.

    >>> survey = [MaskValues(np.array([0, 1, 255]), np.array([3, 1, 9]))]
    >>> class_shares(survey, Classes(("cat",), (1,)).table(), 2)
    array([0.75, 0.25])
    """
    counts = np.zeros(256, np.int64)
    for mask in survey:
        np.add.at(counts, table[mask.values], mask.counts)
    return counts[:number] / max(counts[:IGNORE].sum(), 1)


def class_warnings(
    class_names: Sequence[str], training_shares: Sequence[float], validation_shares: Sequence[float]
) -> list[str]:
    """Return a line each for the classes that a split does not have, for rare ones, and for misleading names.

    >>> class_warnings(["cat", "dog"], [0.1, 0.2], [0.1, 0.0])
    ['Class dog is in no validation mask that was read: there will be no score.']
    """
    names, training, validation = np.array(class_names), np.array(training_shares), np.array(validation_shares)

    def line(which: np.ndarray, said: str) -> list[str]:
        found = names[which]
        subject = f"Class {found[0]} is" if len(found) == 1 else f"Classes {list_values(found)} are"
        return [f"{subject} {said}"] if len(found) else []

    both, rare = (training == 0) & (validation == 0), (training > 0) & (training < _RARE)
    background = np.array([name.strip("_ ").casefold() == "background" for name in class_names])
    others = " ".join(map(shlex.quote, names[~background]))
    twice = _repeated(class_names)
    alike = _repeated([name.casefold() for name in class_names]) & ~twice
    return [
        *line(both, "in no mask that was read: nothing can be learned there, and no score shows that."),
        *line((training == 0) & ~both, "in no training mask that was read, and in validation masks: F1 will be 0."),
        *line((validation == 0) & ~both, "in no validation mask that was read: there will be no score."),
        *line(rare, f"on less than {_RARE:.1%} of the training pixels: look at that score, not at the mean."),
        *line(background, f"foreground here, and in the mean: --classes {others} leaves it out."),
        *line(twice, "of one name: if they are one class, write one number for both; else rename one, --class-names."),
        *line(alike, "told apart by the case of letters alone: if they are one class, write them in one way."),
    ]


def _repeated(names: Sequence[str]) -> np.ndarray:
    return np.array([names.count(name) > 1 for name in names])


def known_classes(source: Source, found: Sequence[int], class_names: Sequence[str] | None) -> dict[int, str]:
    """Return the name of each class that the masks may hold, by its value, ascending."""
    values = [value for value in found if value not in (0, IGNORE)]
    if class_names is None:
        return dict(source.classes) or {value: str(value) for value in values}
    values = list(source.classes) or values
    if len(class_names) != len(values):
        raise KsegError(
            f"class_names: {', '.join(class_names)} are {len(class_names)} names, and the masks of {source.name} hold "
            f"{len(values)} classes: {list_values(values)}. Expected one for each, without background."
        )
    return dict(zip(values, class_names, strict=True))


def selected_values(name: str, classes: Sequence[str] | None, known: Mapping[int, str]) -> list[int]:
    """Return the values of the classes to tell apart, in order.

    Raises:
        KsegError: there is no such class, or a class twice.
    """
    if classes is None:
        return list(known)
    by_name = {str(value): value for value in known} | {title: value for value, title in known.items()}
    unknown = [title for title in classes if title not in by_name]
    if unknown:
        listed = ", ".join(f"{value} {title}" if str(value) != title else title for value, title in known.items())
        raise KsegError(f"classes: {name} has no {', '.join(unknown)}; its masks hold {listed or 'no class'}.")
    values = [by_name[title] for title in classes]
    if len(set(values)) < len(values):
        raise KsegError(f"classes: {', '.join(classes)} name a class twice; expected each once.")
    return values


def refuse_instances(name: str, survey: Sequence[MaskValues]) -> None:
    """Refuse masks that seem to hold instance ids, the numbers of objects, rather than classes.

    They are numbered from 1 in each mask, to a number that differs; or nearly every number is in one mask alone.

    Raises:
        KsegError: they do.
    """
    masks = [mask.values[(mask.values != 0) & (mask.values != IGNORE)] for mask in survey]
    masks = [values for values in masks if values.size]
    values, in_masks = np.unique(np.concatenate(masks), return_counts=True) if masks else (np.array([]), np.array([]))
    if len(masks) < 3 or len(values) < _FEWEST_IDS:
        return
    counted = [np.array_equal(mask, np.arange(1, len(mask) + 1)) for mask in masks]
    numbered = np.mean(counted) >= _NEARLY_ALL and len({len(mask) for mask in masks}) >= 3
    unique = np.mean(in_masks == 1) >= _NEARLY_ALL
    if not (numbered or unique):
        return
    how = "numbered from 1 in each mask" if numbered else "nearly each in one mask alone"
    raise KsegError(
        f"The masks of {name} look like instance ids: they hold {len(values)} values, {how}. If each number is one "
        "object of the same kind, all of them are foreground: --foreground any. If they are classes: --task multiclass."
    )
