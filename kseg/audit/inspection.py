"""One look at a pair: what its files say of themselves, and what was measured in them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kseg.audit.entries import Pair
from kseg.audit.statistics import ImageLook, MaskLook, look_at_image, look_at_mask
from kseg.data.files.formats import header_orientation
from kseg.data.files.images import read_image
from kseg.data.files.masks import MaskAnnotation, read_mask
from kseg.errors import KsegError


@dataclass(frozen=True)
class Header:
    """What a file says of itself before its pixels are read."""

    format: str
    """Pillow's name: PNG, JPEG, …"""
    mode: str
    """Pillow's mode: L, RGB, …"""
    bits: int
    """A channel's."""
    orientation: int
    """EXIF's: 1 is upright, 5 to 8 lie on their side."""


@dataclass(frozen=True, eq=False)
class Look:
    """What was seen of an image and its mask; None is what could not be seen."""

    split: str
    image_name: str | None
    mask_name: str | None
    rivals: tuple[str, ...] = ()
    image_header: Header | None = None
    mask_header: Header | None = None
    image: ImageLook | None = None
    mask: MaskLook | None = None
    image_problem: str = ""
    """Why the image file cannot be read."""
    mask_problem: str = ""

    @property
    def name(self) -> str:
        """What to call the pair: its image, or else its mask."""
        return self.image_name or self.mask_name


@dataclass(frozen=True)
class Reading:
    """How the files of a data set are read."""

    bit_depth: int = 8
    channels: int = 3
    colours: tuple[str, ...] = ()

    def image(self, path: Path) -> np.ndarray:
        """See `kseg.data.image_files.read_image`."""
        return read_image(str(path), self.bit_depth, self.channels)

    def mask(self, mask: Path | MaskAnnotation) -> np.ndarray:
        """See `kseg.data.mask_files.read_mask`."""
        return read_mask(str(mask) if isinstance(mask, Path) else mask, self.colours)


def look_at_pair(pair: Pair, reading: Reading, table: np.ndarray | None, thumbnail: bool) -> Look:
    """Read and measure both files of a pair. Whatever is wrong with a file is in what is returned."""
    seen = Look(pair.split, pair.name(pair.image), pair.name(pair.mask), tuple(pair.name(path) for path in pair.rivals))
    if pair.image:
        header, image, problem = _read(pair.image, reading.image, lambda pixels: look_at_image(pixels, thumbnail))
        seen = replace(seen, image_header=header, image=image, image_problem=problem)
    if pair.mask:
        header, mask, problem = _read(pair.mask, reading.mask, lambda pixels: look_at_mask(pixels, table, thumbnail))
        seen = replace(seen, mask_header=header, mask=mask, mask_problem=problem)
    return seen


def _read(content: Path | MaskAnnotation, read: Callable, measure: Callable) -> tuple[Header | None, Any, str]:
    """The header, the measures and the problem of a file; what is drawn has no header."""
    header, path = None, content if isinstance(content, Path) else content.path
    try:
        header = read_header(path) if content is path else None
        return header, measure(read(content)), ""
    except KsegError as error:
        return header, None, str(error).removeprefix(f"{path} ").replace(str(path), path.name)
    # Of a damaged file a decoder raises all sorts of things; the others are still to be read.
    except Exception as error:
        return header, None, f"cannot be read: {type(error).__name__}: {error}"


def read_header(path: Path) -> Header | None:
    """What an image file says of itself, pixels unread; None where Pillow does not know the format."""
    try:
        with Image.open(path) as file:
            return Header(file.format, file.mode, _bits(file), header_orientation(file))
    except (OSError, Image.DecompressionBombError):
        return None


def _bits(file: Image.Image) -> int:
    stored = str(file.tile[0].args) if file.tile else ""
    if file.mode.startswith("I;16") or ";16" in stored:
        return 16
    return {"1": 1, "I": 32, "F": 32}.get(file.mode, 8)
