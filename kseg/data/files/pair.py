"""Read one image file together with its mask file, and compare their sizes.

How a folder tells which mask belongs to which image is in `kseg.data.layouts`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from kseg.data.files.bands import turn_upright
from kseg.data.files.formats import ON_ITS_SIDE, ImageFile
from kseg.data.files.images import check_same_channels, image_shape, image_values, read_image, read_size
from kseg.data.files.masks import MaskAnnotation, mask_shape, read_mask
from kseg.data.files.turned import find_turn
from kseg.errors import KsegError

MaskExif = Literal["own", "image"]
"""Which EXIF tag turns a mask: that of its file, or that of its image, for a mask drawn on the stored pixels."""


def read_pair(
    image_path: ImageFile,
    mask_path: ImageFile | MaskAnnotation,
    bit_depth: int = 8,
    channels: int = 3,
    colours: Sequence[str] = (),
    mask_exif: MaskExif = "own",
) -> tuple[np.ndarray, np.ndarray]:
    """Read an image, uint8 `(H, W, C)`, and its mask, uint16 `(H, W, 1)`; see `read_image` and `read_mask_of`.

    Raises:
        KsegError: one of them cannot be read, or their sizes differ.
    """
    image, mask = read_image(image_path, bit_depth, channels), read_mask_of(image_path, mask_path, colours, mask_exif)
    _check_same_size(image_path, image.shape, mask_path, mask.shape)
    return image, mask


def read_mask_of(
    image_path: ImageFile,
    mask_path: ImageFile | MaskAnnotation,
    colours: Sequence[str] = (),
    mask_exif: MaskExif = "own",
) -> np.ndarray:
    """Read the mask of an image, uint16 `(H, W, 1)`; see `read_mask`.

    With `mask_exif="image"` the EXIF tag of the image turns the mask too, unless the mask has the same tag, or would
    not fit the turned image: annotations whose size shows that they are for the stored pixels are turned already.

    Raises:
        KsegError: the mask, or the header of the image, cannot be read.
    """
    mask = read_mask(mask_path, colours)
    if mask_exif == "own":
        return mask
    height, width, orientation = read_size(image_path)
    turned = turn_upright(mask, find_turn(image_path, mask_path))
    upright = (width, height) if orientation in ON_ITS_SIDE else (height, width)
    return np.ascontiguousarray(turned) if turned.shape[:2] == upright else mask


def check_headers(
    image_path: ImageFile,
    mask_path: ImageFile | MaskAnnotation,
    channels: int = 3,
    mask_exif: MaskExif = "own",
) -> None:
    """Check the headers of an image and its mask, pixels unread; a `MaskAnnotation` has no header to check.

    Raises:
        KsegError: a header cannot be read, a format is not supported, the image has another number of channels, or
            the sizes differ.
    """
    shape = image_shape(image_path)
    check_same_channels(image_path, shape[2], channels)
    if isinstance(mask_path, MaskAnnotation):
        return
    stored = mask_shape(mask_path)
    if mask_exif == "image" and find_turn(image_path, mask_path) in ON_ITS_SIDE:
        stored = (stored[1], stored[0], stored[2])
    if shape[:2] != stored[:2]:
        # The orientation of a PNG may follow its pixels; so read the image before refusing it.
        _check_same_size(image_path, image_values(image_path).shape, mask_path, stored)


def _check_same_size(
    image_path: ImageFile, image: Sequence[int], mask_path: ImageFile | MaskAnnotation, mask: Sequence[int]
) -> None:
    if image[:2] == mask[:2]:
        return
    sizes = (
        f"{image_path} is {image[1]} x {image[0]} and its mask {mask[1]} x {mask[0]} (width x height), {mask_path}; "
        "expected one size."
    )
    if (mask[1], mask[0]) == tuple(image[:2]) and read_size(image_path)[2] in ON_ITS_SIDE:
        raise KsegError(
            f"{sizes} An EXIF tag turns the image by a quarter, and the mask was made for the stored pixels. "
            "--mask-exif image turns such masks as their images."
        )
    raise KsegError(f"{sizes} Make a new mask, or remove the pair.")
