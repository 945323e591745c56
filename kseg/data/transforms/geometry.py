"""Random geometric changes to an image and its mask: one draw, the same geometry for both.

A crop alone is a slice, resized. With rotation, zoom, shear or elastic changes, crop and changes become one map from
each pixel to the point that it comes from, so that the image is interpolated once. The mask takes the nearest pixel at
the same point; its values are never interpolated.

Points outside of the image are reflected, in the mask too. So every pixel has a true value, and a model sees no black
corners, which real images do not have.
"""

import functools
import math
from typing import Any

import cv2
import numpy as np

from kseg import IGNORE
from kseg.data.transforms.strengths import Augmentation

_SMALLEST_FOREGROUND_CROP = 0.5  # height and width, as a share of the image's
_KNOTS = 6  # along each side: the grid of random displacements of an elastic change
_MAX_ROTATE_CHANNELS = 4  # of cv2.rotate

Box = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""

Point = tuple[float, float]
"""x, y, in pixels from the middle of the first pixel, as in OpenCV."""


def change_geometry(
    image: np.ndarray, mask: np.ndarray, how: Augmentation, rng: np.random.Generator, around_foreground: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, rotate, zoom, shear, deform, turn and mirror; arguments and results as in `augment_example`."""
    box, fixed = _draw_crop(mask, how, rng, around_foreground)
    height, width = mask.shape[:2]
    square = height == width
    quarters = int(rng.integers(4 if square else 2)) * (1 if square else 2) if how.turns else 0
    mirrored = how.mirror and rng.random() < 0.5
    matrix = _draw_matrix(how, rng)
    displacement = _draw_displacement((height, width), how, rng)

    if matrix is None and displacement is None:
        image, mask = crop(image, mask, box)
    else:
        image, mask = sample(image, mask, source_points((height, width), box, fixed, matrix, displacement))
    return turn_and_mirror(image, quarters, mirrored), turn_and_mirror(mask, quarters, mirrored)


def _draw_crop(
    mask: np.ndarray, how: Augmentation, rng: np.random.Generator, around_foreground: bool
) -> tuple[Box, Point]:
    """Return a random box in the image, and the point of the crop that further changes leave in place.

    Around foreground, the box contains a random foreground pixel, and this pixel stays in place. Otherwise the box is
    anywhere, and the middle stays in place.
    """
    height, width = mask.shape[:2]
    foreground = np.flatnonzero(((mask != 0) & (mask != IGNORE)).any(-1)) if around_foreground else np.array([], int)
    side = rng.uniform(_SMALLEST_FOREGROUND_CROP if len(foreground) else how.crop, 1)
    inner_height, inner_width = max(round(side * height), 1), max(round(side * width), 1)
    if not len(foreground):
        top, left = int(rng.integers(height - inner_height + 1)), int(rng.integers(width - inner_width + 1))
        return (top, left, inner_height, inner_width), ((width - 1) / 2, (height - 1) / 2)

    row, column = divmod(int(foreground[rng.integers(len(foreground))]), width)
    top = int(rng.integers(max(row - inner_height + 1, 0), min(row, height - inner_height) + 1))
    left = int(rng.integers(max(column - inner_width + 1, 0), min(column, width - inner_width) + 1))
    fixed = (column - left + 0.5) / inner_width * width - 0.5, (row - top + 0.5) / inner_height * height - 0.5
    return (top, left, inner_height, inner_width), fixed


def _draw_matrix(how: Augmentation, rng: np.random.Generator) -> np.ndarray | None:
    """Return a random rotation, zoom and shear, `(2, 2)`, from new to old coordinates; None for no change."""
    if (how.rotation, how.zoom, how.shear) == (0, 1, 0) or rng.random() >= how.share:
        return None
    angle, lean = np.radians(rng.uniform(-1, 1, 2) * (how.rotation, how.shear))
    zoom = how.zoom ** rng.uniform(-1, 1)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return rotation @ np.array([[1, math.tan(lean)], [0, 1]]) / zoom


def _draw_displacement(size: tuple[int, int], how: Augmentation, rng: np.random.Generator) -> np.ndarray | None:
    """Return a random displacement (x, y) of each pixel, float32 `(H, W, 2)`; None for none."""
    if not how.elastic or rng.random() >= how.share:
        return None
    height, width = size
    knots = rng.uniform(-how.elastic, how.elastic, (_KNOTS, _KNOTS, 2)) * (width, height)
    return cv2.resize(knots.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def crop(image: np.ndarray, mask: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels in a box, resized to the size of the whole image."""
    top, left, height, width = box
    if (height, width) == image.shape[:2]:
        return image, mask
    shape = image.shape[1::-1]
    inside = np.s_[top : top + height, left : left + width]
    image_inside = cv2.resize(image[inside], shape, interpolation=cv2.INTER_LINEAR)
    # INTER_NEAREST is half a pixel off: it takes the nearest to a pixel's corner.
    mask_inside = cv2.resize(mask[inside], shape, interpolation=cv2.INTER_NEAREST_EXACT)
    return image_inside.reshape(image.shape), mask_inside.reshape(mask.shape)


def source_points(
    size: tuple[int, int], box: Box, fixed: Point, matrix: np.ndarray | None, displacement: np.ndarray | None
) -> np.ndarray:
    """Return the point (x, y) that each pixel comes from, float32 `(H, W, 2)`.

    Args:
        size: height and width of the image, and of the result.
        box: the crop.
        fixed: the point of the crop that `matrix` leaves in place.
        matrix: `(2, 2)`, from the difference of two new points to the difference of their old points; None: identity.
        displacement: `(H, W, 2)`, added to the new points first; None: zero.
    """
    height, width = size
    top, left, box_height, box_width = box
    scale = np.array([box_width / width, box_height / height])
    linear = scale[:, None] * (np.eye(2) if matrix is None else matrix)
    source = (np.array(fixed) + 0.5) * scale - 0.5 + (left, top)
    points = _pixel_points(size)
    if displacement is not None:
        fixed = fixed + displacement[round(fixed[1]), round(fixed[0])]
        points = cv2.add(points, displacement)
    return cv2.transform(points, np.column_stack([linear, source - linear @ fixed]))


@functools.lru_cache(maxsize=4)
def _pixel_points(size: tuple[int, int]) -> np.ndarray:
    """Return the point of each pixel, float32 `(H, W, 2)`; must not be written to."""
    rows, columns = np.indices(size, np.float32)
    return np.stack([columns, rows], axis=-1)


def sample(image: np.ndarray, mask: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the image interpolated at these points, and the nearest mask pixels; the outside is a reflection."""
    second_map: Any = None  # OpenCV takes None if the first map has both coordinates; its type stubs do not
    border = cv2.BORDER_REFLECT_101
    new_image = cv2.remap(image, points, second_map, cv2.INTER_LINEAR, borderMode=border)
    new_mask = cv2.remap(mask, points, second_map, cv2.INTER_NEAREST, borderMode=border)
    return new_image.reshape(image.shape), new_mask.reshape(mask.shape)


def turn_and_mirror(array: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """Turn clockwise by 0 to 3 quarter turns, then mirror left to right if asked."""
    shape = array.shape
    if quarters:
        turn = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)[quarters - 1]
        few = shape[2] <= _MAX_ROTATE_CHANNELS
        array = cv2.rotate(array, turn) if few else np.ascontiguousarray(np.rot90(array, -quarters))
    return (cv2.flip(array, 1) if mirrored else array).reshape(shape)
