"""Pairs of an image file and its mask: read together, reached by their place."""

from collections.abc import Sequence

import numpy as np

from kseg.data.files.images import check_same_channels, image_shape, image_values, read_image
from kseg.data.files.masks import mask_shape, read_mask
from kseg.data.files.opening import DrawnMask, File
from kseg.errors import KsegError


def read_pair(
    image_path: File, mask_path: File | DrawnMask, bit_depth: int = 8, channels: int = 3, colours: Sequence[str] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its mask, as from `read_image` and `read_mask`.

    Raises:
        KsegError: one of them cannot be read, or they differ in height or width.
    """
    image, mask = read_image(image_path, bit_depth, channels), read_mask(mask_path, colours)
    _check_same_size(image_path, image.shape, mask_path, mask.shape)
    return image, mask


def check_headers(image_path: File, mask_path: File | DrawnMask, channels: int = 3) -> None:
    """Look at what an image and its mask say of themselves, pixels unread; a mask that is drawn says nothing before.

    Raises:
        KsegError: one of them is no image or mask that can be read, the image has another number of channels, or they
            differ in height or width.
    """
    shape = image_shape(image_path)
    check_same_channels(image_path, shape[2], channels)
    if isinstance(mask_path, DrawnMask):
        return
    stored = mask_shape(mask_path)
    if shape[:2] != stored[:2]:
        # What turns a PNG may stand behind its pixels, unlike what its header has said.
        _check_same_size(image_path, image_values(image_path).shape, mask_path, stored)


def _check_same_size(image_path: str, image: Sequence[int], mask_path: str, mask: Sequence[int]) -> None:
    if image[:2] != mask[:2]:
        raise KsegError(
            f"{image_path} is {image[1]} x {image[0]} and its mask {mask[1]} x {mask[0]} (width x height), "
            f"{mask_path}; expected one size. Make a new mask, or take the pair out."
        )
