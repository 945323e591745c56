"""Where the pixels of an image and its mask go: one draw, one geometry for both.

A crop is a slice, resized. Where an image is moved more freely than that, or pulled about, crop and move are one map
from each pixel to where it comes from, so that the image is interpolated once. A mask takes the nearest pixel, by the
same coordinates, and never a value between two.

What comes from outside of the image is its reflection, and the mask's: so the two belong together up to the corners,
every pixel counts, and a model meets no black corners, which no image has where it is used.
"""

import functools
import math

import cv2
import numpy as np

from kseg import IGNORE
from kseg.data.transforms.strengths import Augmentation

_SMALLEST_FOREGROUND_CROP = 0.5  # height and width, as a share of the image's
_KNOTS = 6  # along each side, by which an elastic change pulls
_MOST_CHANNELS = 4  # that OpenCV transposes whatever their number

Box = tuple[int, int, int, int]
"""Top, left, height, width, in pixels."""

Place = tuple[float, float]
"""x, y, in pixels from the middle of the first one, as OpenCV has it."""


def move(
    image: np.ndarray, mask: np.ndarray, how: Augmentation, rng: np.random.Generator, around_foreground: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Crop, move, pull about, turn and mirror; arguments and results as in `augment_example`."""
    box, kept = _draw_crop(mask, how, rng, around_foreground)
    height, width = mask.shape[:2]
    square = height == width
    quarters = int(rng.integers(4 if square else 2)) * (1 if square else 2) if how.turns else 0
    mirrored = how.mirror and rng.random() < 0.5
    matrix = _draw_move(how, rng)
    pull = _draw_pull((height, width), how, rng)

    if matrix is None and pull is None:
        image, mask = crop(image, mask, box)
    else:
        image, mask = sample(image, mask, sources((height, width), box, kept, matrix, pull))
    return symmetry(image, quarters, mirrored), symmetry(mask, quarters, mirrored)


def _draw_crop(
    mask: np.ndarray, how: Augmentation, rng: np.random.Generator, around_foreground: bool
) -> tuple[Box, Place]:
    """A box in the image, and the place in its crop that further moves leave where it is.

    Around foreground, it holds a foreground pixel, of which each is as likely, and that is where this pixel comes to;
    otherwise it is anywhere, and its middle stays.
    """
    height, width = mask.shape[:2]
    found = np.flatnonzero((mask != 0) & (mask != IGNORE)) if around_foreground else ()
    side = rng.uniform(_SMALLEST_FOREGROUND_CROP if len(found) else how.crop, 1)
    inner_height, inner_width = max(round(side * height), 1), max(round(side * width), 1)
    if not len(found):
        top, left = int(rng.integers(height - inner_height + 1)), int(rng.integers(width - inner_width + 1))
        return (top, left, inner_height, inner_width), ((width - 1) / 2, (height - 1) / 2)

    row, column = divmod(int(found[rng.integers(len(found))]), width)
    top = int(rng.integers(max(row - inner_height + 1, 0), min(row, height - inner_height) + 1))
    left = int(rng.integers(max(column - inner_width + 1, 0), min(column, width - inner_width) + 1))
    kept = (column - left + 0.5) / inner_width * width - 0.5, (row - top + 0.5) / inner_height * height - 0.5
    return (top, left, inner_height, inner_width), kept


def _draw_move(how: Augmentation, rng: np.random.Generator) -> np.ndarray | None:
    """From a step between pixels to the step between where they come from, `(2, 2)`; None for none."""
    if (how.rotation, how.zoom, how.shear) == (0, 1, 0) or rng.random() >= how.share:
        return None
    angle, lean = np.radians(rng.uniform(-1, 1, 2) * (how.rotation, how.shear))
    zoom = how.zoom ** rng.uniform(-1, 1)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return rotation @ np.array([[1, math.tan(lean)], [0, 1]]) / zoom


def _draw_pull(size: tuple[int, int], how: Augmentation, rng: np.random.Generator) -> np.ndarray | None:
    """How far each pixel is pulled, (x, y), float32 `(H, W, 2)`; None for not at all."""
    if not how.elastic or rng.random() >= how.share:
        return None
    height, width = size
    knots = rng.uniform(-how.elastic, how.elastic, (_KNOTS, _KNOTS, 2)) * (width, height)
    return cv2.resize(knots.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)


def crop(image: np.ndarray, mask: np.ndarray, box: Box) -> tuple[np.ndarray, np.ndarray]:
    """The pixels in a box, resized to the size of the whole."""
    top, left, height, width = box
    if (height, width) == image.shape[:2]:
        return image, mask
    shape = image.shape[1::-1]
    inside = np.s_[top : top + height, left : left + width]
    image_inside = cv2.resize(image[inside], shape, interpolation=cv2.INTER_LINEAR)
    # INTER_NEAREST is half a pixel off: it asks for the nearest to a pixel's corner.
    mask_inside = cv2.resize(mask[inside], shape, interpolation=cv2.INTER_NEAREST_EXACT)
    return image_inside.reshape(image.shape), mask_inside.reshape(mask.shape)


def sources(
    size: tuple[int, int], box: Box, kept: Place, matrix: np.ndarray | None, pull: np.ndarray | None
) -> np.ndarray:
    """The place that each pixel comes from, float32 `(H, W, 2)`.

    Args:
        size: height and width of the image, and of the result.
        box: what is cropped.
        kept: the place in the crop that stays where it is.
        matrix: from the step between two pixels, (x, y), to the step between where they come from, `(2, 2)`.
        pull: what is added to pixels' places before that, `(H, W, 2)`.
    """
    height, width = size
    top, left, box_height, box_width = box
    scale = np.array([box_width / width, box_height / height])
    linear = scale[:, None] * (np.eye(2) if matrix is None else matrix)
    kept_source = (np.array(kept) + 0.5) * scale - 0.5 + (left, top)
    places = _places(size)
    if pull is not None:
        kept = kept + pull[round(kept[1]), round(kept[0])]
        places = cv2.add(places, pull)
    return cv2.transform(places, np.column_stack([linear, kept_source - linear @ kept]))


@functools.lru_cache(maxsize=4)
def _places(size: tuple[int, int]) -> np.ndarray:
    """The place of each pixel itself, float32 `(H, W, 2)`; not to be written to."""
    rows, columns = np.indices(size, np.float32)
    return np.stack([columns, rows], axis=-1)


def sample(image: np.ndarray, mask: np.ndarray, where: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image between its pixels at these places, and the mask at the nearest; outside of them, their reflections."""
    border = cv2.BORDER_REFLECT_101
    new_image = cv2.remap(image, where, None, cv2.INTER_LINEAR, borderMode=border)
    new_mask = cv2.remap(mask, where, None, cv2.INTER_NEAREST, borderMode=border)
    return new_image.reshape(image.shape), new_mask.reshape(mask.shape)


def symmetry(array: np.ndarray, quarters: int, mirrored: bool) -> np.ndarray:
    """Turned by so many quarters clockwise, 0 to 3, then, if asked, mirrored left for right."""
    shape = array.shape
    if quarters:
        turn = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)[quarters - 1]
        few = shape[2] <= _MOST_CHANNELS
        array = cv2.rotate(array, turn) if few else np.ascontiguousarray(np.rot90(array, -quarters))
    return (cv2.flip(array, 1) if mirrored else array).reshape(shape)
