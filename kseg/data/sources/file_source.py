"""Data sources whose examples are files with an index."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from kseg.data.files.formats import ImageFile, read_bytes
from kseg.data.files.images import find_bit_depth, find_channels
from kseg.data.files.masks import MaskAnnotation, class_colours, read_mask, refuse_colours
from kseg.data.files.pair import check_headers, read_pair
from kseg.data.sources.order import by_place
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf

_AT_ONCE = 1000  # pairs

T = TypeVar("T")


class PairReader(ABC):
    """Reads pairs of an image file and a mask file, however it comes by them."""

    bit_depth: int
    channels: int
    colours: tuple[str, ...]

    @abstractmethod
    def files(self, index: int, *content: bytes) -> tuple[ImageFile, ImageFile | MaskAnnotation]:
        """The image file of an example, and its mask file or what draws it."""

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(*self.files(index, *content), self.bit_depth, self.channels, self.colours)

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        return read_mask(self.files(index, *content)[1], self.colours)

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        return read_bytes(self.files(index, *content)[0])


@dataclass(frozen=True)
class FileSource(PairReader):
    """Pairs of an image file and a mask, a file or what draws it, reached by their place; see `kseg.data.Source`."""

    name: str
    pairs: Sequence[Any]
    """What `files` makes the two files of."""
    layout: str = "as given"
    bit_depth: int = 8
    channels: int = 3
    colours: tuple[str, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, count: int) -> Self:
        return self.subset(range(min(count, len(self))))

    def subset(self, indices: Sequence[int]) -> Self:
        """The examples at these indices, in this order."""
        return replace(self, pairs=[self.pairs[i] for i in indices])

    def check_headers(self) -> None:
        for _ in self._each(lambda index: check_headers(*self.files(index), self.channels)):
            pass

    def readable(self) -> tuple[Self, list[str]]:
        def fault(index: int) -> str | None:
            try:
                self.read(index)
            except KsegError as error:
                return str(error)
            return None

        faults = list(self._each(fault))
        kept = [index for index, found in enumerate(faults) if found is None]
        return self.subset(kept), [found for found in faults if found is not None]

    def _each(self, look: Callable[[int], T]) -> Iterator[T]:
        """Look at all pairs in threads, since Pillow lets go of Python, behind a progress bar."""
        from tqdm import tqdm

        # What waits for a thread takes memory, so that it is not all of a large data set.
        parts = (range(first, min(first + _AT_ONCE, len(self))) for first in range(0, len(self), _AT_ONCE))
        with ThreadPoolExecutor() as threads:
            looks = chain.from_iterable(threads.map(look, part) for part in parts)
            yield from tqdm(looks, f"Checking {self.name}", len(self), unit=" images", delay=2, leave=False)

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        return by_place(len(self), key)

    order = examples


Files = TypeVar("Files", bound=FileSource)


def read_alike(
    name: str,
    training: Files,
    validation: Files,
    *,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
) -> tuple[Files, Files]:
    """Both sources of a data set of that name, read by the rules that the training images give.

    Other arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: `colours` is `auto`, and masks are in colours, or it is not, and masks are drawn.
    """
    if take is not None:
        training, validation = training.take(take), validation.take(take)
    images, masks = zip(*map(training.files, range(len(training))), strict=True)
    if bit_depth == "auto":
        bit_depth = find_bit_depth(images)
    colours = checked_colours(name, colours, masks, training.classes)
    read_as = {
        "bit_depth": bit_depth,
        "channels": find_channels(images),
        "colours": colours,
        "classes": training.classes or dict(enumerate(class_colours(colours)[1:], start=1)),
    }
    return replace(training, **read_as), replace(validation, **read_as)


def checked_colours(
    name: str,
    colours: Sequence[str] | Literal["auto"],
    masks: Sequence[ImageFile | MaskAnnotation],
    classes: Mapping[int, str],
) -> tuple[str, ...]:
    """The colours by which these masks, in a data set of that name, are read; none where they hold class indices.

    Raises:
        KsegError: as from `read_alike`.
    """
    if colours != "auto" and classes:
        raise KsegError(
            f"colours: {', '.join(colours)} is not allowed for {name}, where masks are drawn from annotations; "
            "expected auto."
        )
    if colours == "auto" and not classes:
        refuse_colours(name, masks)
    return () if colours == "auto" else tuple(colours)


def hold_out(source: Files, val_fraction: float, seed: int) -> tuple[Files, Files]:
    """What to train on, and a share of the examples to validate on, which the seed draws.

    Raises:
        KsegError: there is only one example.
    """
    if len(source) < 2:
        raise KsegError(f"{source.name} has one image; expected two or more, to train and to validate on.")
    held_out = min(max(round(len(source) * val_fraction), 1), len(source) - 1)
    order = np.random.default_rng(seed).permutation(len(source))
    return source.subset(sorted(order[held_out:])), source.subset(sorted(order[:held_out]))
