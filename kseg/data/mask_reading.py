"""How the masks of a data set's two splits are read: the rule, and what a person should know of them first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from kseg import IGNORE
from kseg.data.classes import (
    MAX_CLASSES,
    Classes,
    Rest,
    class_shares,
    class_warnings,
    known_classes,
    refuse_instances,
    selected_values,
)
from kseg.data.labels import (
    NOT_COVERED,
    WHITE,
    Foreground,
    ForegroundSetting,
    decide_foreground,
    foreground_as_set,
    refuse_uncovered,
)
from kseg.data.multilabel import Labels, find_labels, read_label_values
from kseg.data.sources.base import Source
from kseg.data.survey import (
    MaskValues,
    describe_masks,
    describe_soft_edges,
    list_values,
    refuse_unclear_masks,
    survey_channels,
    survey_masks,
    values_in,
)
from kseg.errors import KsegError
from kseg.task import Kind

Rule: TypeAlias = Foreground | Classes | Labels
"""How stored mask values become what the model is trained on."""


def mask_reader(rule: Rule, name: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from stored values to 0, classes and 255, uint8 of the same height and width.

    It raises `KsegError` for a value that the rule does not cover; `name` is that of the data set, for the message.
    """
    table, channels = rule.table(), list(rule.channels) if isinstance(rule, Labels) else slice(None)

    def read(stored: np.ndarray) -> np.ndarray:
        mask = table.take(stored[..., channels])
        if rule.only is not None and (mask == NOT_COVERED).any():
            raise KsegError(
                f"A mask of {name} holds {np.setdiff1d(stored, rule.only)[0]}; expected {list_values(rule.only)}. Set "
                "the foreground values with --foreground, or select the classes with --classes."
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
    task: Literal["auto"] | Kind = "auto",
    foreground: ForegroundSetting = "auto",
    classes: Sequence[str] | None = None,
    class_names: Sequence[str] | None = None,
    rest: Rest = "background",
) -> MaskReading:
    """Decide how the masks of a data set are read, from the values in the first 1000 masks of both splits.

    Args:
        training: the training source; where nothing is set, its masks decide between 255 as foreground and as ignored.
        validation: the validation source, whose masks must follow the same rule.
        task: binary: all foreground is one class; multiclass: each value, or each class that the data set names, is a
            class; multilabel: each channel of the masks is a label; auto: multilabel if they have several channels,
            multiclass if there are several classes.
        foreground: see `kseg.data.find_foreground`; anything but `auto` is binary, or the meaning of the values in the
            mask of each label.
        classes: the classes to tell apart, by name or value, in the order of the channels; None: all.
        class_names: names for the values of the masks, ascending, without 0 and 255; for data sets that name none.
        rest: what becomes of classes that are not among `classes`.

    Raises:
        KsegError: the settings contradict each other or the masks; no rule fits the masks; or they seem to hold
            instance ids.
    """
    if training.labels:
        return _read_labels(training, validation, task, foreground, classes, class_names, rest)
    if task == "multilabel":
        raise KsegError(
            f"task: multilabel is not allowed for {training.name}, whose masks have one channel; expected a channel "
            "for each label: masks/<label>/ with a mask for each image, TIFF or NPY with several channels, or COCO, "
            "LabelMe or YOLO files. Where each value is a class: --task multiclass."
        )
    surveys = survey_masks(training, until_foreground=True), survey_masks(validation)
    name = _name_both(training, validation)
    if foreground != "auto":
        _refuse_with_foreground(foreground, task, classes, class_names)
        reading = _read_binary(foreground_as_set(foreground), training, validation, surveys, str(foreground))
        return replace(reading, warnings=_warn_of_soft_edges(name, [*surveys[0], *surveys[1]], foreground))
    known = known_classes(training, values_in([*surveys[0], *surveys[1]]), class_names)
    if classes is None and (task == "binary" or (task == "auto" and len(known) < 2)):
        rule = decide_foreground(surveys[0], training.name, named=bool(training.classes))
        if not training.classes:
            refuse_unclear_masks(name, [*surveys[0], *surveys[1]])
        rule = rule.called(next(iter(known.values()))) if training.classes and len(known) == 1 else rule
        return _read_binary(rule, training, validation, surveys, "auto")
    if task == "auto" and classes is None and not training.classes:
        decide_foreground(surveys[0], training.name, named=False)  # raises where no class indices are
        refuse_unclear_masks(name, [*surveys[0], *surveys[1]])
        refuse_instances(name, [*surveys[0], *surveys[1]])
    values = selected_values(training.name, classes, known)
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
    described = _describe(surveys, table, with_classes=rule.values != WHITE)
    return MaskReading(rule, described, (), _median_size(surveys[0]))


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
    if len(values) > MAX_CLASSES:
        raise KsegError(
            f"The masks of {name} hold {len(values)} classes; expected at most {MAX_CLASSES}. Select some with "
            "--classes, or take all as one with --foreground any."
        )
    rule = Classes(tuple(known[value] for value in values), tuple(values), known, rest)
    table = rule.table()
    rule = replace(rule, shares=tuple(class_shares(surveys[0], table, rule.task.outputs).tolist()))
    if not any(rule.foreground_shares):
        raise KsegError(
            f"No training mask of {name} has any of the classes {list_values(rule.names)}: all that was read is "
            "background or ignored. There is nothing to learn. Are annotations missing, or of other classes?"
        )
    of_validation = class_shares(surveys[1], table, rule.task.outputs)[1:]
    warnings = tuple(class_warnings(rule.names, rule.foreground_shares, of_validation.tolist()))
    return MaskReading(rule, _describe(surveys, table), warnings, _median_size(surveys[0]))


def _read_labels(
    training: Source,
    validation: Source,
    task: str,
    foreground: Any,
    classes: Sequence[str] | None,
    class_names: Sequence[str] | None,
    rest: Rest,
) -> MaskReading:
    names, channels = find_labels(training.name, training.labels, classes, class_names)
    if task not in ("auto", "multilabel") and len(names) > 1:
        raise KsegError(
            f"task: {task} is not allowed for {training.name}, whose masks have a channel for each label: "
            f"{list_values(names)}; expected auto or multilabel. For one of them against the rest: --classes {names[0]}"
        )
    if rest == "ignore":
        raise KsegError("rest: ignore is not allowed for labels, each of which is read by itself; expected background.")
    surveys = [
        [tuple(mask[channel] for channel in channels) for mask in survey]
        for survey in (survey_channels(training, until_foreground=True), survey_channels(validation))
    ]
    pooled = [[channel for mask in survey for channel in mask] for survey in surveys]
    named = bool(training.classes)
    values = read_label_values(pooled[0], training.name, foreground, named=named)
    if foreground == "auto" and not named:
        refuse_unclear_masks(_name_both(training, validation), [*pooled[0], *pooled[1]])
    refuse_uncovered(values, training.name, validation.name, pooled[0], pooled[1], str(foreground))
    shares = [
        [float(class_shares(of_label, values.table(), 2)[1]) for of_label in zip(*survey, strict=True)]
        for survey in surveys
    ]
    of_training = shares[0] if len(names) > 1 else [1 - shares[0][0], *shares[0]]
    rule = Labels(names, channels, values, tuple(of_training))
    described = (
        f"{split}: " + list_values([f"{name} {share:.1%}" for name, share in zip(names, of_split, strict=True)])
        for split, of_split in zip(("training", "validation"), shares, strict=True)
    )
    warnings = tuple(class_warnings(names, *shares))
    return MaskReading(rule, "; ".join(described), warnings, _median_size(pooled[0]))


def _name_both(training: Source, validation: Source) -> str:
    return " and ".join(dict.fromkeys((training.name, validation.name)))


def _warn_of_soft_edges(name: str, survey: Sequence[MaskValues], foreground: ForegroundSetting) -> tuple[str, ...]:
    soft = "" if foreground == "white" else describe_soft_edges(name, survey)
    return (f"{soft} --foreground white takes 128 and above as foreground.",) if soft else ()


def _median_size(survey: Sequence[MaskValues]) -> tuple[int, int]:
    height, width = np.median([mask.size for mask in survey], axis=0).round().astype(int).tolist()
    return height, width


def _describe(surveys: Sequence[Sequence[MaskValues]], table: np.ndarray, *, with_classes: bool = True) -> str:
    training, validation = (describe_masks(survey, table, with_classes=with_classes) for survey in surveys)
    return f"training: {training}; validation: {validation}"


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
