"""Photographs that an EXIF tag turns: was the mask made for the turned picture, or for the stored pixels?

Where the sizes do not tell (square images, and turns by a half), the edges do: those of a mask lie where its image
changes.
"""

from collections.abc import Callable

import cv2
import numpy as np

from kseg.data.files.formats import ImageFile
from kseg.data.files.images import read_size
from kseg.data.files.label_masks import LabelChannels, LabelFiles
from kseg.data.files.masks import MaskAnnotation
from kseg.data.files.object_files import ObjectFiles

_SIDE = 64

# What brings a turned picture back to its stored pixels, by EXIF orientation.
_BACK: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: image.swapaxes(0, 1),
    6: np.rot90,
    7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
    8: lambda image: np.rot90(image, -1),
}


def find_turn(image: ImageFile, mask: ImageFile | MaskAnnotation) -> int:
    """Return the EXIF orientation of an image, 2 to 8, if its mask has another one; else 1.

    Of several files, one for each label or object, the first decides.

    Raises:
        KsegError: a file cannot be read.
    """
    turn = read_size(image)[2]
    if isinstance(mask, LabelFiles | ObjectFiles):
        mask = str(mask.path)
    elif isinstance(mask, LabelChannels):
        mask = mask.file
    if turn not in _BACK or (not isinstance(mask, MaskAnnotation) and read_size(mask)[2] == turn):
        return 1
    return turn


def fits_stored_pixels(image: np.ndarray, mask: np.ndarray, turn: int) -> bool | None:
    """Return whether a mask fits the stored pixels of an image better than the turned picture; None if neither.

    Args:
        image: the turned picture, uint8 `(H, W, C)`.
        mask: any integers `(H, W, M)`.
        turn: the EXIF orientation, 2 to 8.

    >>> image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 1), np.uint8)
    >>> image[8:24, 8:40] = 255
    >>> mask[8:24, 8:40] = 1
    >>> fits_stored_pixels(image, mask, 3), fits_stored_pixels(np.rot90(image, 2), mask, 3)
    (False, True)
    """
    stored = _BACK[turn](image)
    if stored.shape != image.shape:
        return None
    shown_fit, stored_fit = (_edge_fit(picture, mask) for picture in (image, stored))
    return None if shown_fit == stored_fit else stored_fit > shown_fit


def _edge_fit(image: np.ndarray, mask: np.ndarray) -> float:
    """Return the correlation of the edges of an image and of a mask."""
    changes, edges = _edges(image.astype(np.float32).mean(-1)), _edges(np.any(mask > 0, axis=-1).astype(np.float32))
    length = float(np.linalg.norm(changes) * np.linalg.norm(edges))
    return float((changes * edges).sum()) / length if length else 0.0


def _edges(picture: np.ndarray) -> np.ndarray:
    down, across = np.gradient(cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA))
    steepness = np.hypot(down, across)
    return steepness - steepness.mean()
