"""Mask files as arrays: uint16 `(H, W, 1)` of what is stored, or of class indices by their colours."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageColor

from kseg import IGNORE
from kseg.data.files.bands import Bands
from kseg.data.files.images import image_values
from kseg.data.files.opening import (
    MODES_OF_16_BITS,
    DrawnMask,
    File,
    is_npy,
    named_errors,
    npy,
    opened,
    stored_as,
    upright,
    upright_shape,
)
from kseg.errors import KsegError

IGNORED_COLOUR = "ignore="
"""What stands before a colour whose pixels are to be ignored."""

_LOOKED_AT = 20
_MOST_COLOURS = 64  # a mask of more was interpolated, or saved as JPEG

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I"}) | MODES_OF_16_BITS

# Pillow stretches grey of 2 and 4 bits over 0 to 255; a mask holds class indices in them.
_STRETCHED = {"L;2": 85, "L;4": 17}


def read_mask(path: File | DrawnMask, colours: Sequence[str] = ()) -> np.ndarray:
    """A mask file as uint16 `(H, W, 1)` of the values stored, turned upright: of a palette image, the indices.

    Args:
        path: a file of one of `EXTENSIONS`, or what draws itself.
        colours: if given, such as `#ff0000`, the mask is read by its colours, a palette's too, and a pixel becomes
            the place of its colour among these; 255 if its colour stands there as `ignore=#ffffff`.

    Raises:
        KsegError: the file cannot be read, holds several frames, is larger than Pillow's limit, holds anything but
            integers from 0, or colours that are not among `colours`.
    """
    if isinstance(path, DrawnMask):
        return path.draw()
    if colours:
        return _class_indices(image_values(path), colours, path)
    values = _mask_values(path)
    if values.shape[2] >= 3 and (values[..., :3] != values[..., :1]).any():
        raise _in_colours(path, _count_colours(values))
    values = values[..., :1]  # the others say the same, or how opaque it is
    if values.dtype.kind not in "bu" and values.min() < 0:
        raise KsegError(f"{path} holds {values.dtype} from {values.min()}; expected integers, 0 or more.")
    # Beyond 65535 only "not background" can matter: such masks hold instance ids.
    return (values if values.dtype.itemsize <= 2 else np.minimum(values, 65535)).astype(np.uint16)


def mask_shape(path: File) -> tuple[int, ...]:
    """Height, width and channels of a mask file, upright, from its header.

    Raises:
        KsegError: it is no mask that can be read.
    """
    with named_errors(path):
        if is_npy(path):
            return _npy_mask(path).shape
        with _mask(path) as picture:
            return upright_shape(picture)


def class_colours(colours: Sequence[str]) -> list[str]:
    """Those of classes, in order, without those to ignore.

    >>> class_colours(["#000000", "ignore=#ffffff", "#ff0000"])
    ['#000000', '#ff0000']
    """
    return [colour for colour in colours if not colour.startswith(IGNORED_COLOUR)]


def refuse_colours(name: str, paths: Sequence[File]) -> None:
    """Look for colours in the first 20 of these masks, which lie in a data set of that name.

    Raises:
        KsegError: there are some; it lists them, and the flag that says what they mean.
    """
    found = Counter()
    for path in paths[:_LOOKED_AT]:
        with contextlib.suppress(KsegError):  # what cannot be read is an error when its turn comes
            values = _mask_values(path)
            found += _count_colours(values) if values.shape[2] >= 3 else Counter()
    if any(len(set(_channels(colour))) > 1 for colour in found):
        raise _in_colours(name, found)


def _mask_values(path: str) -> np.ndarray:
    """Any numbers, `(H, W, C)`."""
    with named_errors(path):
        if is_npy(path):
            return _npy_mask(path)
        with _mask(path) as picture:
            stretched = _STRETCHED.get(stored_as(picture))
            values = upright(picture)
    values = values // stretched if stretched else values
    return values if values.ndim == 3 else values[..., None]


@contextlib.contextmanager
def _mask(path: str) -> Iterator[Image.Image]:
    with opened(path) as picture:
        if isinstance(picture, Bands):
            raise KsegError(
                f"{path} has {picture.channels} channels of {8 * picture.dtype.itemsize} bits; expected a mask of one "
                "channel, or of flat colours of 8 bits."
            )
        if picture.mode not in _MODES:
            raise KsegError(
                f"{path} has Pillow's mode {picture.mode!r}; expected a mask of whole numbers, or of flat colours."
            )
        yield picture


def _npy_mask(path: str) -> np.ndarray:
    values = npy(path)
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
    places = order[np.searchsorted(table, pixels, sorter=order).clip(max=len(table) - 1)]
    strangers = pixels[table[places] != pixels]
    if strangers.size:
        raise KsegError(
            f"{path} holds the colour {_hexadecimal(strangers[0])} in {strangers.size} pixels, and --colours has "
            f"{', '.join(colours)}. Add it there, or mend the mask."
        )
    ignored = np.array([colour.startswith(IGNORED_COLOUR) for colour in colours])
    values = np.where(ignored, IGNORE, np.cumsum(~ignored) - 1)
    return values[places].astype(np.uint16)[..., None]


def _rgb(colours: Sequence[str]) -> np.ndarray:
    try:
        return np.uint8([ImageColor.getrgb(colour.removeprefix(IGNORED_COLOUR))[:3] for colour in colours])
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
        f"order of the classes, the background first, and those to ignore as ignore=#rrggbb: --colours {flag}"
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
