"""Read a mask file as uint16 `(H, W, 1)`: its stored values, or class indices by colour."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from PIL import ImageColor
from PIL.ImageFile import ImageFile as PillowFile

from kseg import IGNORE
from kseg.data.files.bands import BandImage
from kseg.data.files.formats import (
    MODES_OF_16_BITS,
    ImageFile,
    file_errors,
    is_npy,
    open_image,
    open_npy,
    upright_shape,
)
from kseg.data.files.images import image_values
from kseg.data.files.mask_pixels import mask_pixels
from kseg.errors import KsegError

IGNORE_PREFIX = "ignore="
"""Marks a colour whose pixels are ignored, as in `ignore=#ffffff`."""

_MAX_SAMPLES = 20
_NEARLY = 8  # steps of each channel from one colour to another that was meant
_MAX_COLOURS = 64  # a mask with more was interpolated, or saved as JPEG

_IF_LABELS = " If each channel is a label that may overlap with others: --task multilabel."

_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "I"}) | MODES_OF_16_BITS


@runtime_checkable
class MaskAnnotation(Protocol):
    """A mask described by annotations, such as outlines, and drawn when it is read. Small, and can be pickled."""

    @property
    def path(self) -> Path:
        """The file with the annotations; `str` of this object also names the place in it."""

    def draw(self) -> np.ndarray:
        """Return class indices, uint16 `(H, W, 1)`, or a channel for each label; of the size of the upright image.

        Raises:
            KsegError: the annotations are faulty, or do not fit the image.
        """


def read_mask(path: ImageFile | MaskAnnotation, colours: Sequence[str] = ()) -> np.ndarray:
    """Read a mask as uint16 `(H, W, 1)`, turned upright: its stored values, or those that `mask_pixels` gives.

    A `MaskAnnotation` may have a channel for each label.

    Stored values above 65535, which only instance ids reach, become 65535.

    Args:
        path: a file with one of `EXTENSIONS`, an `EmbeddedFile`, or a `MaskAnnotation`.
        colours: such as `#ff0000`, one a class. If given, the mask is read by colour, a palette image too: a pixel
            becomes the index of its colour, counted without the `ignore=#ffffff` ones; those become 255.

    Raises:
        KsegError: the file cannot be read, has several frames, exceeds Pillow's size limit, has values that are not
            integers from 0 on, or has colours that are not in `colours`.
    """
    if isinstance(path, MaskAnnotation):
        return path.draw()
    if colours:
        return _class_indices(image_values(path), colours, path)
    values = _stored_values(path)
    if values.shape[2] >= 3 and (values[..., :3] != values[..., :1]).any():
        raise _colour_error(path, _count_colours(values))
    values = values[..., :1]  # the other channels are equal to it, or alpha
    if values.dtype.kind not in "bu" and values.min() < 0:
        raise KsegError(
            f"{path} has {values.dtype} values, the smallest {values.min()}; expected integers, 0 or more. Convert it "
            "first."
        )
    return (values if values.dtype.itemsize <= 2 else np.minimum(values, 65535)).astype(np.uint16)


def mask_shape(path: ImageFile) -> tuple[int, int, int]:
    """Return height, width and channels of the upright mask, from its header; Pillow's files count as 3 channels.

    Raises:
        KsegError: the header cannot be read, or the format is not supported.
    """
    with file_errors(path):
        if is_npy(path):
            height, width, channels = _open_npy_mask(path).shape
            return height, width, channels
        with _open_supported(path) as picture:
            return upright_shape(picture)


def class_colours(colours: Sequence[str]) -> list[str]:
    """Return the colours of the classes, in order, without those to ignore.

    >>> class_colours(["#000000", "ignore=#ffffff", "#ff0000"])
    ['#000000', '#ff0000']
    """
    return [colour for colour in colours if not colour.startswith(IGNORE_PREFIX)]


def refuse_colours(name: str, paths: Sequence[ImageFile]) -> None:
    """Refuse a data set, called `name` in the message, if any of its first 20 masks has colours.

    Raises:
        KsegError: there are colours; the message lists them and the flag that gives each a class.
    """
    counts: Counter[int] = Counter()
    for path in paths[:_MAX_SAMPLES]:
        with contextlib.suppress(KsegError):  # a file that cannot be read raises later, when it is needed
            values = _stored_values(path)
            counts += _count_colours(values) if values.shape[2] >= 3 else Counter()
    if any(len(set(_rgb(colour))) > 1 for colour in counts):
        raise _colour_error(name, counts)


def _stored_values(path: ImageFile) -> np.ndarray:
    """Return `(H, W, C)` of the stored dtype."""
    with file_errors(path):
        if is_npy(path):
            return _open_npy_mask(path)
        with _open_supported(path) as picture:
            return mask_pixels(picture)


@contextlib.contextmanager
def _open_supported(path: ImageFile) -> Iterator[PillowFile]:
    with open_image(path) as picture:
        if isinstance(picture, BandImage):
            raise KsegError(
                f"{path} has {picture.channels} channels of {8 * picture.dtype.itemsize} bits; expected a mask of one "
                f"channel, or of flat colours of 8 bits. Convert it first.{_IF_LABELS}"
            )
        if picture.mode not in _MODES:
            raise KsegError(
                f"{path} has Pillow's mode {picture.mode!r}; expected a mask of integers, or of flat colours. Convert "
                "it first."
            )
        yield picture


def _open_npy_mask(path: str) -> np.ndarray:
    values = open_npy(path)
    has_colours = values.dtype == np.uint8 and values.shape[2] in (3, 4)
    if values.dtype.kind not in "bui" or (values.shape[2] != 1 and not has_colours):
        raise KsegError(
            f"{path} has {values.dtype.name} values of shape {values.shape}; expected integers (H, W) or (H, W, 1), or "
            f"colours, uint8 (H, W, 3). Convert it first.{_IF_LABELS if values.shape[2] > 1 else ''}"
        )
    return np.array(values)


def _class_indices(picture: np.ndarray, colours: Sequence[str], path: ImageFile) -> np.ndarray:
    """Return the class index of each pixel by its colour, uint16 `(H, W, 1)`."""
    picture = picture[..., :3] if picture.shape[2] == 4 else picture
    if picture.dtype != np.uint8 or picture.shape[2] not in (1, 3):
        raise KsegError(
            f"{path} has {picture.shape[2]} channels of {picture.dtype.name}; expected colours of 8 bits, since "
            "--colours is given."
        )
    table, pixels = _pack(_parse_colours(colours)), _pack(np.broadcast_to(picture, (*picture.shape[:2], 3)))
    order = np.argsort(table)
    places = order[np.searchsorted(table, pixels, sorter=order).clip(max=len(table) - 1)]
    unlisted = pixels[table[places] != pixels]
    if unlisted.size:
        raise KsegError(
            f"{path} has the colour {_hexadecimal(unlisted[0])} in {unlisted.size} pixels"
            f"{_describe_near(unlisted[0], table)}; expected the colours of --colours: {', '.join(colours)}. Add it "
            "there, or repair the mask."
        )
    is_ignored = np.array([colour.startswith(IGNORE_PREFIX) for colour in colours])
    values = np.where(is_ignored, IGNORE, np.cumsum(~is_ignored) - 1)
    return values[places].astype(np.uint16)[..., None]


def _describe_near(colour: int, listed: np.ndarray) -> str:
    """Return that a colour is nearly a listed one, as text; empty if it is not."""
    distances = [
        max(abs(a - b) for a, b in zip(_rgb(int(colour)), _rgb(other), strict=True)) for other in listed.tolist()
    ]
    nearest = int(np.argmin(distances))
    if distances[nearest] > _NEARLY:
        return ""
    return f", nearly {_hexadecimal(int(listed[nearest]))}, as after saving as JPEG or smooth resizing"


def _parse_colours(colours: Sequence[str]) -> np.ndarray:
    """Return colours such as `#ff0000` as uint8 `(N, 3)`."""
    try:
        return np.array([ImageColor.getrgb(colour.removeprefix(IGNORE_PREFIX))[:3] for colour in colours], np.uint8)
    except ValueError as error:
        raise KsegError(f"colours: {error}; expected such as '#ff0000'.") from error


def _colour_error(name: ImageFile, counts: Counter[int]) -> KsegError:
    """Return the error for masks with colours, `counts` pixels of each."""
    if len(counts) > _MAX_COLOURS:
        return KsegError(
            f"{name}: masks in {len(counts)} colours; expected one channel, or at most {_MAX_COLOURS} flat colours. "
            "Masks look like this after smooth resizing, or as JPEG. Make them again, as PNG."
        )
    total = counts.total()
    # Black first, since it is usually the background; then by count, so that the order of the files does not matter.
    ordered = sorted(counts, key=lambda colour: (colour != 0, -counts[colour], colour))
    shares = ", ".join(f"{_hexadecimal(colour)} ({counts[colour] / total:.1%})" for colour in ordered)
    flag = " ".join(f"'{_hexadecimal(colour)}'" for colour in ordered)
    return KsegError(
        f"{name}: masks in colours, {shares}; expected one channel, or the colour of each class. List the colours in "
        "the order of the classes, the background first, and those to ignore as ignore=#rrggbb: "
        f"--colours {flag}"
    )


def _count_colours(values: np.ndarray) -> Counter[int]:
    colours, counts = np.unique(_pack(values), return_counts=True)
    return Counter(dict(zip(colours.tolist(), counts.tolist(), strict=True)))


def _pack(picture: np.ndarray) -> np.ndarray:
    """Return one int32 a pixel, 0xrrggbb."""
    red, green, blue = np.moveaxis(picture[..., :3].astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _rgb(packed: int) -> tuple[int, int, int]:
    return packed >> 16, packed >> 8 & 255, packed & 255


def _hexadecimal(packed: int) -> str:
    return f"#{packed:06x}"
