"""Pairs of an image file and its mask: read together, reached by their place."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from kseg.data.files import DrawnMask, File, file_bytes
from kseg.data.image_files import check_same_channels, image_shape, image_values, read_image
from kseg.data.mask_files import mask_shape, read_mask
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf


class PairReader(ABC):
    """Reads pairs of an image file and a mask file, however it comes by them."""

    bit_depth: int
    channels: int
    colours: tuple[str, ...]

    @abstractmethod
    def files(self, index: int, *content: bytes) -> tuple[File, File | DrawnMask]:
        """The image file of an example, and its mask file or what draws it."""

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        return read_pair(*self.files(index, *content), self.bit_depth, self.channels, self.colours)

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        return read_mask(self.files(index, *content)[1], self.colours)

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        return file_bytes(self.files(index, *content)[0])


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


def by_place(count: int, key: "tf.Tensor | None") -> "tf.data.Dataset":
    """The indices of so many examples, as tuples of one, in their own order or in that of a key."""
    import tensorflow as tf

    # All at once: a function that a data set calls for every element costs more than the eight bytes of a place.
    places = tf.range(count, dtype=tf.int64)
    return tf.data.Dataset.from_tensor_slices((places if key is None else shuffled(places, key, count),))


def shuffled(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Which of `size` examples stand at these positions of the order of `key`: a permutation without a buffer."""
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)
