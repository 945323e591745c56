"""The values in the masks of a data set, read before training: they decide how masks are read, and go into the log."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from kseg import IGNORE
from kseg.data.quality import find_two_ways_of_writing, foreground_share, has_soft_edges
from kseg.data.sources.base import Source
from kseg.data.threads import map_in_threads
from kseg.errors import KsegError

_MASKS_TO_READ = 1000


@dataclass(frozen=True)
class MaskValues:
    """The stored values of one mask."""

    values: np.ndarray
    """Each value once, ascending, uint16 `(N,)`."""
    counts: np.ndarray
    """The number of pixels with each, int64 `(N,)`."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the mask."""


def survey_masks(source: Source, *, until_foreground: bool = False) -> list[MaskValues]:
    """Return the values of each of the first 1000 masks of a source whose masks have one channel.

    Args:
        source: the data set.
        until_foreground: if these masks are all empty, read on until one is not.

    Raises:
        KsegError: a mask cannot be read, or has a channel for each label.
    """
    if source.labels:
        raise KsegError(
            f"The masks of {source.name} have a channel for each label, {', '.join(source.labels)}; expected one "
            "channel. Read them with read_masks_of_splits."
        )
    return [channels[0] for channels in survey_channels(source, until_foreground=until_foreground)]


def survey_channels(source: Source, *, until_foreground: bool = False) -> list[tuple[MaskValues, ...]]:
    """Return the values in each channel of each mask; arguments and errors as in `survey_masks`."""
    masks = (tuple(map(_count_values, np.moveaxis(mask, -1, 0))) for mask in stored_masks(source))
    survey = list(islice(masks, _MASKS_TO_READ))
    if until_foreground and not any(map(_has_foreground, survey)):
        for mask in masks:
            survey.append(mask)
            if _has_foreground(mask):
                break
    return survey


def _count_values(channel: np.ndarray) -> MaskValues:
    return MaskValues(*np.unique(channel, return_counts=True), channel.shape)


def _has_foreground(mask: Sequence[MaskValues]) -> bool:
    return any(channel.values.any() for channel in mask)


def stored_masks(source: Source) -> Iterator[np.ndarray]:
    """Yield the masks of a source with their stored values, uint16 `(H, W, M)`, in order; they are read in parallel.

    Raises:
        KsegError: a mask cannot be read.
    """
    return map_in_threads(source.read_mask, source.examples())


def values_in(survey: Sequence[MaskValues]) -> list[int]:
    """Return all values in the masks, ascending."""
    return np.unique(np.concatenate([mask.values for mask in survey])).tolist() if survey else []


def list_values(found: Sequence[Any]) -> str:
    """Return ascending values, or names, as text: the first eight of them, or the first and the last of a range.

    >>> list_values(range(0, 20, 2)), list_values(range(10))
    ('0, 2, 4, 6, 8, 10, 12, 14 and 2 more', '0 to 9')
    """
    numbers = all(isinstance(value, int) for value in found)
    if len(found) > 8 and numbers and list(found) == list(range(found[0], found[0] + len(found))):
        return f"{found[0]} to {found[-1]}"
    more = f" and {len(found) - 8} more" if len(found) > 8 else ""
    return ", ".join(map(str, found[:8])) + more


def refuse_unclear_masks(name: str, survey: Sequence[MaskValues]) -> None:
    """Refuse masks with soft edges, and masks of which some write foreground as 255, and others as class indices.

    Args:
        name: the data set, for the message.
        survey: the masks of all splits.

    Raises:
        KsegError: a mask has soft edges, or both ways occur.
    """
    soft = describe_soft_edges(name, survey)
    if soft:
        raise KsegError(
            f"{soft} --foreground white takes 128 and above as foreground. If each value is a class: --task multiclass."
            " kseg audit names the files."
        )
    alone, with_classes = find_two_ways_of_writing([mask.values for mask in survey])
    if not alone:
        return
    white = int(survey[alone[0]].values[-1])
    classes = [value for value in values_in([survey[index] for index in with_classes]) if value not in (0, white)]
    example = ", ".join(map(str, classes[:4])) + (" …" if len(classes) > 4 else "")
    other_reading = (
        "255 is ignored: --foreground classes" if white == IGNORE else f"{white} is a class: --task multiclass"
    )
    raise KsegError(
        f"The masks of {name} are written in two ways: of {len(survey)}, {len(alone)} hold nothing but 0 and {white}, "
        f"and {len(with_classes)} hold {example}. Either {white} is foreground as well: --foreground any. Or "
        f"{other_reading}. kseg audit names the files."
    )


def describe_soft_edges(name: str, survey: Sequence[MaskValues]) -> str:
    """Return how many masks have soft edges, as a sentence; empty if none has."""
    soft = [mask for mask in survey if has_soft_edges(mask.values, mask.counts)]
    if not soft:
        return ""
    return (
        f"{len(soft)} of {len(survey)} masks of {name} have soft edges, as after a resize or in a JPEG: they hold "
        f"{list_values(values_in(soft))}, mostly near 0 and 255."
    )


def describe_masks(survey: Sequence[MaskValues], table: np.ndarray, *, with_classes: bool = True) -> str:
    """Return what masks hold, as text.

    Args:
        survey: the masks.
        table: the new value of each stored value, uint8 `(65536,)`: 0, a class, or 255; see `Foreground.table` and
            `Classes.table`.
        with_classes: whether to count the foreground values, each of which is a class.

    >>> survey = [MaskValues(np.array([0, 1]), np.array([3, 1])), MaskValues(np.array([0, 255]), np.array([3, 1]))]
    >>> table = np.eye(1, 65536, 1, np.uint8)[0]
    >>> table[255] = 255
    >>> describe_masks(survey, table)
    'foreground 14.3%, ignored 12.5%, 1 of 2 masks empty, 1 class'
    """
    table = np.where((table != 0) & (table != IGNORE), np.uint8(1), table)
    kinds = [table[mask.values] for mask in survey]
    kind, count = np.concatenate(kinds), np.concatenate([mask.counts for mask in survey])
    empty = sum(not (of_mask == 1).any() for of_mask in kinds)
    classes = int((table[values_in(survey)] == 1).sum())
    counted = f", {classes} {'class' if classes == 1 else 'classes'}" if with_classes else ""
    return (
        f"foreground {foreground_share(kind, count):.1%}, ignored {count[kind == IGNORE].sum() / count.sum():.1%}, "
        f"{empty} of {len(survey)} masks empty{counted}"
    )
