"""Random changes to an image and its mask, and to a batch of them.

Randomness is addressed, not drawn: what happens to an example is a function of (seed, epoch, index), what happens to a
batch one of (seed, epoch, number of the batch).
"""

import numpy as np

from kseg.data.transforms.geometry import move
from kseg.data.transforms.photometry import recolour
from kseg.data.transforms.strengths import Augmentation

Address = tuple[int, int, int]
"""Numbers of 0 and more."""

_MOSAIC_EDGE = 0.25  # how near to an edge four images meet at most, as a share of the sides
_OF_A_BATCH = 1  # tells the address of a batch from that of an example of the same number


def augment_example(
    image: np.ndarray,
    mask: np.ndarray,
    how: Augmentation,
    address: Address,
    around_foreground: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Change where the pixels of an image and its mask are, by one geometry; then the values of the image.

    A mask is never interpolated: it holds no value that it did not hold. The arguments are not written to.

    Args:
        image: uint8 `(H, W, C)`, C from 1 to 16.
        mask: uint8 `(H, W, 1)` of classes, where 0 is background, and 255 where a pixel is to be ignored.
        how: how much.
        address: seed, epoch and index of the example. The same gives the same, whatever runs beside it.
        around_foreground: whether the crop is, in place of the usual one, half to all of height and width, with a
            random foreground pixel in it. Every one of them is as likely, and every place of the crop around it. Where
            the mask has no foreground, the crop is the usual one.

    Returns:
        An image and a mask of the same shapes and dtypes, in the arguments' memory where nothing is changed.
    """
    rng = np.random.default_rng(address)
    image, mask = move(image, mask, how, rng, around_foreground)
    return recolour(image, how, rng), mask


def augment_batch(
    images: np.ndarray, masks: np.ndarray, how: Augmentation, address: Address, spared: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Put some images of a batch together from four, with their masks, each in a corner.

    The four meet at a random place. The top left is the image whose place in the batch it is, the others are any of the
    batch. Of each a random part of the right size is seen, as it is: nothing is scaled.

    Args:
        images: uint8 `(B, H, W, C)`.
        masks: uint8 `(B, H, W, 1)`.
        how: its `mosaic` is how many.
        address: seed, epoch and number of the batch.
        spared: how many, at the beginning of the batch, stay as they are.

    Returns:
        New images and masks of the same shapes and dtypes.
    """
    rng = np.random.default_rng((*address, _OF_A_BATCH))
    made_images, made_masks = images.copy(), masks.copy()
    shape = np.array(images.shape[1:3])
    for place in range(spared, len(images)):
        if rng.random() >= how.mosaic:
            continue
        row, column = np.rint(shape * rng.uniform(_MOSAIC_EDGE, 1 - _MOSAIC_EDGE, 2)).astype(int)
        corners = [np.s_[:row, :column], np.s_[:row, column:], np.s_[row:, :column], np.s_[row:, column:]]
        for corner, other in zip(corners, [place, *rng.integers(0, len(images), 3)], strict=True):
            size = made_masks[place][corner].shape[:2]
            top, left = rng.integers(0, shape - size, endpoint=True)
            part = np.s_[other, top : top + size[0], left : left + size[1]]
            made_images[place][corner], made_masks[place][corner] = images[part], masks[part]
    return made_images, made_masks
