"""The slices of a data set's splits to train on and to validate on."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kseg.errors import KsegError

_VALIDATION_NAMES = ("validation", "val", "valid", "test")


@dataclass(frozen=True)
class SplitSlice:
    """The examples `start` to `stop` - 1 of a split."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.split}[{self.start}:{self.stop}]"


Instructions = Callable[[str], Sequence[Any]]
"""From the text of a slice to the instructions of TFDS or Hugging Face, with `splitname`, `from_` and `to`, or None."""


def find_slices(
    name: str, sizes: Mapping[str, int], train_split: str | None, val_split: str | None, instructions: Instructions
) -> tuple[list[SplitSlice], list[SplitSlice] | None]:
    """Return the slices to train on, and those to validate on.

    Args:
        name: the name of the data set.
        sizes: the number of examples of each of its splits.
        train_split: a split or slice as TFDS writes them, such as `train[:10%]`; None: `train`.
        val_split: validation split or slice; must not overlap `train_split`. None: the first of validation, val, valid
            and test that exists and is not trained on.
        instructions: reads the text of a slice; raises ValueError where it cannot.

    Returns:
        The training slices and the validation slices; None for the second if there is no validation split.

    Raises:
        KsegError: there is no such split, a slice has no examples, or training and validation overlap.
    """
    training = _read(name, sizes, "train_split", train_split or "train", instructions)
    if not val_split:
        unused = set(sizes) - {part.split for part in training}
        val_split = next((split for split in _VALIDATION_NAMES if split in unused), None)
        if not val_split:
            return training, None
    validation = _read(name, sizes, "val_split", val_split, instructions)
    _refuse_overlap(name, training, validation)
    return training, validation


def select_range(slices: Sequence[SplitSlice], start: int, stop: int) -> list[SplitSlice]:
    """Return the examples `start` to `stop` - 1 of some slices, counted through all of them.

    >>> [str(part) for part in select_range([SplitSlice("train", 0, 10), SplitSlice("test", 5, 9)], 8, 12)]
    ['train[8:10]', 'test[5:7]']
    """
    selected, before = [], 0
    for part in slices:
        first, last = (min(max(position - before, 0), len(part)) + part.start for position in (start, stop))
        if first < last:
            selected.append(SplitSlice(part.split, first, last))
        before += len(part)
    return selected


def _read(name: str, sizes: Mapping[str, int], setting: str, text: str, instructions: Instructions) -> list[SplitSlice]:
    try:
        ranges = [(one.splitname, one.from_ or 0, one.to) for one in instructions(text)]
    except (ValueError, NotImplementedError) as error:
        known = ", ".join(f"{split} ({size})" for split, size in sizes.items())
        raise KsegError(
            f"{setting}: {text!r} is not in {name}, whose splits (with their sizes) are {known}; expected one of them, "
            "or a slice such as 'train[:10%]', 'train[100:]' or 'train+test'."
        ) from error
    slices = [SplitSlice(split, start, sizes[split] if stop is None else stop) for split, start, stop in ranges]
    if any(part.stop <= part.start for part in slices):
        raise KsegError(f"{setting}: {text!r} of {name} has no examples; expected at least one. Make it larger.")
    return slices


def _refuse_overlap(name: str, training: Sequence[SplitSlice], validation: Sequence[SplitSlice]) -> None:
    for ours in training:
        for theirs in validation:
            common = min(ours.stop, theirs.stop) - max(ours.start, theirs.start)
            if ours.split == theirs.split and common > 0:
                raise KsegError(
                    f"Training ({ours}) and validation ({theirs}) share {common} examples of {name}; expected none: a "
                    "score on images that the model was trained on does not tell how it does on others. Give a "
                    "train_split and a val_split that do not overlap, such as 'train[:80%]' and 'train[80%:]'."
                )
