"""Which examples of a data set that comes in splits to train on, and which to validate on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

_VALIDATION_NAMES = ("validation", "val", "valid", "test")


@dataclass(frozen=True)
class Part:
    """The examples `start` to `stop` of a split."""

    split: str
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __str__(self) -> str:
        return f"{self.split}[{self.start}:{self.stop}]"


def find_parts(
    name: str, splits: "Mapping[str, tfds.core.SplitInfo]", train_split: str | None, val_split: str | None
) -> tuple[list[Part], list[Part] | None]:
    """What to train on, and what to validate on; None if neither the data set nor anybody else says what.

    Args:
        name: of the data set.
        splits: those that it has.
        train_split: in the words of TFDS, such as `train[:10%]`; None is `train`.
        val_split: likewise; None is the first of validation, val, valid and test that is there, and not trained on.

    Raises:
        KsegError: there is no such split, it has no examples, or some are in both.
    """
    training = _read(name, splits, "train_split", train_split or "train")
    if not val_split:
        free = set(splits) - {part.split for part in training}
        val_split = next((split for split in _VALIDATION_NAMES if split in free), None)
        if not val_split:
            return training, None
    validation = _read(name, splits, "val_split", val_split)
    _refuse_overlap(name, training, validation)
    return training, validation


def cut(parts: Sequence[Part], start: int, stop: int) -> list[Part]:
    """The examples at the places `start` to `stop` of these parts.

    >>> [str(part) for part in cut([Part("train", 0, 10), Part("test", 5, 9)], 8, 12)]
    ['train[8:10]', 'test[5:7]']
    """
    found, before = [], 0
    for part in parts:
        first, last = (min(max(place - before, 0), len(part)) + part.start for place in (start, stop))
        if first < last:
            found.append(Part(part.split, first, last))
        before += len(part)
    return found


def _read(name: str, splits: "Mapping[str, tfds.core.SplitInfo]", setting: str, text: str) -> list[Part]:
    import tensorflow_datasets as tfds

    try:
        slices = tfds.core.ReadInstruction.from_spec(text).to_absolute(dict(splits))
    except (ValueError, NotImplementedError) as error:
        sizes = ", ".join(f"{split} ({info.num_examples})" for split, info in splits.items())
        raise KsegError(
            f"{setting}: {text!r} is not in {name}, whose splits (with their sizes) are {sizes}; expected one of them, "
            "or a slice such as 'train[:10%]', 'train[100:]' or 'train+test'."
        ) from error
    wanted = [(slice_.splitname, slice_.from_ or 0, slice_.to) for slice_ in slices]
    parts = [Part(split, start, splits[split].num_examples if stop is None else stop) for split, start, stop in wanted]
    if any(part.stop <= part.start for part in parts):
        raise KsegError(f"{setting}: {text!r} of {name} has no examples; expected at least one. Make it larger.")
    return parts


def _refuse_overlap(name: str, training: Sequence[Part], validation: Sequence[Part]) -> None:
    for ours in training:
        for theirs in validation:
            common = min(ours.stop, theirs.stop) - max(ours.start, theirs.start)
            if ours.split == theirs.split and common > 0:
                raise KsegError(
                    f"{ours} is to train on, {theirs} to validate on, and {common} examples of {name} are in both; "
                    "expected none. A score on what was trained on says nothing of other images. Give a train_split "
                    "and a val_split apart, such as 'train[:80%]' and 'train[80%:]'."
                )
