"""Image files as arrays: uint8 `(H, W, C)`, upright, without opacity."""

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageOps

from kseg.data.files.bands import ORIENTATION, Bands
from kseg.data.files.opening import MODES_OF_16_BITS, File, is_npy, named_errors, npy, opened, upright, upright_shape
from kseg.errors import KsegError

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""What cameras and microscopes give, stored in 8 or 16 bits."""

_LOOKED_AT = 64

# Pillow's modes.
_GREY_MODES = frozenset({"1", "L", "LA"})
_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"}) | MODES_OF_16_BITS


def read_image(path: File, bit_depth: int = 8, channels: int = 3) -> np.ndarray:
    """An image file as uint8 `(H, W, C)`, turned upright as its EXIF tag says, without opacity.

    Args:
        path: a file of one of `EXTENSIONS`.
        bit_depth: of a file of 16 bits a channel, `2**bit_depth - 1` becomes 255. Files of 8 bits stay as they are.
        channels: how many there are to be; of 3, a grey image gives three equal ones.

    Raises:
        KsegError: the file cannot be read, holds several frames or another number of channels, is larger than Pillow's
            limit, or holds a value that `bit_depth` has no room for.
    """
    values = image_values(path)
    check_same_channels(path, values.shape[2], channels)
    values = values if values.dtype == np.uint8 else _to_8_bits(values, bit_depth, path)
    # Of grey the three channels are one, seen three times, until somebody needs them.
    return np.broadcast_to(values, (*values.shape[:2], channels))


def image_shape(path: File) -> tuple[int, int, int]:
    """Height, width and channels of an image file, upright, from its header; 3 channels of what Pillow reads.

    Raises:
        KsegError: it is no image that can be read.
    """
    with named_errors(path):
        if is_npy(path):
            return _npy_image(path).shape
        with _image(path) as picture:
            return upright_shape(picture)


def read_size(path: str) -> tuple[int, int, int]:
    """Height and width of an image file as it is stored, and how EXIF says it is turned: 1 is upright, 5 to 8 lie on
    their side.

    Raises:
        KsegError: the file cannot be read, or is larger than Pillow's limit.
    """
    with named_errors(path):
        if is_npy(path):
            return (*npy(path).shape[:2], 1)
        with _image(path) as picture:
            # Of a PNG this may read the pixels, behind which EXIF may lie.
            is_cut = isinstance(picture, Bands)
            orientation = picture.orientation if is_cut else picture.getexif().get(ORIENTATION, 1)
            return picture.height, picture.width, orientation


def find_bit_depth(paths: Sequence[File]) -> int:
    """The smallest of `BIT_DEPTHS` with room for the values of these images, of which 64, evenly spread, are looked at.

    What cannot be read says nothing here; it is an error when its turn comes.
    """
    return _room_for(max(map(_largest_value, _spread(paths)), default=0))


def find_channels(paths: Sequence[File]) -> int:
    """How many channels the images of a data set are read with: 3 if they are grey or in colours, else those they have.

    Headers of up to 64 images, evenly spread, are looked at. What cannot be read says nothing here.

    Raises:
        KsegError: they have different numbers.
    """
    found: dict[int, str] = {}
    for path in _spread(paths):
        with contextlib.suppress(KsegError), named_errors(path):
            channels = _channels_of(path)
            found.setdefault(3 if channels == 1 else channels, path)
    if len(found) > 1:
        listed = ", ".join(f"{path} has {channels}" for channels, path in found.items())
        raise KsegError(f"Images differ in their number of channels: {listed}. Expected one number in a data set.")
    return next(iter(found), 3)


def check_same_channels(path: File, found: int, channels: int) -> None:
    """See that an image has the channels of its data set; grey may stand for colours.

    Raises:
        KsegError: it has others.
    """
    if found != channels and (found, channels) != (1, 3):
        raise KsegError(
            f"{path} has {found} channels; the images of its data set are read with {channels}, expected as many. Give "
            "a data set images of one kind."
        )


def image_values(path: str) -> np.ndarray:
    """uint8 or uint16 `(H, W, C)`, without opacity."""
    with named_errors(path):
        if is_npy(path):
            return _npy_image(path)
        with _image(path) as picture:
            if isinstance(picture, Bands):
                return picture.read()
            if picture.mode in MODES_OF_16_BITS:
                return upright(picture).astype(np.uint16)[..., None]
            ImageOps.exif_transpose(picture, in_place=True)
            mode = "L" if picture.mode in _GREY_MODES else "RGB"
            values = np.asarray(picture if picture.mode == mode else picture.convert(mode))
            return values if mode == "RGB" else values[..., None]


def _npy_image(path: str) -> np.ndarray:
    values = npy(path)
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise KsegError(
            f"{path} holds {values.dtype.name} {values.shape}; expected uint8 or uint16, (H, W) or (H, W, C)."
        )
    return values.astype(values.dtype.newbyteorder("="))


@contextlib.contextmanager
def _image(path: str) -> Iterator[Bands | Image.Image]:
    with opened(path) as picture:
        if isinstance(picture, Bands):
            if picture.dtype not in (np.uint8, np.uint16):
                raise KsegError(
                    f"{path} holds {picture.dtype.name}; expected 8 or 16 bits a channel. Convert it first."
                )
        elif picture.mode not in _MODES:
            raise KsegError(
                f"{path} has Pillow's mode {picture.mode!r}; expected 8 or 16 bits a channel. Convert it first."
            )
        yield picture


def _spread(paths: Sequence[str]) -> Sequence[str]:
    """Some of these, from all over."""
    return paths[:: -(-len(paths) // _LOOKED_AT) or 1]


def _channels_of(path: str) -> int:
    if is_npy(path):
        return npy(path).shape[2]
    with _image(path) as picture:
        return picture.channels if isinstance(picture, Bands) else 3


def _largest_value(path: str) -> int:
    """Of an image of 16 bits; of others, and of what cannot be read, 0."""
    with contextlib.suppress(KsegError), named_errors(path):
        return int(image_values(path).max()) if _is_deep(path) else 0
    return 0


def _is_deep(path: str) -> bool:
    if is_npy(path):
        return npy(path).dtype.itemsize == 2
    with _image(path) as picture:
        return picture.dtype.itemsize == 2 if isinstance(picture, Bands) else picture.mode in MODES_OF_16_BITS


def _room_for(value: int) -> int:
    return next(bits for bits in BIT_DEPTHS if value < 2**bits)


def _to_8_bits(values: np.ndarray, bit_depth: int, path: str) -> np.ndarray:
    full_scale, largest = 2**bit_depth - 1, int(values.max())
    if largest > full_scale:
        raise KsegError(
            f"{path} holds {largest}; the images of its data set are read with {bit_depth} bits, expected at most "
            f"{full_scale}. Give --bit-depth {_room_for(largest)}, for all of them, or mend the file."
        )
    return ((values.astype(np.uint32) * 255 + full_scale // 2) // full_scale).astype(np.uint8)
