"""Read an image file as uint8 `(H, W, C)`, upright and without alpha."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile as PillowFile

from kseg.data.files.bands import ORIENTATION, BandImage
from kseg.data.files.formats import (
    MODES_OF_16_BITS,
    ImageFile,
    file_errors,
    is_npy,
    is_white_zero,
    open_image,
    open_npy,
    upright_pixels,
    upright_shape,
)
from kseg.errors import KsegError

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""Bits of the values that cameras and microscopes write, stored in 8 or 16 bits."""

_MAX_SAMPLES = 64

# Pillow's modes.
_GREY_MODES = frozenset({"1", "L", "LA"})
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}) | MODES_OF_16_BITS


def read_image(path: ImageFile, bit_depth: int = 8, channels: int = 3) -> np.ndarray:
    """Read an image file as uint8 `(H, W, C)`, turned upright by its EXIF tag, without alpha.

    Args:
        path: a file with one of `EXTENSIONS`, or an `EmbeddedFile`.
        bit_depth: in a file of 16 bits a channel, `2**bit_depth - 1` becomes 255. Files of 8 bits are not scaled.
        channels: the number of channels to return; with 3, a grey image gives three equal channels.

    Raises:
        KsegError: the file cannot be read, has several frames or another number of channels, exceeds Pillow's size
            limit, or has a value above `2**bit_depth - 1`.
    """
    values = image_values(path)
    check_same_channels(path, values.shape[2], channels)
    values = values if values.dtype == np.uint8 else to_8_bits(values, bit_depth, path)
    # A view: the three channels of a grey image share their memory.
    return np.broadcast_to(values, (*values.shape[:2], channels))


def image_shape(path: ImageFile) -> tuple[int, int, int]:
    """Return height, width and channels of the upright image, from its header; Pillow's images count as 3 channels.

    Raises:
        KsegError: the header cannot be read, or the format is not supported.
    """
    with file_errors(path):
        if is_npy(path):
            height, width, channels = _open_npy_image(path).shape
            return height, width, channels
        with _open_supported(path) as picture:
            return upright_shape(picture)


def read_size(path: ImageFile) -> tuple[int, int, int]:
    """Return the stored height and width, and the EXIF orientation: 1 is upright, 5 to 8 lie on their side.

    Raises:
        KsegError: the file cannot be read, or exceeds Pillow's size limit.
    """
    with file_errors(path):
        if is_npy(path):
            height, width = open_npy(path).shape[:2]
            return height, width, 1
        with _open_supported(path) as picture:
            if isinstance(picture, BandImage):
                return picture.height, picture.width, picture.orientation
            # EXIF may follow the pixels of a PNG; then this reads the whole file.
            return picture.height, picture.width, picture.getexif().get(ORIENTATION, 1)


def find_bit_depth(paths: Sequence[ImageFile]) -> int:
    """Return the smallest of `BIT_DEPTHS` that holds every value of up to 64 of the images, evenly spaced.

    Files that cannot be read are skipped here; reading them later raises.
    """
    return _bits_for(max(map(_largest_value, evenly_spaced(paths)), default=0))


def find_channels(paths: Sequence[ImageFile]) -> int:
    """Return the number of channels to read a data set with: 3 for grey and RGB images, else the number they have.

    Reads the headers of up to 64 images, evenly spaced. Files that cannot be read are skipped here.

    Raises:
        KsegError: the images have different numbers of channels.
    """
    example_of: dict[int, ImageFile] = {}
    for path in evenly_spaced(paths):
        with contextlib.suppress(KsegError), file_errors(path):
            channels = _count_channels(path)
            example_of.setdefault(3 if channels == 1 else channels, path)
    if len(example_of) > 1:
        examples = ", ".join(f"{path} has {channels}" for channels, path in example_of.items())
        raise KsegError(f"Images differ in their number of channels: {examples}. Expected one number in a data set.")
    return next(iter(example_of), 3)


def check_same_channels(path: ImageFile, channels: int, expected: int) -> None:
    """Refuse an image whose number of channels is not that of its data set; one grey channel passes for three.

    Raises:
        KsegError: the number differs.
    """
    if channels != expected and (channels, expected) != (1, 3):
        raise KsegError(
            f"{path} has {channels} channels; expected {expected}, as in the other images of its data set. Convert it, "
            "or remove it."
        )


def image_values(path: ImageFile) -> np.ndarray:
    """Return the upright pixels without alpha, uint8 or uint16 `(H, W, C)`."""
    with file_errors(path):
        if is_npy(path):
            return _open_npy_image(path)
        with _open_supported(path) as picture:
            return picture.read() if isinstance(picture, BandImage) else picture_values(picture)


def picture_values(picture: Image.Image) -> np.ndarray:
    """Return the pixels of a picture of Pillow without alpha, uint8 or uint16 `(H, W, C)`; it is turned upright.

    Raises:
        KsegError: it is of another mode than images have.
    """
    _refuse_mode("The image", picture)
    if picture.mode in MODES_OF_16_BITS:
        is_inverted = is_white_zero(picture)  # Pillow inverts such files of 8 bits itself
        values = upright_pixels(picture).astype(np.uint16)[..., None]
        return ~values if is_inverted else values
    mode = "L" if picture.mode in _GREY_MODES else "RGB"
    values = upright_pixels(picture, mode)
    return values if mode == "RGB" else values[..., None]


def _open_npy_image(path: str) -> np.ndarray:
    values = open_npy(path)
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise KsegError(
            f"{path} has {values.dtype.name} values of shape {values.shape}; expected uint8 or uint16, (H, W) or "
            "(H, W, C). Convert it first."
        )
    return values.astype(values.dtype.newbyteorder("="))


@contextlib.contextmanager
def _open_supported(path: ImageFile) -> Iterator[BandImage | PillowFile]:
    with open_image(path) as picture:
        if isinstance(picture, BandImage):
            if picture.dtype not in (np.uint8, np.uint16):
                raise KsegError(
                    f"{path} has {picture.dtype.name} values; expected 8 or 16 bits a channel. Convert it first."
                )
        else:
            _refuse_mode(path, picture)
        yield picture


def _refuse_mode(name: object, picture: Image.Image) -> None:
    if picture.mode not in _MODES:
        raise KsegError(
            f"{name} has Pillow's mode {picture.mode!r}; expected 8 or 16 bits a channel. Convert it first."
        )


def evenly_spaced(paths: Sequence[ImageFile]) -> Sequence[ImageFile]:
    """Return up to 64 of the files, evenly spaced."""
    return paths[:: -(-len(paths) // _MAX_SAMPLES) or 1]


def _count_channels(path: ImageFile) -> int:
    if is_npy(path):
        return open_npy(path).shape[2]
    with _open_supported(path) as picture:
        return picture.channels if isinstance(picture, BandImage) else 3


def _largest_value(path: ImageFile) -> int:
    """Return the largest value of a 16-bit image; 0 for 8 bits and for a file that cannot be read."""
    with contextlib.suppress(KsegError), file_errors(path):
        return int(image_values(path).max()) if _has_16_bits(path) else 0
    return 0


def _has_16_bits(path: ImageFile) -> bool:
    if is_npy(path):
        return open_npy(path).dtype.itemsize == 2
    with _open_supported(path) as picture:
        return picture.dtype.itemsize == 2 if isinstance(picture, BandImage) else picture.mode in MODES_OF_16_BITS


def _bits_for(value: int) -> int:
    return next(bits for bits in BIT_DEPTHS if value < 2**bits)


def to_8_bits(values: np.ndarray, bit_depth: int, path: ImageFile) -> np.ndarray:
    """Scale integers from 0 to `2**bit_depth - 1` to 0 to 255, uint8; `path` is for the message.

    Raises:
        KsegError: there is a larger value.
    """
    full_scale, largest = 2**bit_depth - 1, int(values.max())
    if largest > full_scale:
        raise KsegError(
            f"{path} holds {largest}; expected at most {full_scale}, since its data set is read with {bit_depth} bits. "
            f"Give --bit-depth {_bits_for(largest)} for the whole data set, or repair the file."
        )
    return ((values.astype(np.uint32) * 255 + full_scale // 2) // full_scale).astype(np.uint8)
