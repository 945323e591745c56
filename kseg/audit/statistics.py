"""What is measured in one image and in one mask: NumPy and Pillow, a few milliseconds a megapixel."""

import hashlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

from kseg import IGNORE
from kseg.data.files.bands import to_rgb

SIDE = 64
"""Height and width of a thumbnail."""

FLAT = 2
"""The spread, of 255, up to which an image is of one colour."""

_SMALL_SIDE = 16  # of the grey picture by which near duplicates are confirmed
_ENOUGH = 256  # pixels of the shorter side, for a thumbnail
_EVEN = 2  # of 255: a smaller step between neighbours on a coarse grid is none
_VALUES = 65536


@dataclass(frozen=True, eq=False)
class ImageLook:
    """What was seen in an image."""

    size: tuple[int, int]
    """Height, width."""
    digest: bytes
    """Of the decoded pixels: equal for equal pictures, whatever their files."""
    bits: np.ndarray
    """Whether it brightens to the right, and downwards, on a coarse grid; uint64 `(2,)`."""
    small: np.ndarray
    """Itself in grey; uint8 `(16, 16)`."""
    spread: int
    """At least how far apart the smallest and largest value of a channel are; exact up to `FLAT`."""
    brightest: int
    """The brightest grey of its thumbnail, where a single hot pixel does not count."""
    thumbnail: np.ndarray | None
    """uint8 `(64, 64, 3)`, where one was asked for."""


@dataclass(frozen=True, eq=False)
class MaskLook:
    """What was seen in a mask."""

    size: tuple[int, int]
    """Height, width."""
    digest: bytes
    """Of its foreground."""
    values: tuple[int, ...]
    """The values stored, in order."""
    counts: tuple[int, ...]
    """How many pixels hold each."""
    share: float
    """The share of foreground, of what is not ignored."""
    border: float
    """The share of foreground in the outermost pixels."""
    specks: int
    """How many objects have one or two pixels."""
    thumbnail: np.ndarray | None
    """Foreground as 255; uint8 `(64, 64)`, where one was asked for."""


def look_at_image(image: np.ndarray, thumbnail: bool) -> ImageLook:
    """Measure an image, uint8 `(H, W, C)`."""
    # Every few pixels of a large image are enough for what is averaged over a grid.
    step = max(1, min(image.shape[:2]) // _ENOUGH)
    picture = Image.fromarray(np.ascontiguousarray(to_rgb(image[::step, ::step])))
    tiny = picture.resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    grey = tiny.convert("L")
    spread = _spread(tiny)
    return ImageLook(
        size=image.shape[:2],
        digest=_digest(image[..., :1] if _is_grey(image) else image),
        bits=_brightening(grey),
        small=np.asarray(grey.resize((_SMALL_SIDE, _SMALL_SIDE), Image.Resampling.BOX)),
        spread=spread if spread > FLAT else int(np.ptp(image, axis=(0, 1)).max()),
        brightest=grey.getextrema()[1],
        thumbnail=np.asarray(tiny) if thumbnail else None,
    )


def look_at_mask(mask: np.ndarray, table: np.ndarray | None, thumbnail: bool) -> MaskLook:
    """Measure a mask, uint16 `(H, W, 1)`, with a rule's table or, without one, as the mask itself suggests."""
    mask = mask[..., 0]
    values, counts = _values_of(mask)
    table = suggested_table(values, counts) if table is None else table
    foreground = _where_one(mask, values, table)
    kinds = table[values]
    edges = (foreground[0], foreground[-1], foreground[1:-1, 0], foreground[1:-1, -1])
    return MaskLook(
        size=mask.shape,
        digest=_digest(np.packbits(foreground)),
        values=tuple(values.tolist()),
        counts=tuple(counts.tolist()),
        share=float(counts[kinds == 1].sum() / max(counts[kinds != IGNORE].sum(), 1)),
        border=float(np.concatenate(edges).mean()),
        specks=count_specks(foreground),
        thumbnail=_thumbnail_of(foreground) if thumbnail else None,
    )


def foreground_of(mask: np.ndarray, table: np.ndarray | None) -> np.ndarray:
    """Where a mask, uint16 `(H, W, 1)`, has foreground, bool `(H, W)`; arguments as in `look_at_mask`."""
    mask = mask[..., 0]
    values, counts = _values_of(mask)
    return _where_one(mask, values, suggested_table(values, counts) if table is None else table)


def suggested_table(values: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """uint8 `(65536,)`: what each value is if this mask alone decides. Soft edges are cut in the middle."""
    table = np.zeros(_VALUES, np.uint8)
    if set(values.tolist()) <= {0, IGNORE}:
        table[IGNORE] = 1
    elif is_soft(values, counts):
        table[128:] = 1
    else:
        table[1:] = 1
        table[IGNORE] = IGNORE
    return table


def is_soft(values: np.ndarray, counts: np.ndarray) -> bool:
    """Whether a mask was white on black until it was interpolated, or stored as JPEG.

    Values lie between on both sides of the middle, and light ones are more than those in between. Of class
    indices and instance numbers that is not so.
    """
    values, counts = np.asarray(values), np.asarray(counts)
    between = values[(values > 0) & (values < IGNORE)]
    both_sides = (between < 128).any() and (between >= 128).any() and len(between) >= 4
    light, middle = counts[(values >= 200) & (values <= IGNORE)].sum(), counts[(values >= 56) & (values < 200)].sum()
    return bool(both_sides and light > middle and values[-1] <= IGNORE)


def count_specks(foreground: np.ndarray) -> int:
    """How many objects of a bool `(H, W)` have one or two pixels, where pixels that touch at a corner are together.

    >>> count_specks(np.array([[1, 0, 0, 0, 1], [0, 0, 0, 1, 0], [1, 1, 1, 0, 0]], bool))
    1
    >>> count_specks(np.array([[1, 0, 0, 0, 1], [0, 0, 0, 0, 1]], bool))
    2
    """
    around = _around(foreground)
    single = int((foreground & (around == 0)).sum())
    ends = foreground & (around == 1)
    if not ends.any():
        return single
    # A pixel with one neighbour, which has one neighbour: they have each other.
    return single + int((ends & (_around(ends) == 1)).sum()) // 2


def _values_of(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that a mask holds, and how many pixels hold each."""
    counts = np.bincount(mask.ravel())
    values = np.flatnonzero(counts)
    return values, counts[values]


def _thumbnail_of(foreground: np.ndarray) -> np.ndarray:
    whole = Image.fromarray(foreground.view(np.uint8) * np.uint8(255))
    return np.asarray(whole.resize((SIDE, SIDE), Image.Resampling.BOX))


def _where_one(mask: np.ndarray, values: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Where the table says 1 of a mask that holds these values, bool `(H, W)`."""
    ones = values[table[values] == 1]
    return mask == ones[0] if len(ones) == 1 else table[mask] == 1


def _around(where: np.ndarray) -> np.ndarray:
    """How many of a pixel's eight neighbours are True."""
    padded = np.zeros((where.shape[0] + 2, where.shape[1] + 2), np.uint8)
    padded[1:-1, 1:-1] = where
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    return rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:] - where


def _brightening(grey: Image.Image) -> np.ndarray:
    """The difference hash in both directions, twice 64 bits; noise on even ground is no difference."""
    across = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), np.int16)
    down = np.asarray(grey.resize((8, 9), Image.Resampling.BOX), np.int16)
    steps = np.concatenate([np.diff(across, axis=1).ravel(), np.diff(down, axis=0).ravel()])
    return np.packbits(steps > _EVEN).view(np.uint64)


def _is_grey(image: np.ndarray) -> bool:
    """Whether an image `(H, W, C)` has one channel several times over, as it was read or as it was saved."""
    if image.strides[2] == 0:
        return True
    first, *others = np.moveaxis(image, -1, 0)
    return all((first[0] == other[0]).all() and (first == other).all() for other in others)


def _spread(picture: Image.Image) -> int:
    return max(high - low for low, high in picture.getextrema())


def _digest(pixels: np.ndarray) -> bytes:
    digest = hashlib.sha256(str(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels))
    return digest.digest()[:16]
