"""Data sources whose examples are pairs of an image file and a mask file."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, TypeVar

import numpy as np

from kseg.data.files.formats import ImageFile, read_bytes
from kseg.data.files.images import find_bit_depth, find_channels
from kseg.data.files.masks import MaskAnnotation, class_colours, refuse_colours
from kseg.data.files.pair import MaskExif, check_headers, read_mask_of, read_pair
from kseg.data.files.palettes import refuse_unclear_palettes
from kseg.data.files.turned import find_turn, fits_stored_pixels
from kseg.data.sources.order import Key, index_order
from kseg.data.threads import map_in_threads
from kseg.errors import KsegError
from kseg.progress import progress

_MOST_TO_TURN = 1000  # images of which the EXIF tag is read before training

T = TypeVar("T")


class PairReader(ABC):
    """The reading half of `kseg.data.Source`, for a source that gives each image and each mask as a file."""

    bit_depth: int
    channels: int
    colours: tuple[str, ...]
    """The mask colours of the classes, in order; empty if masks hold class indices."""
    mask_exif: MaskExif = "own"

    @abstractmethod
    def files(self, index: int, *content: bytes) -> tuple[ImageFile, ImageFile | MaskAnnotation]:
        """Return the image file of an example, and its mask file or the annotation that draws the mask."""

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """See `kseg.data.Source`."""
        files = self.files(index, *content)
        return read_pair(*files, self.bit_depth, self.channels, self.colours, self.mask_exif)

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        """See `kseg.data.Source`."""
        return read_mask_of(*self.files(index, *content), self.colours, self.mask_exif)

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        """See `kseg.data.Source`."""
        return read_bytes(self.files(index, *content)[0])


@dataclass(frozen=True)
class FileSource(PairReader):
    """A `kseg.data.Source` of pairs that can be read in any order."""

    name: str
    pairs: Sequence[Any]
    """What `files` turns into two files, one entry for each example."""
    layout: str = "as given"
    bit_depth: int = 8
    channels: int = 3
    colours: tuple[str, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)
    labels: tuple[str, ...] = ()
    mask_exif: MaskExif = "own"

    def __len__(self) -> int:
        return len(self.pairs)

    def take(self, count: int) -> Self:
        """See `kseg.data.Source`."""
        return self.subset(range(min(count, len(self))))

    def subset(self, indices: Sequence[int]) -> Self:
        """Return the examples at these indices, in this order."""
        return replace(self, pairs=[self.pairs[i] for i in indices])

    def check_headers(self) -> None:
        """See `kseg.data.Source`."""
        for _ in self._for_each(lambda index: check_headers(*self.files(index), self.channels, self.mask_exif)):
            pass

    def drop_unreadable(self) -> tuple[Self, list[str]]:
        """See `kseg.data.Source`."""

        def fault(index: int) -> str | None:
            try:
                self.read(index)
            except KsegError as error:
                return str(error)
            return None

        faults = list(self._for_each(fault))
        good = [index for index, message in enumerate(faults) if message is None]
        return self.subset(good), [message for message in faults if message is not None]

    def _for_each(self, check: Callable[[int], T]) -> Iterator[T]:
        """Call a function for every index, in threads, and show a progress bar."""
        results = map_in_threads(check, index_order(len(self), None))
        yield from progress(results, f"Checking {self.name}", len(self), unit="images")

    def count_masks_of_stored_pixels(self) -> tuple[int, int]:
        """Return how many of the first images an EXIF tag turns, but not their masks, and whose sizes do not tell
        whether it should; and how many of these masks fit the stored pixels better than the turned picture.

        A file that cannot be read is left out here; reading it later raises.
        """
        found = []
        for index in range(min(len(self), _MOST_TO_TURN)):
            with contextlib.suppress(KsegError):
                turn = find_turn(*self.files(index))
                if turn != 1:
                    found.append(fits_stored_pixels(*self.read(index), turn))
        return len(found) - found.count(None), found.count(True)

    def examples(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int]]:
        """See `kseg.data.Source`."""
        return index_order(len(self), key, start)

    indices = examples


Files = TypeVar("Files", bound=FileSource)


def set_reading_rules(
    name: str,
    training: Files,
    validation: Files,
    *,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
    mask_exif: MaskExif,
) -> tuple[Files, Files]:
    """Return both sources of a data set with one bit depth, number of channels, list of colours, and reading of EXIF.

    Where these have to be found, they are found in the training images.

    Args:
        name: the name of the data set, for messages.
        training: the training source.
        validation: the validation source.
        take: as in `kseg.data.open_sources`.
        bit_depth: as in `kseg.data.open_sources`.
        colours: as in `kseg.data.open_sources`.
        mask_exif: as in `kseg.data.open_sources`.

    Raises:
        KsegError: as from `check_colours`; images differ in their number of channels, or cannot be read.
    """
    if take is not None:
        training, validation = training.take(take), validation.take(take)
    images, masks = zip(*map(training.files, range(len(training))), strict=True)
    if bit_depth == "auto":
        bit_depth = find_bit_depth(images)
    colours = check_colours(name, colours, masks, training.classes)
    channels = find_channels(images)
    classes = training.classes or dict(enumerate(class_colours(colours)[1:], start=1))

    def with_rules(source: Files) -> Files:
        return replace(
            source, bit_depth=bit_depth, channels=channels, colours=colours, classes=classes, mask_exif=mask_exif
        )

    return with_rules(training), with_rules(validation)


def check_colours(
    name: str,
    colours: Sequence[str] | Literal["auto"],
    masks: Sequence[ImageFile | MaskAnnotation],
    classes: Mapping[int, str],
) -> tuple[str, ...]:
    """Return the colours of the classes in a data set's masks; none if the masks hold class indices.

    Args:
        name: the name of the data set, for messages.
        colours: as in `kseg.data.open_sources`.
        masks: the mask files.
        classes: the class names of a data set that has them, as annotations have; else empty.

    Raises:
        KsegError: `colours` is `auto` and a mask is in colours, or palettes contradict each other; or it is not, and
            the data set names its classes.
    """
    if colours != "auto" and classes:
        raise KsegError(
            f"colours: {', '.join(colours)} is not allowed for {name}, which names its classes; expected auto."
        )
    if colours == "auto":
        files = [mask for mask in masks if not isinstance(mask, MaskAnnotation)]
        refuse_colours(name, files)
        refuse_unclear_palettes(name, files)
    return () if colours == "auto" else tuple(colours)


def split_by_seed(source: Files, val_fraction: float, seed: int) -> tuple[Files, Files]:
    """Return a training and a validation source: a random share of the examples is for validation.

    Raises:
        KsegError: there is only one example.
    """
    if len(source) < 2:
        raise KsegError(f"{source.name} has one image; expected two or more, to train and to validate on.")
    number = min(max(round(len(source) * val_fraction), 1), len(source) - 1)
    order = np.random.default_rng(seed).permutation(len(source))
    return source.subset(sorted(order[number:])), source.subset(sorted(order[:number]))
