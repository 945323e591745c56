"""File formats: open an image file, read its header, and name the file in every error."""

import contextlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeGuard

import numpy as np
from PIL import Image, ImageOps
from PIL.ImageFile import ImageFile as PillowFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from kseg.data.files.bands import MAX_CHANNELS, ORIENTATION, BandImage, find_band_image
from kseg.errors import KsegError

EXTENSIONS = frozenset({".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp"})

ON_ITS_SIDE = range(5, 9)
"""EXIF orientations that turn an image by a quarter."""

MODES_OF_16_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
"""Modes of Pillow. Pillow would clip their values to 8 bits, not scale them."""

_BMP_BITS = 28  # where a BMP states its bits a pixel
_PHOTOMETRIC = 0x0106  # a TIFF tag: 0 is WhiteIsZero
_PNG_ORIENTATION = (b"eXIf", b"xmp", b"Raw profile type")  # in what of a PNG Pillow looks for an EXIF orientation

# Pillow tells these by content, not by extension. For other formats it may start a program such as Ghostscript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")


@dataclass(frozen=True)
class EmbeddedFile:
    """An image file inside a larger file, such as a TFRecord."""

    name: str
    """What messages call it."""
    read: Callable[[], bytes]
    """Returns its bytes, or raises a `KsegError`."""
    is_upright: bool = False
    """True: the stored rows are upright already, and an EXIF tag is ignored."""

    def __str__(self) -> str:
        return self.name


ImageFile = str | EmbeddedFile
"""A path, or a file inside a larger one."""


@contextlib.contextmanager
def file_errors(path: ImageFile) -> Iterator[None]:
    """Turn every exception of a decoder into a `KsegError` that names the file."""
    try:
        yield
    except KsegError:
        raise
    except Exception as error:  # a damaged file can raise anything in a decoder
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise KsegError(f"{path} cannot be read: {reason}. Expected a whole image file. Replace it.") from error


@contextlib.contextmanager
def open_image(path: ImageFile) -> Iterator[BandImage | PillowFile]:
    """Open a file that is no `.npy`; only its header is read."""
    # Pillow gets the stream, not the path: given a path, Pillow 13 maps an uncompressed TIFF into memory, and mixes up
    # the pixels if its EXIF tag turns it.
    with _stream(path) as file:
        if bands := find_band_image(file):
            # The limit assumes up to 8 bytes a pixel; an image with more bytes a pixel may have fewer pixels.
            _check_size(path, bands.height, bands.width * max(1, bands.channels * bands.dtype.itemsize // 8))
            _check_channels(path, bands.channels)
            yield bands
            return
        file.seek(0)
        with Image.open(file, formats=_FORMATS) as picture:
            _check_header(path, picture)
            if _is_misread_bmp(picture, file):
                raise KsegError(
                    f"{path} is a BMP of 8 bits with a palette of black and white, which Pillow misreads; expected no "
                    "palette, or 1 bit. Save it as PNG."
                )
            if isinstance(path, EmbeddedFile) and path.is_upright:
                picture.getexif().pop(ORIENTATION, None)
            yield picture


def _stream(path: ImageFile) -> BinaryIO:
    return io.BytesIO(path.read()) if isinstance(path, EmbeddedFile) else Path(path).open("rb")


def read_bytes(path: ImageFile) -> bytes:
    """Return the encoded content of a file."""
    with _stream(path) as file:
        return file.read()


def _check_header(path: ImageFile, picture: PillowFile) -> None:
    _check_size(path, picture.height, picture.width)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # MPO: the JPEG of a phone, one picture with previews
        raise KsegError(f"{path} has {frames} frames; expected one. Save each frame as its own file.")
    if ";16" in pixel_layout(picture) and picture.mode not in MODES_OF_16_BITS:
        raise KsegError(
            f"{path} has 16 bits a channel, and Pillow reads 8 of them; expected RGB or grey. Convert it first."
        )


def _is_misread_bmp(picture: PillowFile, file: BinaryIO) -> bool:
    """Return whether Pillow takes a BMP of 8 bits, with black and white as its palette, for one of 1 bit."""
    if picture.format != "BMP" or picture.mode != "1":
        return False
    place = file.tell()
    file.seek(_BMP_BITS)
    bits = int.from_bytes(file.read(2), "little")
    file.seek(place)
    return bits != 1


def upright_pixels(picture: Image.Image, mode: str | None = None) -> np.ndarray:
    """Return the pixels of an opened picture, turned by its EXIF tag; converted to a mode of Pillow, if one is given.

    Those of a plain PNG are decoded by libpng, in three quarters of Pillow's time.
    """
    if mode in (None, picture.mode) and (pixels := _plain_png(picture)) is not None:
        return pixels
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(picture if mode in (None, picture.mode) else picture.convert(mode))


def _plain_png(picture: Image.Image) -> np.ndarray | None:
    """Return the pixels of a PNG in grey or RGB of 8 bits that no tag turns; None: leave the file to Pillow."""
    if not isinstance(picture, PngImageFile) or picture.fp is None:
        return None
    is_plain = picture.mode in ("L", "RGB") and pixel_layout(picture) == picture.mode
    if not is_plain or {"transparency", "interlace"} & picture.info.keys():
        return None
    import imagecodecs

    place = picture.fp.tell()
    picture.fp.seek(0)
    content = picture.fp.read()
    picture.fp.seek(place)
    if any(tag in content for tag in _PNG_ORIENTATION):
        return None
    with contextlib.suppress(imagecodecs.PngError):  # of a damaged file Pillow says what is wrong
        return imagecodecs.png_decode(content)
    return None


def upright_shape(picture: BandImage | PillowFile) -> tuple[int, int, int]:
    """Return height, width and channels from the header; Pillow's pictures always count as 3 channels."""
    if isinstance(picture, BandImage):
        channels, orientation = picture.channels, picture.orientation
    else:
        channels, orientation = 3, header_orientation(picture)
    height, width = picture.height, picture.width
    return (width, height, channels) if orientation in ON_ITS_SIDE else (height, width, channels)


def header_orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation if the header has it: 1 is upright, 5 to 8 lie on their side."""
    # A PNG may have EXIF after its pixels; to look for it Pillow would decode the whole file.
    has_exif = "exif" in picture.info or picture.format == "TIFF"
    return picture.getexif().get(ORIENTATION, 1) if has_exif else 1


def pixel_layout(picture: PillowFile) -> str:
    """Return Pillow's name for the stored layout of a pixel, such as `L;4`; empty if the header does not say."""
    arguments = picture.tile[0].args if picture.tile else ""
    return arguments if isinstance(arguments, str) else str(next(iter(arguments or ()), ""))


def is_white_zero(picture: Image.Image) -> bool:
    """Return whether this is a grey TIFF in which 0 is white (PhotometricInterpretation 0)."""
    return isinstance(picture, TiffImageFile) and picture.tag_v2.get(_PHOTOMETRIC) == 0


def is_npy(path: ImageFile) -> TypeGuard[str]:
    """Whether this is the path of a NumPy array, which `open_npy` opens."""
    return not isinstance(path, EmbeddedFile) and str(path).lower().endswith(".npy")


def open_npy(path: str) -> np.ndarray:
    """Map a `.npy` file into memory as `(H, W, C)`, unread.

    NumPy raises ValueError if the file is shorter than its header says, or holds Python objects.
    """
    values: np.ndarray = np.lib.format.open_memmap(path, mode="r")
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise KsegError(f"{path} has the shape {values.shape}; expected (H, W) or (H, W, C) with at least one pixel.")
    _check_size(path, *values.shape[:2])
    values = values if values.ndim == 3 else values[..., None]
    _check_channels(path, values.shape[2])
    return values


def _check_size(path: ImageFile, height: int, width: int) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    if limit and height * width > limit:
        raise KsegError(
            f"{path} is {width} x {height} (width x height); expected at most {limit} pixels. Cut it into tiles."
        )


def _check_channels(path: ImageFile, channels: int) -> None:
    if channels > MAX_CHANNELS:
        raise KsegError(
            f"{path} has {channels} channels; expected 1 to {MAX_CHANNELS}. Choose some of them, and save those."
        )
