"""Reads and measures the two files of an entry; whatever is wrong with a file is part of the result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile

from kseg.audit.entries import Entry
from kseg.audit.statistics import ImageStatistics, MaskStatistics, measure_image, measure_mask
from kseg.data.files.formats import header_orientation
from kseg.data.files.images import read_image
from kseg.data.files.masks import MaskAnnotation, read_mask
from kseg.data.files.pair import MaskExif, read_mask_of
from kseg.errors import KsegError

S = TypeVar("S", ImageStatistics, MaskStatistics)
F = TypeVar("F", Path, Path | MaskAnnotation)


@dataclass(frozen=True)
class Header:
    """What an image file says about itself before its pixels are read."""

    format: str
    """Pillow's name: PNG, JPEG, …"""
    mode: str
    """Pillow's mode: L, RGB, …"""
    bits: int
    """Bits per channel."""
    orientation: int
    """The EXIF orientation: 1 is upright, 5 to 8 lie on their side."""


@dataclass(frozen=True, eq=False)
class InspectedFile(Generic[S]):
    """A file: its header, and either its statistics or the reason why it cannot be read."""

    name: str
    header: Header | None = None
    """None if it has none, or Pillow does not know the format."""
    statistics: S | None = None
    """None if it cannot be read."""
    problem: str = ""
    """Why it cannot be read."""


@dataclass(frozen=True, eq=False)
class InspectedPair:
    """An image and its mask, of which one may be missing."""

    split: str
    image: InspectedFile[ImageStatistics] | None
    mask: InspectedFile[MaskStatistics] | None
    rivals: tuple[str, ...] = ()
    """The names of other files with the same stem."""

    @property
    def files(self) -> list[InspectedFile]:
        """The files that there are: image, mask."""
        return [file for file in (self.image, self.mask) if file]

    @property
    def name(self) -> str:
        """The name of the image, or else of the mask."""
        return self.files[0].name

    @property
    def image_statistics(self) -> ImageStatistics | None:
        """None if there is no image that can be read."""
        return self.image.statistics if self.image else None

    @property
    def mask_statistics(self) -> MaskStatistics | None:
        """None if there is no mask that can be read."""
        return self.mask.statistics if self.mask else None


def measured(files: Sequence[InspectedFile[S] | None]) -> list[tuple[str, S]]:
    """Return name and statistics of the files that could be read."""
    return [(file.name, file.statistics) for file in files if file and file.statistics]


@dataclass(frozen=True)
class Reader:
    """Reads the files of a data set by its rules."""

    bit_depth: int = 8
    channels: int = 3
    colours: tuple[str, ...] = ()
    mask_exif: MaskExif = "own"

    def image(self, file: Path) -> np.ndarray:
        """See `kseg.data.files.images.read_image`."""
        return read_image(str(file), self.bit_depth, self.channels)

    def mask(self, file: Path | MaskAnnotation, image: Path | None) -> np.ndarray:
        """See `kseg.data.files.pair.read_mask_of`; without an image the mask is read as it is."""
        mask = str(file) if isinstance(file, Path) else file
        return read_mask_of(str(image), mask, self.colours, self.mask_exif) if image else read_mask(mask, self.colours)


def inspect_entry(entry: Entry, reader: Reader, table: np.ndarray | None, thumbnail: bool) -> InspectedPair:
    """Read and measure both files of an entry.

    Args:
        entry: the files.
        reader: reads them.
        table: the kind of each mask value, see `measure_mask`.
        thumbnail: whether to make thumbnails.
    """
    image = mask = None
    if entry.image:
        image = _inspect(entry, entry.image, reader.image, lambda pixels: measure_image(pixels, thumbnail))
    if entry.mask:
        read = partial(reader.mask, image=entry.image)
        mask = _inspect(entry, entry.mask, read, lambda pixels: measure_mask(pixels, table, thumbnail))
    return InspectedPair(entry.split, image, mask, tuple(entry.name(path) for path in entry.rivals))


def _inspect(
    entry: Entry, file: F, read: Callable[[F], np.ndarray], measure: Callable[[np.ndarray], S]
) -> InspectedFile[S]:
    name, path, header = entry.name(file), file if isinstance(file, Path) else file.path, None
    try:
        header = read_header(path) if file is path else None  # a drawn mask has none
        return InspectedFile(name, header, measure(read(file)))
    except KsegError as error:
        problem = str(error).removeprefix(f"{path} ").replace(str(path), path.name)
    # Decoders raise many kinds of errors on a damaged file; the other files are still to be read.
    except Exception as error:
        problem = f"cannot be read: {type(error).__name__}: {error}"
    return InspectedFile(name, header, None, problem)


def read_header(path: Path) -> Header | None:
    """Return the header of an image file, without reading its pixels; None if Pillow does not know the format."""
    try:
        with Image.open(path) as file:
            return Header(file.format or "", file.mode, _bits(file), header_orientation(file))
    except (OSError, Image.DecompressionBombError):
        return None


def _bits(file: ImageFile) -> int:
    stored = str(file.tile[0].args) if file.tile else ""
    if file.mode.startswith("I;16") or ";16" in stored:
        return 16
    return {"1": 1, "I": 32, "F": 32}.get(file.mode, 8)
