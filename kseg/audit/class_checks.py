"""Checks of the classes in masks: how much there is of each, and which split does not have it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kseg import IGNORE
from kseg.audit.file_checks import findings_of
from kseg.audit.inspection import InspectedPair
from kseg.audit.mask_checks import MOST_CLASSES
from kseg.data.labels import WHITE, Foreground
from kseg.findings import Finding

_MOST_LISTED = 8


@dataclass
class ClassCount:
    """How much there is of a class."""

    name: str
    pixels: int = 0
    masks: dict[str, list[str]] = field(default_factory=dict)
    """The names of the masks that have it, by split."""

    @property
    def count(self) -> int:
        """Number of masks that have it."""
        return sum(map(len, self.masks.values()))


def count_classes(
    pairs: Sequence[InspectedPair], rule: Foreground, names: Mapping[int, str], labels: Sequence[str] = ()
) -> tuple[list[ClassCount], int]:
    """Return what there is of each class, ascending by mask value, and the number of pixels that are not ignored.

    Args:
        pairs: what was measured.
        rule: which values are foreground; each of them is a class.
        names: the names of the classes, by mask value, as far as the data set gives them.
        labels: the names of the channels, where each is a label that may overlap; then these are counted.

    Returns:
        No classes if there is one value, so many that they are numbers of objects, or shades of white.
    """
    table, total = rule.table(), 0
    classes = {value: ClassCount(name) for value, name in (enumerate(labels) if labels else names.items())}
    for pair in pairs:
        if pair.mask and (mask := pair.mask.statistics):
            total += int(mask.counts[table[mask.values] != IGNORE].sum())
            if mask.labels is not None:
                found = dict(enumerate(mask.labels.tolist()))
            else:
                is_class = table[mask.values] == 1
                found = dict(zip(mask.values[is_class].tolist(), mask.counts[is_class].tolist(), strict=True))
            for value, pixels in found.items():
                counted = classes.setdefault(value, ClassCount(str(value)))
                counted.pixels += pixels
                if pixels:
                    counted.masks.setdefault(pair.split, []).append(pair.mask.name)
    several = bool(labels) or (2 <= len(classes) <= MOST_CLASSES and rule.values != WHITE)
    return [classes[value] for value in sorted(classes)] if several else [], total


def describe_counts(classes: Sequence[ClassCount], total: int) -> str:
    """Return what there is of each class as text, the first eight of them.

    >>> describe_counts([ClassCount("cat", 30, {"train": ["a.png"]}), ClassCount("dog")], 1000)
    'cat: 3.00%, in 1 mask; dog: in no mask'
    """
    lines = [
        f"{counted.name}: {counted.pixels / total:.2%}, in {counted.count} mask{'s' if counted.count > 1 else ''}"
        if counted.count
        else f"{counted.name}: in no mask"
        for counted in classes[:_MOST_LISTED]
    ]
    return "; ".join(lines) + (f" and {len(classes) - _MOST_LISTED} more" if len(classes) > _MOST_LISTED else "")


def missing_classes(classes: Sequence[ClassCount], pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find classes that one split has and another has not."""
    splits = list(dict.fromkeys(pair.split for pair in pairs if pair.mask))
    files = [
        (name, f"has {counted.name}, which no mask of {absent} has")
        for counted in classes
        if counted.masks
        for absent in splits
        if absent not in counted.masks
        for split in counted.masks
        for name in counted.masks[split]
    ]
    return findings_of(
        "missing_classes",
        "warning",
        "masks with a class that another split does not have",
        files,
        "What is not in training is not learned; what is not in validation has no score.",
        "Put images of each class into both splits, or leave the class out with --classes.",
    )


def as_plain(classes: Sequence[ClassCount], total: int) -> dict[str, dict[str, float | int]]:
    """Return share of the pixels and number of masks of each class, for JSON."""
    return {
        counted.name: {"share": float(np.round(counted.pixels / max(total, 1), 6)), "masks": counted.count}
        for counted in classes
    }
