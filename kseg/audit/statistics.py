"""Measures one image or one mask, in a few milliseconds per megapixel."""

import hashlib
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from kseg import IGNORE
from kseg.data.files.bands import to_rgb
from kseg.data.quality import (
    border_share,
    channel_range,
    foreground_share,
    has_soft_edges,
    is_black_and_white,
)

SIDE = 64
"""Height and width of a thumbnail."""

FLAT = 2
"""The largest channel range, of 255, of an image of one colour: JPEG adds a little noise."""

_SMALL_SIDE = 16  # of the grey picture that confirms near duplicates
_ENOUGH = 256  # pixels of the shorter side are enough for a thumbnail
_EVEN = 2  # of 255: a smaller step between neighbours on a coarse grid is noise
_VALUES = 65536


@dataclass(frozen=True, eq=False)
class ImageStatistics:
    """The measurements of an image."""

    size: tuple[int, int]
    """Height, width."""
    digest: bytes
    """Of the decoded pixels: the same for the same pixels in other files."""
    bits: np.ndarray
    """The signs of the steps to the right and downwards on a coarse grid; uint64 `(2,)`."""
    small: np.ndarray
    """The image in grey; uint8 `(16, 16)`."""
    channel_range: int
    """At least the largest difference between two values of the same channel; exact up to `FLAT`."""
    brightest: int
    """The brightest grey of its thumbnail, in which a single hot pixel does not count."""
    thumbnail: np.ndarray | None
    """uint8 `(64, 64, 3)`, if one was asked for."""

    @property
    def is_constant(self) -> bool:
        """Whether the image has one colour."""
        return self.channel_range <= FLAT


@dataclass(frozen=True, eq=False)
class MaskStatistics:
    """The measurements of a mask."""

    size: tuple[int, int]
    """Height, width."""
    digest: bytes
    """Of its foreground."""
    values: np.ndarray
    """The values in the mask, ascending."""
    counts: np.ndarray
    """The number of pixels with each."""
    share: float
    """The share of foreground, among the pixels that are not ignored."""
    border: float
    """The share of foreground in the outermost pixels."""
    specks: int
    """The number of objects of one or two pixels."""
    thumbnail: np.ndarray | None
    """Foreground as 255; uint8 `(64, 64)`, if one was asked for."""
    labels: np.ndarray | None = None
    """Pixels with each label, where they may overlap, int64 `(K,)`."""

    @property
    def is_white(self) -> bool:
        """Whether it has 255, and nothing else but 0."""
        return is_black_and_white(self.values)

    @property
    def is_soft(self) -> bool:
        """Whether its edges were interpolated."""
        return has_soft_edges(self.values, self.counts)

    @property
    def is_zero(self) -> bool:
        """Whether it has no other value than 0."""
        return self.values.tolist() == [0]


def measure_image(image: np.ndarray, thumbnail: bool) -> ImageStatistics:
    """Measure an image, uint8 `(H, W, C)`."""
    # For averages over a coarse grid, every few pixels of a large image are enough.
    step = max(1, min(image.shape[:2]) // _ENOUGH)
    # The three channels of a grey image share their memory: one is enough.
    pixels = image[::step, ::step, 0] if image.strides[2] == 0 else to_rgb(image[::step, ::step])
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    tiny = picture.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0).convert("RGB")
    grey = tiny.convert("L")
    in_thumbnail = int(channel_range(np.asarray(tiny)))
    return ImageStatistics(
        size=image.shape[:2],
        digest=_digest(image[..., :1] if _is_grey(image) else image),
        bits=_step_signs(grey),
        small=np.asarray(grey.resize((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.BOX)),
        # The thumbnail averages, so it does not vary more than the image.
        channel_range=in_thumbnail if in_thumbnail > FLAT else int(channel_range(image)),
        brightest=int(np.asarray(grey).max()),
        thumbnail=np.asarray(tiny) if thumbnail else None,
    )


def measure_mask(mask: np.ndarray, table: np.ndarray | None, thumbnail: bool) -> MaskStatistics:
    """Measure a mask, uint16 `(H, W, M)`; of labels that may overlap, all together.

    Args:
        mask: as it is stored.
        table: uint8 `(65536,)`, the kind of each value: 0, 1 or 255; None: the mask alone decides.
        thumbnail: whether to make one.
    """
    channels, mask = mask, all_labels(mask)
    values, counts = _count_values(mask)
    table = suggested_table(values, counts) if table is None else table
    foreground = _find_foreground(mask, values, table)
    return MaskStatistics(
        size=mask.shape,
        digest=_digest(np.packbits(foreground)),
        values=values,
        counts=counts,
        share=foreground_share(table[values], counts),
        border=border_share(foreground),
        specks=count_specks(foreground),
        thumbnail=_mask_thumbnail(foreground) if thumbnail else None,
        labels=(table[channels] == 1).sum((0, 1)) if channels.shape[2] > 1 else None,
    )


def foreground_of(mask: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """Return where a mask, uint16 `(H, W, M)`, has foreground, bool `(H, W)`; `table` as in `measure_mask`."""
    mask = all_labels(mask)
    values, counts = _count_values(mask)
    return _find_foreground(mask, values, suggested_table(values, counts) if table is None else table)


def all_labels(mask: np.ndarray) -> np.ndarray:
    """Return a mask `(H, W, M)` as `(H, W)`: where labels may overlap, the largest value of any."""
    return mask[..., 0] if mask.shape[2] == 1 else mask.max(-1)


def suggested_table(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the kind of each value if this mask alone decides, uint8 `(65536,)`; soft edges are cut at 128."""
    table = np.zeros(_VALUES, np.uint8)
    if np.isin(values, (0, IGNORE)).all():
        table[IGNORE] = 1
    elif has_soft_edges(values, counts):
        table[128:] = 1
    else:
        table[1:] = 1
        table[IGNORE] = IGNORE
    return table


def count_specks(foreground: np.ndarray) -> int:
    """Return the number of objects of one or two pixels in a bool `(H, W)`; touching corners connect.

    >>> count_specks(np.array([[1, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1, 1, 1, 0, 0]], bool))
    1
    >>> count_specks(np.array([[1, 0, 0, 0, 1], [0, 0, 0, 0, 1]], bool))
    2
    """
    pixels = foreground.view(np.uint8)
    near = _sum_around(pixels) * pixels
    twos = (near == 2).view(np.uint8)  # pixels with one neighbour; where that has one too, the two are an object
    return int(np.count_nonzero(near == 1) + np.count_nonzero(_sum_around(twos) * twos == 2) // 2)


def _sum_around(pixels: np.ndarray) -> np.ndarray:
    """Return the sum of each pixel and its eight neighbours, of zeros and ones, uint8 `(H, W)`."""
    return cv2.boxFilter(pixels, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)


def _count_values(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the values in a mask, and the number of pixels with each."""
    counts = np.bincount(mask.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _mask_thumbnail(foreground: np.ndarray) -> np.ndarray:
    whole = Image.fromarray(foreground.view(np.uint8) * np.uint8(255))
    return np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BOX))


def _find_foreground(mask: np.ndarray, values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Return where a mask with these values is of kind 1, bool `(H, W)`."""
    ones = values[table[values] == 1]
    return mask == ones[0] if len(ones) == 1 else table[mask] == 1


def _step_signs(grey: Image.Image) -> np.ndarray:
    """Return the difference hash in both directions, twice 64 bits; noise on even ground is no difference."""
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), np.int16)
    steps = np.concatenate([np.diff(across, axis=1).ravel(), np.diff(down, axis=0).ravel()])
    return np.packbits(steps > _EVEN).view(np.uint64)


def _is_grey(image: np.ndarray) -> bool:
    """Return whether all channels of an image `(H, W, C)` are equal."""
    if image.strides[2] == 0:
        return True
    first, *others = np.moveaxis(image, -1, 0)
    return all((first[0] == other[0]).all() and (first == other).all() for other in others)


def _digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    return digest.digest()[:16]
