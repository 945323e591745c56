"""Draw outlines and runs of pixels as masks. pycocotools draws the polygons, so that they equal COCO's to the bit.

pycocotools is C code that does not check its input: it reads past the end of a truncated string of runs, and returns
uninitialised memory where runs do not fill the mask. So polygons are checked before they go there, and runs are decoded
here. Each object is drawn in its own columns only, which is cheap for a large image with many small objects.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kseg import IGNORE
from kseg.data.files.bands import turn_upright
from kseg.data.files.formats import ON_ITS_SIDE
from kseg.data.files.images import read_size
from kseg.errors import KsegError

_STEPS_PER_PIXEL = 5  # pycocotools walks along an outline in fifths of a pixel
_MAX_STEPS = 2**24  # 128 MiB in pycocotools
_BITS = 5  # in a character of compressed runs
_NUMBERS = re.compile("(?:[P-o]{0,6}[0-O])+")  # numbers of up to seven characters; P to o: another one follows
_NO_AREA = np.iinfo(np.int32).max


@dataclass(frozen=True)
class Canvas:
    """The size of the image that objects are drawn on."""

    height: int
    width: int
    orientation: int = 1
    """The EXIF orientation by which the drawn mask is turned; 1: the canvas is upright."""

    def turn_upright(self, mask: np.ndarray) -> np.ndarray:
        """Turn a mask `(H, W)` or `(H, W, M)` drawn on this canvas to fit the upright image; uint16 `(H, W, M)`."""
        mask = np.ascontiguousarray(turn_upright(mask, self.orientation), np.uint16)
        return mask if mask.ndim == 3 else mask[..., None]


class Patch(NamedTuple):
    """The pixels of an object, in its own columns."""

    first_column: int
    pixels: np.ndarray
    """True for the pixels of the object, bool `(columns, H)`: columns come first, as in COCO."""


Objects = Iterable[tuple[int, Patch]]
"""Class index and pixels of each object."""


def find_canvas(image: Path, size: tuple[Any, Any] | None = None) -> Canvas:
    """Return the canvas for annotations of an image: the upright image, unless their size is that of the stored one.

    Args:
        image: the image file.
        size: height and width that the annotations state, if any. If the image lies on its side and this is its stored
            size, the drawn mask is turned with it.

    Raises:
        KsegError: the image cannot be read, or has another size.
    """
    height, width, orientation = read_size(str(image))
    upright = (width, height) if orientation in ON_ITS_SIDE else (height, width)
    if size is None or size == upright:
        return Canvas(*upright)
    if size == (height, width):
        return Canvas(height, width, orientation)
    raise KsegError(
        f"the outlines are for {size[1]} x {size[0]}, and {image} is {upright[1]} x {upright[0]} (width x height); "
        "expected one size. Export the annotations again for these images."
    )


def draw_polygons(parts: Sequence[np.ndarray], canvas: Canvas) -> Patch:
    """Draw the union of polygons as COCO does; what lies outside the canvas is cut off.

    Args:
        parts: each float64 `(2 N,)`, N at least 3: x1, y1, x2, y2, … in pixels from the upper left corner.
        canvas: what to draw on.

    Raises:
        KsegError: a coordinate is not a number, or lies further outside than the canvas is large; an outline is too
            long.
    """
    from pycocotools import mask as coco

    limits = np.array([canvas.width, canvas.height])
    for part in parts:
        points = part.reshape(-1, 2)
        is_far = ~((points >= -limits) & (points <= 2 * limits)).all(axis=1)
        if is_far.any():
            x, y = points[is_far][0]
            raise KsegError(
                f"the point ({x:.6g}, {y:.6g}) lies far outside the image, {canvas.width} x {canvas.height}; "
                "expected pixels from its upper left corner. Repair the outline."
            )
        sides = np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1)
        if _STEPS_PER_PIXEL * sides.sum() > _MAX_STEPS:
            raise KsegError(
                f"an outline of {len(points)} points is too long; expected a length of at most "
                f"{_MAX_STEPS // _STEPS_PER_PIXEL} pixels. Draw it again."
            )
    union = coco.merge(coco.frPyObjects(list(parts), canvas.height, canvas.width))
    return draw_runs(decompress_runs(union["counts"].decode()), canvas)


def draw_runs(counts: np.ndarray, canvas: Canvas) -> Patch:
    """Draw runs of pixels, column by column; the second, fourth, … run belong to the object.

    Args:
        counts: the length of each run, int64.
        canvas: what to draw on.

    Raises:
        KsegError: the runs do not fill the canvas.
    """
    total = canvas.height * canvas.width
    # Each count is at most the total, so that their sum cannot overflow.
    if not len(counts) or (counts < 0).any() or (counts > total).any() or counts.sum() != total:
        raise KsegError(
            f"the runs do not add up to the {total} pixels of {canvas.width} x {canvas.height}. Export them again."
        )
    ends = np.cumsum(counts)
    is_object = np.arange(len(counts)) % 2 == 1
    first = ends[0] // canvas.height
    last = -(-ends[is_object].max(initial=ends[0]) // canvas.height)
    first = min(first, last)  # an object without pixels
    edges = np.clip(ends, first * canvas.height, last * canvas.height)
    pixels = np.repeat(is_object, np.diff(edges, prepend=first * canvas.height))
    return Patch(int(first), pixels.reshape(-1, canvas.height))


def decompress_runs(text: str) -> np.ndarray:
    """Return the counts of COCO's compressed runs, int64.

    A character from `0` on has five bits of a number, the lowest first, and a sixth bit if the number continues. From
    the fourth number on, each is the difference to the last but one. See `rleFrString` in
    https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c.

    Raises:
        KsegError: the text is truncated, or is not compressed runs.
    """
    if not _NUMBERS.fullmatch(text):
        raise KsegError("the compressed runs are truncated, or have characters of another format. Export them again.")
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


def draw_smaller_on_top(objects: Objects, canvas: Canvas, *, beneath: Objects = ()) -> np.ndarray:
    """Return class indices, uint16 `(H, W)`; where objects overlap, the smaller one is on top, of equal ones the later.

    The order in the file does not matter, since a large object could hide a small one.

    Args:
        objects: what to draw.
        canvas: what to draw on.
        beneath: objects under all others; of these the later one is on top.
    """
    mask = np.zeros((canvas.width, canvas.height), np.uint16)
    area = np.full(mask.shape, _NO_AREA, np.int32)
    for value, (first, pixels) in beneath:
        mask[first : first + len(pixels)][pixels] = value
    for value, (first, pixels) in objects:
        columns, size = slice(first, first + len(pixels)), np.count_nonzero(pixels)
        is_shown = pixels & (area[columns] >= size)
        mask[columns][is_shown], area[columns][is_shown] = value, size
    return mask.T


def draw_layers(objects: Objects, canvas: Canvas, number: int) -> np.ndarray:
    """Return each class by itself, uint16 `(H, W, number)`: 0, 1, or 255 where pixels are ignored.

    Args:
        objects: what to draw, in this order: a class from 1 on becomes 1 in its layer; 255 is ignored in all layers,
            and 0 is background in all.
        canvas: what to draw on.
        number: the number of classes.
    """
    layers = np.zeros((canvas.width, canvas.height, number), np.uint16)
    for value, (first, pixels) in objects:
        layer = slice(None) if value in (0, IGNORE) else value - 1
        layers[first : first + len(pixels), :, layer][pixels] = value if value in (0, IGNORE) else 1
    return layers.swapaxes(0, 1)


def draw_later_on_top(objects: Objects, canvas: Canvas) -> np.ndarray:
    """Return class indices, uint16 `(H, W)`; where objects overlap, the later one is on top."""
    return draw_smaller_on_top((), canvas, beneath=objects)
