"""Outlines and runs of pixels as masks. pycocotools draws polygons, to the bit as COCO does.

It is C that trusts its input, so nothing is handed to it that was not measured before. Runs of pixels are not handed to
it at all: of a string that breaks off it reads what lies behind in memory, and where runs are too few it leaves the
rest of a mask as that memory was. An object is drawn in its own columns alone, so that a large picture of many small
ones costs no more than it must.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kseg.data.files.bands import turned_upright
from kseg.data.files.images import read_size
from kseg.errors import KsegError

_MOST_STEPS = 2**24  # of pycocotools around a polygon, a fifth of a pixel each: 128 MiB
_BITS = 5  # in a character of compressed runs
_GROUPS = re.compile("(?:[P-o]{0,6}[0-O])+")  # up to six characters with one to follow, and the last
_ON_ITS_SIDE = range(5, 9)  # EXIF orientations
_NO_AREA = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Frame:
    """The picture that outlines lie on."""

    height: int
    width: int
    orientation: int = 1
    """EXIF's, if what is drawn is still to be turned as it says."""

    def upright(self, mask: np.ndarray) -> np.ndarray:
        """A mask `(H, W)` that was drawn on it as one that fits the upright image, uint16 `(H, W, 1)`."""
        return np.ascontiguousarray(turned_upright(mask, self.orientation), np.uint16)[..., None]


class Patch(NamedTuple):
    """Where an object is."""

    first: int
    """The first of its columns."""
    inside: np.ndarray
    """Which pixels of its columns, each from top to bottom, belong to it, bool `(N, H)`."""


Objects = Iterable[tuple[int, Patch]]
"""Class indices, and where each is."""


def frame_of(image: Path, size: tuple[int, int] | None = None) -> Frame:
    """What outlines on an image lie on: on the upright picture, as tools show it, unless their size says otherwise.

    Args:
        image: the file.
        size: height and width that go with the outlines, if any do. Those of the upright picture, or, of one that lies
            on its side, those of the stored one: the outlines are turned with it then.

    Raises:
        KsegError: the image cannot be read, or is of another size.
    """
    height, width, orientation = read_size(str(image))
    upright = (width, height) if orientation in _ON_ITS_SIDE else (height, width)
    if size in (None, upright):
        return Frame(*upright)
    if size == (height, width):
        return Frame(height, width, orientation)
    raise KsegError(
        f"the outlines are for {size[1]} x {size[0]}, and {image} is {upright[1]} x {upright[0]} (width x height); "
        "expected one size. Export them again for the images that are here."
    )


def draw_polygons(parts: Sequence[np.ndarray], frame: Frame) -> Patch:
    """Where any of these polygons is, as COCO draws them.

    Args:
        parts: each of float64 `(2 N,)`, x and y in turn, in pixels from the upper left corner, N at least 3.
        frame: what they lie on; what is outside of it is cut off.

    Raises:
        KsegError: a coordinate is not a number, or farther outside than the picture is large; an outline is too long.
    """
    from pycocotools import mask as coco

    limits = np.array([frame.width, frame.height])
    for part in parts:
        points = part.reshape(-1, 2)
        outside = ~((points >= -limits) & (points <= 2 * limits)).all(axis=1)
        if outside.any():
            x, y = points[outside][0]
            raise KsegError(
                f"the point ({x:.6g}, {y:.6g}) lies far outside of the picture, {frame.width} x {frame.height}; "
                "expected pixels from its upper left corner."
            )
        if 5 * np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum() > _MOST_STEPS:
            raise KsegError(f"an outline of {len(points)} points is longer than any object's; draw it again.")
    drawn = coco.merge(coco.frPyObjects(list(parts), frame.height, frame.width))
    return draw_runs(uncompressed(drawn["counts"].decode()), frame)


def draw_runs(counts: np.ndarray, frame: Frame) -> Patch:
    """Runs of pixels, column by column, of which the second, fourth, … belong to the object; int64.

    Raises:
        KsegError: they do not fill the picture.
    """
    pixels = frame.height * frame.width
    # No count is larger, so that the sum cannot wrap.
    if not len(counts) or (counts < 0).any() or (counts > pixels).any() or counts.sum() != pixels:
        raise KsegError(f"the runs do not add up to the {pixels} pixels of {frame.width} x {frame.height}.")
    ends = np.cumsum(counts)
    is_inside = np.arange(len(counts)) % 2 == 1
    first, last = ends[0] // frame.height, -(-ends[is_inside].max(initial=ends[0]) // frame.height)
    first = min(first, last)  # of none
    edges = np.clip(ends, first * frame.height, last * frame.height)
    inside = np.repeat(is_inside, np.diff(edges, prepend=first * frame.height))
    return Patch(int(first), inside.reshape(-1, frame.height))


def uncompressed(text: str) -> np.ndarray:
    """The counts in COCO's compressed runs, int64.

    Five bits a character from `0` on, the lowest first, and a sixth if more of the number is to follow; from the
    fourth on each is the difference to the last but one.

    Raises:
        KsegError: these are none.
    """
    if not _GROUPS.fullmatch(text):
        raise KsegError("the compressed runs break off, or hold what is no part of them.")
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - ord("0")
    is_last = codes < 2**_BITS
    starts = np.concatenate([[0], np.flatnonzero(is_last)[:-1] + 1])
    places = np.arange(len(codes)) - np.repeat(starts, np.diff(starts, append=len(codes)))
    counts = np.add.reduceat((codes % 2**_BITS) << _BITS * places, starts)
    # The highest bit of the last character is the sign.
    counts -= (codes[is_last] >> _BITS - 1) << _BITS * (places[is_last] + 1)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def smaller_on_top(objects: Objects, frame: Frame, *, beneath: Objects = ()) -> np.ndarray:
    """Class indices, uint16 `(H, W)`: where objects overlap, that of the smaller one; of one size, the later.

    The order of a file says nothing there, and a large object that lay on a small one would hide it.

    Args:
        objects: what to draw.
        frame: what they lie on.
        beneath: what is beneath all of them.
    """
    mask = np.zeros((frame.width, frame.height), np.uint16)
    area = np.full(mask.shape, _NO_AREA, np.int32)
    for value, (first, inside) in beneath:
        mask[first : first + len(inside)][inside] = value
    for value, (first, inside) in objects:
        columns, size = slice(first, first + len(inside)), np.count_nonzero(inside)
        shown = inside & (area[columns] >= size)
        mask[columns][shown], area[columns][shown] = value, size
    return mask.T


def later_on_top(objects: Objects, frame: Frame) -> np.ndarray:
    """Class indices, uint16 `(H, W)`: where objects overlap, that of the later; arguments as in `smaller_on_top`."""
    return smaller_on_top((), frame, beneath=objects)
