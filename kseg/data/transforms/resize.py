"""An image and its mask at the size that a model takes, by one geometry."""

from typing import Literal

import cv2
import numpy as np

Resize = Literal["stretch", "pad", "crop"]


def scaled(image: np.ndarray, mask: np.ndarray, size: tuple[int, int], how: Resize) -> tuple[np.ndarray, np.ndarray]:
    """Bring an image and its mask to a size, or as near to it as their aspect ratio lets them.

    The image is averaged over all the pixels that fall together where it shrinks, and interpolated where it grows; the
    mask takes the nearest.

    Args:
        image: uint8 `(H, W, C)`.
        mask: uint8 or uint16 `(H, W, 1)`.
        size: height and width, in pixels.
        how: "stretch" changes the aspect ratio if need be; "pad" keeps it, and fits into the size; "crop" keeps it,
            and covers the size.

    Returns:
        The two, of their types.
    """
    inner = size if how == "stretch" else _inner(image.shape[:2], size, how)
    grey = image.shape[2] == 3 and image.strides[2] == 0  # one channel, seen three times
    image = _averaged(image[..., :1] if grey else image, tuple(map(min, image.shape[:2], inner)))
    image = _resized(image, inner, cv2.INTER_LINEAR)
    # INTER_NEAREST would be half a pixel off.
    mask = _resized(mask, inner, cv2.INTER_NEAREST_EXACT)
    return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB) if grey else image, mask


def _averaged(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Shrink, in halves as long as they come out even: several times as fast as at once, and the same average."""
    (height, width), (new_height, new_width) = picture.shape[:2], size
    while height % 2 == width % 2 == 0 and height >= 2 * new_height and width >= 2 * new_width:
        height, width = height // 2, width // 2
        picture = _resized(picture, (height, width), cv2.INTER_AREA)
    return _resized(picture, size, cv2.INTER_AREA)


def _resized(picture: np.ndarray, size: tuple[int, int], interpolation: int) -> np.ndarray:
    if picture.shape[:2] == size:
        return picture
    # OpenCV takes up to four channels at once, and leaves out a single one.
    parts = [picture[..., first : first + 4] for first in range(0, picture.shape[2], 4)]
    return np.dstack([cv2.resize(part, size[::-1], interpolation=interpolation) for part in parts])


def centred(array: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """Cut off, or fill up, on both sides alike.

    >>> centred(np.ones((1, 2, 1), np.uint8), (3, 2), 255)[..., 0]
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


def _inner(shape: tuple[int, int], size: tuple[int, int], how: Resize) -> tuple[int, int]:
    """Height and width of the same aspect ratio that just fit in the size, or just cover it."""
    scales = [new / old for old, new in zip(shape, size, strict=True)]
    scale = min(scales) if how == "pad" else max(scales)
    return tuple(max(round(side * scale), 1) for side in shape)
