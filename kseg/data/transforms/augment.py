"""Random changes to an image and its mask, and to a batch of them.

Randomness is addressed, not drawn: (seed, epoch, index) decides what happens to an example, and (seed, epoch, number of
the batch) what happens to a batch.
"""

import numpy as np

from kseg.data.transforms.geometry import change_geometry
from kseg.data.transforms.photometry import change_values
from kseg.data.transforms.strengths import Augmentation

Address = tuple[int, int, int]
"""Three numbers of 0 or more that seed the random numbers."""

_MOSAIC_EDGE = 0.25  # smallest distance from an edge to where four images meet, as a share of the sides
_BATCH = 1  # makes the address of a batch differ from that of an example with the same number


def augment_example(
    image: np.ndarray,
    mask: np.ndarray,
    how: Augmentation,
    address: Address,
    around_foreground: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Change the geometry of an image and its mask, the same for both; then the values of the image.

    A mask is never interpolated: it gets no new values. The arguments are not written to.

    Args:
        image: uint8 `(H, W, C)`, C from 1 to 16.
        mask: uint8 `(H, W, 1)` of class indices, or `(H, W, K)` of labels: 0 is background, 255 ignored.
        how: the strengths.
        address: seed, epoch and index of the example. The same address gives the same result.
        around_foreground: crop around a random foreground pixel, to 0.5 to 1 of height and width, instead of the usual
            crop. All foreground pixels are equally likely, and all positions of the crop around one. A mask without
            foreground gets the usual crop.

    Returns:
        An image and a mask of the same shapes and dtypes; the arguments themselves if nothing changes.

    Example::

        image, mask = augment_example(image, mask, find_augmentation("light"), (seed, epoch, index))
    """
    rng = np.random.default_rng(address)
    image, mask = change_geometry(image, mask, how, rng, around_foreground)
    return change_values(image, how, rng), mask


def augment_batch(
    images: np.ndarray, masks: np.ndarray, how: Augmentation, address: Address, spared: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Replace some images of a batch, with their masks, by mosaics of four images, one in each corner.

    The four meet at a random point. The top left one is the replaced image, the others are random images of the batch.
    Each shows a random part of the right size; nothing is scaled.

    Args:
        images: uint8 `(B, H, W, C)`.
        masks: uint8 `(B, H, W, M)`.
        how: its `mosaic` is the share of images to replace.
        address: seed, epoch and number of the batch.
        spared: how many images at the beginning of the batch are never replaced.

    Returns:
        New images and masks of the same shapes and dtypes.
    """
    rng = np.random.default_rng((*address, _BATCH))
    made_images, made_masks = images.copy(), masks.copy()
    shape = np.array(images.shape[1:3])
    for position in range(spared, len(images)):
        if rng.random() >= how.mosaic:
            continue
        row, column = np.rint(shape * rng.uniform(_MOSAIC_EDGE, 1 - _MOSAIC_EDGE, 2)).astype(int)
        corners = [np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]]
        for corner, other in zip(corners, [position, *rng.integers(0, len(images), 3)], strict=True):
            size = made_masks[position][corner].shape[:2]
            top, left = rng.integers(0, shape - size, endpoint=True)
            part = np.s_[other, top : top + size[0], left : left + size[1]]
            made_images[position][corner], made_masks[position][corner] = images[part], masks[part]
    return made_images, made_masks
