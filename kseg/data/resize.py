"""An image and its mask at the size that a model takes, by one geometry."""

from typing import Literal

import numpy as np
from PIL import Image

from kseg import IGNORE

Resize = Literal["stretch", "pad", "crop"]


def resized(
    image: np.ndarray, mask: np.ndarray, size: tuple[int, int], how: Resize = "stretch"
) -> tuple[np.ndarray, np.ndarray]:
    """Bring an image and its mask to a size.

    The image is interpolated, over all the pixels that fall together where it shrinks; the mask takes the nearest.

    Args:
        image: uint8 `(H, W, 3)`.
        mask: uint8 `(H, W, 1)`, of 0, 1 and 255.
        size: height and width, in pixels.
        how: "stretch" changes the aspect ratio if need be; "pad" keeps it, and fills what is left over around the
            image with black that is ignored (255 in the mask); "crop" keeps it, and cuts off what is too much around
            the middle.

    Returns:
        uint8 `(*size, 3)` and uint8 `(*size, 1)`.

    >>> image, mask = np.full((4, 8, 3), 9, np.uint8), np.ones((4, 8, 1), np.uint8)
    >>> resized(image, mask, (4, 4), "pad")[1][..., 0]
    array([[255, 255, 255, 255],
           [  1,   1,   1,   1],
           [  1,   1,   1,   1],
           [255, 255, 255, 255]], dtype=uint8)
    """
    inner = size if how == "stretch" else _inner(image.shape[:2], size, how)
    shape = inner[::-1]  # Pillow's width comes first
    image = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BILINEAR))
    mask = np.asarray(Image.fromarray(mask[..., 0]).resize(shape, Image.Resampling.NEAREST))[..., None]
    return _centred(image, size, 0), _centred(mask, size, IGNORE)


def _inner(shape: tuple[int, int], size: tuple[int, int], how: Resize) -> tuple[int, int]:
    """Height and width of the same aspect ratio that just fit in the size, or just cover it."""
    scales = [new / old for old, new in zip(shape, size, strict=True)]
    scale = min(scales) if how == "pad" else max(scales)
    return tuple(max(round(side * scale), 1) for side in shape)


def _centred(array: np.ndarray, size: tuple[int, int], fill: int) -> np.ndarray:
    """Cut off, or fill up, on both sides alike."""
    for axis, (old, new) in enumerate(zip(array.shape, size, strict=False)):
        if old > new:
            array = array.take(range((old - new) // 2, (old - new) // 2 + new), axis)
        elif old < new:
            before = (new - old) // 2
            widths = [(0, 0)] * array.ndim
            widths[axis] = (before, new - old - before)
            array = np.pad(array, widths, constant_values=fill)
    return array
