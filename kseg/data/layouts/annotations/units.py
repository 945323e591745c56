"""The unit of outlines: pixels, but some tools export shares of the sides, or per cent.

Some images were also made smaller after they were annotated.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kseg.data.layouts.text_files import as_number
from kseg.errors import KsegError

_MOST_LEAVING = 0.2  # share of objects that a person drew beyond the rim, or a crop cut
_MANY = 8  # polygons that prove that something is not by chance
_LARGE = 200  # pixels: sides of images whose objects do not all lie within the first 100 pixels by chance
_TOO_LARGE = 1e6  # pixels of a side that is no size


class Reach(NamedTuple):
    """How far the outline of an object reaches."""

    x: float
    y: float
    width: float
    """Of its image; 0 if unknown."""
    height: float
    name: str
    """The object, for messages."""


def stated_size(height: Any, width: Any) -> tuple[float, float]:
    """Return width and height as a file states them, each 0 if it is no size.

    >>> stated_size("480", None)
    (0, 480)
    """
    return _side(width), _side(height)


def _side(value: Any) -> float:
    side = as_number(value)
    is_size = isinstance(side, int | float) and not isinstance(side, bool) and 0 < side < _TOO_LARGE
    return side if is_size else 0


def are_shares(path: Path, objects: Sequence[Reach]) -> bool:
    """Return whether coordinates are shares of the sides: none is above 1, in images of more than two pixels.

    Args:
        path: the file or folder with the annotations, for messages.
        objects: all objects with outlines.

    Raises:
        KsegError: more than a fifth of the objects leave their images. Or coordinates are per cent: none is above 100,
            and objects leave their images, or lie all in one corner of large images.
    """
    if not objects:
        return False
    reach, sizes = np.array([entry[:2] for entry in objects]), np.array([entry[2:4] for entry in objects])
    if reach.max() <= 1:
        return bool((sizes[sizes > 0] > 2).all())
    farthest = objects[int(reach.max(axis=1).argmax())]
    # More than a slip of the pen.
    leaving = np.flatnonzero(np.any((sizes > 0) & (reach > 1.05 * sizes + 1), axis=1))
    many_leave = len(leaving) > _MOST_LEAVING * len(objects)
    fill_corner = len(objects) >= _MANY and bool((sizes >= _LARGE).all()) and reach.max() > 80
    if reach.max() <= 100 and (many_leave or fill_corner):
        raise KsegError(
            f"{path}: the polygons of {len(objects)} objects reach {reach.max():.4g}, as {farthest.name}, and leave "
            "their images or lie all in one corner. That looks like per cent of the sides; expected pixels. Multiply x "
            "by width / 100 and y by height / 100, or export the file again in pixels."
        )
    if many_leave and len(leaving) > 1:
        raise KsegError(
            f"{path}: the polygons of {len(leaving)} of {len(objects)} objects leave their images, such as "
            f"{farthest.name}, which reaches ({farthest.x:.4g}, {farthest.y:.4g}) in {farthest.width} x "
            f"{farthest.height}. Expected pixels of images of the stated size: were they resized after they were "
            "annotated? Export the annotations again for these images."
        )
    return False
