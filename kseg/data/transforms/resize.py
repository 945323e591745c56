"""Resize an image and its mask to the size that a model takes."""

from typing import Literal

import cv2
import numpy as np

Resize = Literal["stretch", "pad", "crop"]


def scale(image: np.ndarray, mask: np.ndarray, size: tuple[int, int], how: Resize) -> tuple[np.ndarray, np.ndarray]:
    """Scale an image and its mask to a size; with "pad" and "crop", only as far as the aspect ratio allows.

    The image is averaged over all pixels that fall into one where it shrinks, and interpolated where it grows; the mask
    takes the nearest pixel. `pad_or_crop` brings the result to the exact size.

    Args:
        image: uint8 `(H, W, C)`.
        mask: uint8 or uint16 `(H, W, M)`.
        size: height and width, in pixels.
        how: "stretch" distorts; "pad" keeps the ratio and fits into the size; "crop" keeps the ratio and covers the
            size.

    Returns:
        The image and the mask, of the same dtypes.
    """
    image = scale_image(image, size, how)
    # INTER_NEAREST would be half a pixel off.
    return image, _resize(mask, (image.shape[0], image.shape[1]), cv2.INTER_NEAREST_EXACT)


def scale_image(image: np.ndarray, size: tuple[int, int], how: Resize) -> np.ndarray:
    """Scale an image alone, as `scale` does."""
    height, width = scaled_size((image.shape[0], image.shape[1]), size, how)
    grey = image.shape[2] == 3 and image.strides[2] == 0  # a view of one channel, three times
    smaller = min(image.shape[0], height), min(image.shape[1], width)
    image = _shrink(image[..., :1] if grey else image, smaller)
    image = _resize(image, (height, width), cv2.INTER_LINEAR)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if grey else image


def _shrink(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink by averaging. Halving while the sides are even gives the same average several times as fast."""
    (height, width), (new_height, new_width) = picture.shape[:2], size
    while height % 2 == width % 2 == 0 and height >= 2 * new_height and width >= 2 * new_width:
        height, width = height // 2, width // 2
        picture = _resize(picture, (height, width), cv2.INTER_AREA)
    return _resize(picture, size, cv2.INTER_AREA)


def _resize(picture: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    # OpenCV takes at most four channels at once, and drops the axis of a single one.
    parts = [picture[..., first : first + 4] for first in range(0, picture.shape[2], 4)]
    return np.dstack([cv2.resize(part, size[::-1], interpolation=interpolation) for part in parts])


def pad_or_crop(array: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """Crop or pad an array to a height and width, equally on both sides.

    Args:
        array: `(H, W, C)`.
        size: height and width, in pixels.
        fill: the value of added pixels.

    >>> pad_or_crop(np.ones((1, 2, 1), np.uint8), (3, 2), 255)[..., 0]
    array([[255, 255],
           [  1,   1],
           [255, 255]], dtype=uint8)
    """
    for axis, (old, new) in enumerate(zip(array.shape, size, strict=False)):
        if old > new:
            array = array.take(range((old - new) // 2, (old - new) // 2 + new), axis)
        elif old < new:
            before = (new - old) // 2
            widths = [(0, 0)] * array.ndim
            widths[axis] = (before, new - old - before)
            array = np.pad(array, widths, constant_values=fill)
    return array


def scaled_size(shape: tuple[int, int], size: tuple[int, int], how: Resize) -> tuple[int, int]:
    """Return the height and width to which `scale` brings an image.

    It is `size` with "stretch"; else of the image's ratio, the largest in `size` ("pad") or the smallest around it
    ("crop").
    """
    if how == "stretch":
        return size
    factors = [new / old for old, new in zip(shape, size, strict=True)]
    factor = min(factors) if how == "pad" else max(factors)
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)
