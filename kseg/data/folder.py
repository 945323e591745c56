"""A folder of images and masks as a source; `layouts.py` finds the pairs, `files.py` reads them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np

from kseg.data.files import (
    File,
    check_headers,
    file_bytes,
    find_bit_depth,
    find_channels,
    read_mask,
    read_pair,
    refuse_colours,
)
from kseg.data.layouts import find_layout
from kseg.data.sources import contents
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf


T = TypeVar("T")


class PairReader(ABC):
    """Reads pairs of an image file and a mask file, however it comes by them."""

    bit_depth: int
    channels: int
    colours: tuple[str, ...]

    @abstractmethod
    def files(self, index: int, *content: bytes) -> tuple[File, File]:
        """The image file and the mask file of an example."""

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(*self.files(index, *content), self.bit_depth, self.channels, self.colours)

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        return read_mask(self.files(index, *content)[1], self.colours)

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        return file_bytes(self.files(index, *content)[0])


@dataclass(frozen=True)
class FileSource(PairReader):
    """Pairs of an image file and a mask file, reached by their place; see `kseg.data.Source`."""

    name: str
    pairs: Sequence[Any]
    """What `files` makes the two files of."""
    layout: str = "as given"
    bit_depth: int = 8
    channels: int = 3
    colours: tuple[str, ...] = ()

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

        with ThreadPoolExecutor() as threads:
            looks = threads.map(look, range(len(self)))
            yield from tqdm(looks, f"Checking {self.name}", len(self), unit=" images", delay=2, leave=False)

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        return by_place(len(self), key)

    order = examples


Files = TypeVar("Files", bound=FileSource)


@dataclass(frozen=True)
class FolderSource(FileSource):
    """Pairs of paths."""

    @property
    def images(self) -> list[Path]:
        """The image files, in the source's order."""
        return [image for image, _ in self.pairs]

    @property
    def masks(self) -> list[Path]:
        """The mask files, in the source's order."""
        return [mask for _, mask in self.pairs]

    def files(self, index: int) -> tuple[str, str]:
        image, mask = self.pairs[index]
        return str(image), str(mask)

    def contents(self) -> str:
        files = [*self.images, *self.masks]
        return contents(len(self), ((path.parent.name, path.name, path.stat().st_size) for path in files))


def by_place(count: int, key: "tf.Tensor | None") -> "tf.data.Dataset":
    """The indices of so many examples, as tuples of one, in their own order or in that of a key."""
    import tensorflow as tf

    places = tf.data.Dataset.range(count)
    if key is None:
        return places.map(lambda place: (place,))
    return places.map(lambda place: (shuffled(place, key, count),))


def shuffled(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Which of `size` examples stands at a position of the order of `key`: a permutation without a buffer."""
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)


def open_folder(
    folder: Path,
    *,
    val_fraction: float,
    seed: int,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
) -> tuple[FolderSource, FolderSource]:
    """The training and the validation source of a folder, both read by the rules that the training images give.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: there are no images, or images and masks do not pair; `colours` is `auto`, and masks are in colours.
    """
    found = find_layout(folder)
    training = FolderSource(found.training.name, found.training.pairs, found.rule)
    if found.validation:
        validation = FolderSource(found.validation.name, found.validation.pairs, found.rule)
    else:
        training, validation = hold_out(training, val_fraction, seed)
    return read_alike(str(folder), training, validation, take=take, bit_depth=bit_depth, colours=colours)


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
        KsegError: `colours` is `auto`, and masks are in colours.
    """
    if take is not None:
        training, validation = training.take(take), validation.take(take)
    images, masks = zip(*map(training.files, range(len(training))), strict=True)
    if bit_depth == "auto":
        bit_depth = find_bit_depth(images)
    if colours == "auto":
        refuse_colours(name, masks)
        colours = ()
    read_as = {"bit_depth": bit_depth, "channels": find_channels(images), "colours": tuple(colours)}
    return replace(training, **read_as), replace(validation, **read_as)


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
