"""An image file, opened: whatever is wrong with it becomes a `KsegError` that names it."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
from PIL import Image, ImageOps

from kseg.data.files.bands import MOST_CHANNELS, ORIENTATION, Bands, find_bands
from kseg.errors import KsegError

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp"})

MODES_OF_16_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
"""Pillow's. It would clip, not scale, them."""

# By content, whatever a file is called. For others Pillow may run a program of the machine, such as Ghostscript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


@dataclass(frozen=True)
class HeldFile:
    """An image file that lies in something larger, under a name for messages."""

    name: str
    read: Callable[[], bytes]
    """Gets its bytes, or raises a `KsegError`."""
    is_upright: bool = False
    """Whether its rows stand as they are shown, whatever an EXIF tag says."""

    def __str__(self) -> str:
        return self.name


File = str | HeldFile
"""A path, or what stands for one."""


@runtime_checkable
class DrawnMask(Protocol):
    """A mask that no file holds as pixels: outlines, drawn when it is read. Small, and can be pickled."""

    path: Path
    """The file that describes it; `str` names the place in it."""

    def draw(self) -> np.ndarray:
        """Class indices, uint16 `(H, W, 1)`, of the size of the upright image.

        Raises:
            KsegError: what is described cannot be drawn on that image.
        """


@contextlib.contextmanager
def named_errors(path: File) -> Iterator[None]:
    """Turn whatever a parser raises into a `KsegError` that names the file."""
    try:
        yield
    except KsegError:
        raise
    except Exception as error:  # on damaged files parsers raise whatever they come across
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise KsegError(f"{path} cannot be read: {reason}. Expected a whole image file. Replace it.") from error


@contextlib.contextmanager
def opened(path: File) -> Iterator[Bands | Image.Image]:
    """A file of which nothing but the header was read."""
    # Given the path, Pillow 13 maps a TIFF without compression, and mixes up the pixels of one that is turned.
    with _stream(path) as file:
        if bands := find_bands(file):
            # Eight bytes a pixel are allowed for; what has more of them may have fewer pixels.
            _check_size(path, bands.height, bands.width * max(1, bands.channels * bands.dtype.itemsize // 8))
            _check_channels(path, bands.channels)
            yield bands
            return
        file.seek(0)
        with Image.open(file, formats=_FORMATS) as picture:
            _check_header(path, picture)
            if isinstance(path, HeldFile) and path.is_upright:
                picture.getexif().pop(ORIENTATION, None)
            yield picture


def _stream(path: File) -> BinaryIO:
    return io.BytesIO(path.read()) if isinstance(path, HeldFile) else Path(path).open("rb")


def file_bytes(path: File) -> bytes:
    """What a file holds."""
    with _stream(path) as file:
        return file.read()


def _check_header(path: str, picture: Image.Image) -> None:
    _check_size(path, picture.height, picture.width)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a phone's JPEG of this kind is one picture, and previews of it
        raise KsegError(f"{path} holds {frames} frames; expected one. Save each as a file of its own.")
    if ";16" in stored_as(picture) and picture.mode not in MODES_OF_16_BITS:
        raise KsegError(
            f"{path} holds channels of 16 bits, of which Pillow reads 8; expected RGB or grey. Convert it first."
        )


def upright(picture: Image.Image) -> np.ndarray:
    """The pixels, turned as EXIF says."""
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(picture)


def upright_shape(picture: Bands | Image.Image) -> tuple[int, int, int]:
    """Height, width and channels, from the header; 3 channels of a picture that Pillow reads."""
    if isinstance(picture, Bands):
        height, width, channels, orientation = picture.height, picture.width, picture.channels, picture.orientation
    else:
        height, width, channels, orientation = picture.height, picture.width, 3, header_orientation(picture)
    return (width, height, channels) if 5 <= orientation <= 8 else (height, width, channels)


def header_orientation(picture: Image.Image) -> int:
    """EXIF's orientation, if it stands before the pixels: 1 is upright, 5 to 8 lie on their side."""
    # Pillow would read a whole PNG to look for EXIF behind its pixels.
    has_exif = "exif" in picture.info or picture.format == "TIFF"
    return picture.getexif().get(ORIENTATION, 1) if has_exif else 1


def stored_as(picture: Image.Image) -> str:
    """The layout of a pixel in the file, in Pillow's words, where it says so before reading it."""
    arguments = picture.tile[0].args if picture.tile else ""
    return arguments if isinstance(arguments, str) else str(next(iter(arguments), ""))


def is_npy(path: File) -> bool:
    """Whether that is an array, which `npy` maps."""
    return str(path).lower().endswith(".npy")


def npy(path: str) -> np.ndarray:
    """An array `(H, W, C)` that is mapped, not read. The file has to be as long as its header says, and pickles
    cannot be mapped."""
    values = np.lib.format.open_memmap(path, mode="r")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise KsegError(f"{path} has the shape {values.shape}; expected (H, W) or (H, W, C), and something in it.")
    _check_size(path, *values.shape[:2])
    values = values if values.ndim == 3 else values[..., None]
    _check_channels(path, values.shape[2])
    return values


def _check_size(path: str, height: int, width: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit and height * width > limit:
        raise KsegError(
            f"{path} is {width} x {height} (width x height); expected at most {limit} pixels. Cut it into tiles."
        )


def _check_channels(path: str, channels: int) -> None:
    if channels > MOST_CHANNELS:
        raise KsegError(
            f"{path} has {channels} channels; expected 1 to {MOST_CHANNELS}. Choose some of them, and save those."
        )
