"""Image and mask files as arrays. Whatever is wrong with a file becomes a `KsegError` that names it."""

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageColor, ImageOps

from kseg.data.bands import MOST_CHANNELS, ORIENTATION, Bands, find_bands
from kseg.errors import KsegError

EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".npy", ".png", ".tif", ".tiff", ".webp"})

BIT_DEPTHS = (8, 10, 12, 14, 16)
"""What cameras and microscopes give, stored in 8 or 16 bits."""

_IMAGES_LOOKED_AT = 64
_MASKS_LOOKED_AT = 20
_MOST_COLOURS = 64  # a mask of more was interpolated, or saved as JPEG

# By content, whatever a file is called. For others Pillow may run a program of the machine, such as Ghostscript.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")

# Pillow's modes. It would clip, not scale, the 16-bit ones.
_MODES_OF_8_BITS = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})
_MODES_OF_16_BITS = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_GREY_MODES = frozenset({"1", "L", "LA"})
_IMAGE_MODES = _MODES_OF_8_BITS | _MODES_OF_16_BITS
_MASK_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I"}) | _MODES_OF_16_BITS

# Pillow stretches grey of 2 and 4 bits over 0 to 255; a mask holds class indices in them.
_STRETCHED = {"L;2": 85, "L;4": 17}


@dataclass(frozen=True)
class HeldFile:
    """An image file that lies in something larger, under a name for messages."""

    name: str
    read: Callable[[], bytes]
    """Gets its bytes, or raises a `KsegError`."""

    def __str__(self) -> str:
        return self.name


File = str | HeldFile
"""A path, or what stands for one."""


def read_pair(
    image_path: File, mask_path: File, bit_depth: int = 8, channels: int = 3, colours: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, as from `read_image` and `read_mask`.

    Raises:
        KsegError: one of them cannot be read, or they differ in height or width.
    """
    image, mask = read_image(image_path, bit_depth, channels), read_mask(mask_path, colours)
    _check_same_size(image_path, image.shape, mask_path, mask.shape)
    return image, mask


def check_headers(image_path: File, mask_path: File, channels: int = 3) -> None:
    """Look at what an image and its mask say of themselves, pixels unread.

    Raises:
        KsegError: one of them is no image or mask that can be read, the image has another number of channels, or they
            differ in height or width.
    """
    with _named_errors(image_path):
        if _is_npy(image_path):
            shape = _npy_image(image_path).shape
        else:
            with _image(image_path) as picture:
                shape = _upright_shape(picture)
    _check_same_channels(image_path, shape[2], channels)
    with _named_errors(mask_path):
        if _is_npy(mask_path):
            mask_shape = _npy_mask(mask_path).shape
        else:
            with _mask(mask_path) as picture:
                mask_shape = _upright_shape(picture)
    _check_same_size(image_path, shape, mask_path, mask_shape)


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
    values = _image_values(path)
    _check_same_channels(path, values.shape[2], channels)
    values = values if values.dtype == np.uint8 else _to_8_bits(values, bit_depth, path)
    # Of grey the three channels are one, seen three times, until somebody needs them.
    return np.broadcast_to(values, (*values.shape[:2], channels))


def read_mask(path: File, colours: Sequence[str] = ()) -> np.ndarray:
    """A mask file as uint16 `(H, W, 1)` of the values stored, turned upright: of a palette image, the indices.

    Args:
        path: a file of one of `EXTENSIONS`.
        colours: if given, such as `#ff0000`, the mask is read by its colours, a palette's too, and a pixel becomes
            the place of its colour among these.

    Raises:
        KsegError: the file cannot be read, holds several frames, is larger than Pillow's limit, holds anything but
            integers from 0, or colours that are not among `colours`.
    """
    if colours:
        return _class_indices(_image_values(path), colours, path)
    values = _mask_values(path)
    if values.shape[2] >= 3 and (values[..., :3] != values[..., :1]).any():
        raise _in_colours(path, _count_colours(values))
    values = values[..., :1]  # the others say the same, or how opaque it is
    if values.dtype.kind not in "bu" and values.min() < 0:
        raise KsegError(f"{path} holds {values.dtype} from {values.min()}; expected integers, 0 or more.")
    # Beyond 65535 only "not background" can matter: such masks hold instance ids.
    return (values if values.dtype.itemsize <= 2 else np.minimum(values, 65535)).astype(np.uint16)


def file_bytes(path: File) -> bytes:
    """What a file holds."""
    with _stream(path) as file:
        return file.read()


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
        with contextlib.suppress(KsegError), _named_errors(path):
            channels = _channels_of(path)
            found.setdefault(3 if channels == 1 else channels, path)
    if len(found) > 1:
        listed = ", ".join(f"{path} has {channels}" for channels, path in found.items())
        raise KsegError(f"Images differ in their number of channels: {listed}. Expected one number in a data set.")
    return next(iter(found), 3)


def refuse_colours(name: str, paths: Sequence[File]) -> None:
    """Look for colours in the first 20 of these masks, which lie in a data set of that name.

    Raises:
        KsegError: there are some; it lists them, and the flag that says what they mean.
    """
    found = Counter()
    for path in paths[:_MASKS_LOOKED_AT]:
        with contextlib.suppress(KsegError):  # what cannot be read is an error when its turn comes
            values = _mask_values(path)
            found += _count_colours(values) if values.shape[2] >= 3 else Counter()
    if any(len(set(_channels(colour))) > 1 for colour in found):
        raise _in_colours(name, found)


def _check_same_size(image_path: str, image: Sequence[int], mask_path: str, mask: Sequence[int]) -> None:
    if image[:2] != mask[:2]:
        raise KsegError(
            f"{image_path} is {image[1]} x {image[0]} and its mask {mask[1]} x {mask[0]} (width x height), "
            f"{mask_path}; expected one size. Make a new mask, or take the pair out."
        )


def _check_same_channels(path: str, found: int, channels: int) -> None:
    """Grey may stand for colours."""
    if found != channels and (found, channels) != (1, 3):
        raise KsegError(
            f"{path} has {found} channels; the images of its data set are read with {channels}, expected as many. Give "
            "a data set images of one kind."
        )


# Images


def _spread(paths: Sequence[str]) -> Sequence[str]:
    """Some of these, from all over."""
    return paths[:: -(-len(paths) // _IMAGES_LOOKED_AT) or 1]


def _image_values(path: str) -> np.ndarray:
    """uint8 or uint16 `(H, W, C)`, without opacity."""
    with _named_errors(path):
        if _is_npy(path):
            return _npy_image(path)
        with _image(path) as picture:
            if isinstance(picture, Bands):
                return picture.read()
            if picture.mode in _MODES_OF_16_BITS:
                return _upright(picture).astype(np.uint16)[..., None]
            ImageOps.exif_transpose(picture, in_place=True)
            mode = "L" if picture.mode in _GREY_MODES else "RGB"
            values = np.asarray(picture if picture.mode == mode else picture.convert(mode))
            return values if mode == "RGB" else values[..., None]


def _npy_image(path: str) -> np.ndarray:
    values = _npy(path)
    if values.dtype.kind != "u" or values.dtype.itemsize > 2:
        raise KsegError(
            f"{path} holds {values.dtype.name} {values.shape}; expected uint8 or uint16, (H, W) or (H, W, C)."
        )
    return values.astype(values.dtype.newbyteorder("="))


@contextlib.contextmanager
def _image(path: str) -> Iterator[Bands | Image.Image]:
    with _opened(path) as picture:
        if isinstance(picture, Bands):
            if picture.dtype not in (np.uint8, np.uint16):
                raise KsegError(
                    f"{path} holds {picture.dtype.name}; expected 8 or 16 bits a channel. Convert it first."
                )
        elif picture.mode not in _IMAGE_MODES:
            raise KsegError(
                f"{path} has Pillow's mode {picture.mode!r}; expected 8 or 16 bits a channel. Convert it first."
            )
        yield picture


def _channels_of(path: str) -> int:
    if _is_npy(path):
        return _npy(path).shape[2]
    with _image(path) as picture:
        return picture.channels if isinstance(picture, Bands) else 3


def _largest_value(path: str) -> int:
    """Of an image of 16 bits; of others, and of what cannot be read, 0."""
    with contextlib.suppress(KsegError), _named_errors(path):
        return int(_image_values(path).max()) if _is_deep(path) else 0
    return 0


def _is_deep(path: str) -> bool:
    if _is_npy(path):
        return _npy(path).dtype.itemsize == 2
    with _image(path) as picture:
        return picture.dtype.itemsize == 2 if isinstance(picture, Bands) else picture.mode in _MODES_OF_16_BITS


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


# Masks


def _mask_values(path: str) -> np.ndarray:
    """Any numbers, `(H, W, C)`."""
    with _named_errors(path):
        if _is_npy(path):
            return _npy_mask(path)
        with _mask(path) as picture:
            stretched = _STRETCHED.get(_stored_as(picture))
            values = _upright(picture)
    values = values // stretched if stretched else values
    return values if values.ndim == 3 else values[..., None]


@contextlib.contextmanager
def _mask(path: str) -> Iterator[Image.Image]:
    with _opened(path) as picture:
        if isinstance(picture, Bands):
            raise KsegError(
                f"{path} has {picture.channels} channels of {8 * picture.dtype.itemsize} bits; expected a mask of one "
                "channel, or of flat colours of 8 bits."
            )
        if picture.mode not in _MASK_MODES:
            raise KsegError(
                f"{path} has Pillow's mode {picture.mode!r}; expected a mask of whole numbers, or of flat colours."
            )
        yield picture


def _npy_mask(path: str) -> np.ndarray:
    values = _npy(path)
    in_colours = values.dtype == np.uint8 and values.shape[2] in (3, 4)
    if values.dtype.kind not in "bui" or (values.shape[2] != 1 and not in_colours):
        raise KsegError(
            f"{path} holds {values.dtype.name} {values.shape}; expected integers (H, W) or (H, W, 1), or colours, "
            "uint8 (H, W, 3)."
        )
    return np.array(values)


def _class_indices(picture: np.ndarray, colours: Sequence[str], path: str) -> np.ndarray:
    picture = picture[..., :3] if picture.shape[2] == 4 else picture
    if picture.dtype != np.uint8 or picture.shape[2] not in (1, 3):
        raise KsegError(
            f"{path} holds {picture.dtype.name} of {picture.shape[2]} channels; expected a mask in colours of 8 bits, "
            "as --colours says."
        )
    table, pixels = _packed(_rgb(colours)), _packed(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    order = np.argsort(table)
    indices = order[np.searchsorted(table, pixels, sorter=order).clip(max=len(table) - 1)]
    strangers = pixels[table[indices] != pixels]
    if strangers.size:
        raise KsegError(
            f"{path} holds the colour {_hexadecimal(strangers[0])} in {strangers.size} pixels, and --colours has "
            f"{', '.join(colours)}. Add it there, or mend the mask."
        )
    return indices.astype(np.uint16)[..., None]


def _rgb(colours: Sequence[str]) -> np.ndarray:
    try:
        return np.uint8([ImageColor.getrgb(colour)[:3] for colour in colours])
    except ValueError as error:
        raise KsegError(f"colours: {error}; expected such as '#ff0000'.") from error


def _in_colours(name: str, found: Counter) -> KsegError:
    if len(found) > _MOST_COLOURS:
        return KsegError(
            f"{name}: masks in {len(found)} colours; expected one channel, or at most {_MOST_COLOURS} flat colours. "
            "Masks that were resized smoothly or saved as JPEG look like this. Make new ones, as PNG."
        )
    total = found.total()
    # Black is the background more often than not; then by share, and the same list whatever came first.
    listed = sorted(found, key=lambda colour: (colour != 0, -found[colour], colour))
    shares = ", ".join(f"{_hexadecimal(colour)} ({found[colour] / total:.1%})" for colour in listed)
    flag = " ".join(f"'{_hexadecimal(colour)}'" for colour in listed)
    return KsegError(
        f"{name}: masks in colours, {shares}; expected one channel, or to be told the classes. List all colours in the "
        f"order of the classes, the background first: --colours {flag}"
    )


def _count_colours(values: np.ndarray) -> Counter:
    colours, counts = np.unique(_packed(values), return_counts=True)
    return Counter(dict(zip(colours.tolist(), counts.tolist(), strict=True)))


def _packed(picture: np.ndarray) -> np.ndarray:
    """One int32 a pixel, 0xrrggbb."""
    red, green, blue = np.moveaxis(picture[..., :3].astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _channels(packed: int) -> tuple[int, int, int]:
    return packed >> 16, packed >> 8 & 255, packed & 255


def _hexadecimal(packed: int) -> str:
    return f"#{packed:06x}"


# Files


@contextlib.contextmanager
def _named_errors(path: str) -> Iterator[None]:
    try:
        yield
    except KsegError:
        raise
    except Exception as error:  # on damaged files parsers raise whatever they come across
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise KsegError(f"{path} cannot be read: {reason}. Expected a whole image file. Replace it.") from error


@contextlib.contextmanager
def _opened(path: File) -> Iterator[Bands | Image.Image]:
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
            yield picture


def _stream(path: File) -> BinaryIO:
    return io.BytesIO(path.read()) if isinstance(path, HeldFile) else Path(path).open("rb")


def _check_header(path: str, picture: Image.Image) -> None:
    _check_size(path, picture.height, picture.width)
    frames = getattr(picture, "n_frames", 1)
    if frames > 1 and picture.format != "MPO":  # a phone's JPEG of this kind is one picture, and previews of it
        raise KsegError(f"{path} holds {frames} frames; expected one. Save each as a file of its own.")
    if ";16" in _stored_as(picture) and picture.mode not in _MODES_OF_16_BITS:
        raise KsegError(
            f"{path} holds channels of 16 bits, of which Pillow reads 8; expected RGB or grey. Convert it first."
        )


def _upright(picture: Image.Image) -> np.ndarray:
    ImageOps.exif_transpose(picture, in_place=True)
    return np.asarray(picture)


def _upright_shape(picture: Bands | Image.Image) -> tuple[int, int, int]:
    """Height, width and channels, from the header; 3 channels of a picture that Pillow reads."""
    if isinstance(picture, Bands):
        height, width, channels, orientation = picture.height, picture.width, picture.channels, picture.orientation
    else:
        # Pillow would read a whole PNG to look for EXIF behind its pixels.
        has_exif = "exif" in picture.info or picture.format == "TIFF"
        orientation = picture.getexif().get(ORIENTATION, 1) if has_exif else 1
        height, width, channels = picture.height, picture.width, 3
    return (width, height, channels) if 5 <= orientation <= 8 else (height, width, channels)


def _stored_as(picture: Image.Image) -> str:
    """The layout of a pixel in the file, in Pillow's words, where it says so before reading it."""
    arguments = picture.tile[0].args if picture.tile else ""
    return arguments if isinstance(arguments, str) else str(next(iter(arguments), ""))


def _is_npy(path: File) -> bool:
    return str(path).lower().endswith(".npy")


def _npy(path: str) -> np.ndarray:
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
