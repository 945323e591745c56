"""Which classes the masks of a data set hold, and which of them a model tells apart."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from kseg import IGNORE
from kseg.data.labels import (
    NOT_COVERED,
    Foreground,
    decide_foreground,
    foreground_as_set,
    list_values,
    refuse_uncovered,
)
from kseg.data.sources.base import Source
from kseg.data.survey import MaskValues, describe_masks, refuse_two_ways_of_writing, survey_masks, values_in
from kseg.errors import KsegError
from kseg.task import Task

Rest = Literal["background", "ignore"]

_VALUES = 65536  # masks have 8 or 16 bits
_RARE = 0.001  # below this share of the pixels a class is named before the first step

# Masks with this many values or more may hold instance ids: numbers of objects, which mean something else in each mask.
_FEWEST_IDS, _FEWEST_UNIQUE_IDS = 6, 20
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


Rule = Foreground | Classes
"""How stored mask values become what the model is trained on."""


def mask_reader(rule: Rule, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from stored values to 0, classes and 255, uint8 of the same shape.

    It raises `KsegError` for a value that the rule does not cover; `name` is that of the data set, for the message.
    """
    table = rule.table()

    def read(stored: np.ndarray) -> np.ndarray:
        mask = table.take(stored)
        if rule.only is not None and (mask == NOT_COVERED).any():
            raise KsegError(
                f"A mask of {name} holds a value other than {list_values(rule.only)}, the only values in the first "
                "masks. Set the foreground values with --foreground, or select the classes with --classes."
            )
        return mask

    return read


@dataclass(frozen=True)
class MaskReading:
    """How the masks of two splits are read, and what was found in them."""

    rule: Rule
    described: str
    """What the masks of both splits hold, as text."""
    warnings: tuple[str, ...]
    """What a person should know before the first step."""
    native_size: tuple[int, int]
    """Median height and width of the training masks."""


def read_masks_of_splits(
    training: Source,
    validation: Source,
    *,
    task: Literal["auto", "binary", "multiclass"] = "auto",
    foreground: Sequence[int] | Literal["auto", "any", "classes"] = "auto",
    classes: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    rest: Rest = "background",
) -> MaskReading:
    """Decide how the masks of a data set are read, from the values in the first 1000 masks of both splits.

    Args:
        training: the training source; where nothing is set, its masks decide between 255 as foreground and as ignored.
        validation: the validation source, whose masks must follow the same rule.
        task: binary: all foreground is one class; multiclass: each value, or each class that the data set names, is a
            class; auto: multiclass if there are several.
        foreground: see `kseg.data.find_foreground`; anything but `auto` is binary.
        classes: the classes to tell apart, by name or value, in the order of the channels; None: all.
        class_names: names for the values of the masks, ascending, without 0 and 255; for data sets that name none.
        rest: what becomes of classes that are not among `classes`.

    Raises:
        KsegError: the settings contradict each other or the masks; no rule fits the masks; or they seem to hold
            instance ids.
    """
    surveys = survey_masks(training, until_foreground=True), survey_masks(validation)
    name = f"{training.name} and {validation.name}"
    if foreground != "auto":
        _refuse_with_foreground(foreground, task, classes, class_names)
        return _read_binary(foreground_as_set(foreground), training, validation, surveys, str(foreground))
    known = _known_classes(training, values_in([*surveys[0], *surveys[1]]), class_names)
    if classes is None and (task == "binary" or (task == "auto" and len(known) < 2)):
        rule = decide_foreground(surveys[0], training.name, named=bool(training.classes))
        if not training.classes:
            refuse_two_ways_of_writing(name, [*surveys[0], *surveys[1]])
        rule = rule.called(next(iter(known.values()))) if training.classes and len(known) == 1 else rule
        return _read_binary(rule, training, validation, surveys, "auto")
    if task == "auto" and classes is None and not training.classes:
        decide_foreground(surveys[0], training.name, named=False)  # raises where no class indices are
        refuse_two_ways_of_writing(name, [*surveys[0], *surveys[1]])
        refuse_instances(name, [*surveys[0], *surveys[1]])
    values = _selected_values(training.name, classes, known)
    if task == "binary" or (task == "auto" and len(values) == 1):
        rule = _foreground_of(values, known, rest)
        return _read_binary(rule, training, validation, surveys, f"auto with --classes {' '.join(classes or ())}")
    return _read_classes(name, values, known, rest, surveys)


def _read_binary(
    rule: Foreground,
    training: Source,
    validation: Source,
    surveys: tuple[list[MaskValues], list[MaskValues]],
    setting: str,
) -> MaskReading:
    refuse_uncovered(rule, training.name, validation.name, *surveys, setting)
    table = rule.table()
    rule = replace(rule, shares=tuple(class_shares(surveys[0], table, 2).tolist()))
    return MaskReading(rule, _describe(surveys, table), (), _median_size(surveys[0]))


def _read_classes(
    name: str,
    values: Sequence[int],
    known: Mapping[int, str],
    rest: Rest,
    surveys: tuple[list[MaskValues], list[MaskValues]],
) -> MaskReading:
    if not values:
        raise KsegError(
            f"The masks of {name} hold no value but 0 and 255, where 255 is ignored: there is no class to learn. Masks "
            "of 0 and 255 are --task binary."
        )
    if len(values) >= NOT_COVERED:
        raise KsegError(
            f"The masks of {name} hold {len(values)} classes; expected at most {NOT_COVERED - 1}. Select some with "
            "--classes, or take all as one with --foreground any."
        )
    rule = Classes(tuple(known[value] for value in values), tuple(values), known, rest)
    table = rule.table()
    rule = replace(rule, shares=tuple(class_shares(surveys[0], table, rule.task.outputs).tolist()))
    warnings = tuple(_missing_classes(rule, surveys[1]))
    return MaskReading(rule, _describe(surveys, table), warnings, _median_size(surveys[0]))


def _median_size(survey: Sequence[MaskValues]) -> tuple[int, int]:
    height, width = np.median([mask.size for mask in survey], axis=0).round().astype(int).tolist()
    return height, width


def _describe(surveys: Sequence[Sequence[MaskValues]], table: np.ndarray) -> str:
    return f"training: {describe_masks(surveys[0], table)}; validation: {describe_masks(surveys[1], table)}"


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


def _missing_classes(rule: Classes, validation_masks: Sequence[MaskValues]) -> list[str]:
    """Return a line for the classes that a split, or both, do not have, and for rare ones."""
    training = np.array(rule.shares[1:])
    validation = class_shares(validation_masks, rule.table(), rule.task.outputs)[1:]
    names = np.array(rule.names)

    def line(which: np.ndarray, said: str) -> list[str]:
        found = names[which]
        one = len(found) == 1
        return (
            [f"{'Class' if one else 'Classes'} {list_values(found)} {'is' if one else 'are'} {said}"]
            if len(found)
            else []
        )

    both = (training == 0) & (validation == 0)
    return [
        *line(both, "in no mask that was read: the model cannot learn it, and no score shows that."),
        *line((training == 0) & ~both, "in no training mask that was read, and in validation masks: it will score 0."),
        *line((validation == 0) & ~both, "in no validation mask that was read: it will have no score."),
        *line(
            (training > 0) & (training < _RARE),
            f"on less than {_RARE:.1%} of the training pixels: look at its score, not at the mean.",
        ),
    ]


def _known_classes(source: Source, found: Sequence[int], class_names: Sequence[str] | None) -> dict[int, str]:
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


def _selected_values(name: str, classes: Sequence[str] | None, known: Mapping[int, str]) -> list[int]:
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


def _foreground_of(values: Sequence[int], known: Mapping[int, str], rest: Rest) -> Foreground:
    """Return the binary rule of selected classes."""
    others = [value for value in known if value not in values] if rest == "ignore" else []
    title = " or ".join(known[value] for value in values)
    return Foreground(tuple(values), ignored=(IGNORE, *others), name=title, selected=True)


def _refuse_with_foreground(
    foreground: Any, task: str, classes: Sequence[str] | None, class_names: Sequence[str] | None
) -> None:
    given = {"task": task if task == "multiclass" else None, "classes": classes, "class_names": class_names}
    for setting, value in given.items():
        if value is not None:
            shown = value if isinstance(value, str) else " ".join(value)
            raise KsegError(
                f"foreground {foreground} is for one class, foreground, and {setting} {shown} is for several; expected "
                "one of the two."
            )


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
    unique = len(values) >= _FEWEST_UNIQUE_IDS and np.mean(in_masks == 1) >= _NEARLY_ALL
    if not (numbered or unique):
        return
    how = "numbered from 1 in each mask" if numbered else "nearly each in one mask alone"
    raise KsegError(
        f"The masks of {name} look like instance ids: they hold {len(values)} values, {how}. If each number is one "
        "object of the same kind, all of them are foreground: --foreground any. If they are classes: --task multiclass."
    )
