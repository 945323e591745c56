"""What every data source offers."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


class Source(Protocol):
    """A data set, or a part of one, of which nothing has been read yet."""

    name: str
    """What to call it in a message."""
    layout: str
    """How images and masks were found, for the log."""
    bit_depth: int
    """Bits that hold the largest value of an image; those of more than 8 are scaled to 8."""
    classes: Mapping[int, str]
    """The name of each class index, where there are names: masks hold class indices then, and 255 is ignored."""
    channels: int
    """Of an image: 3, grey ones included, or as many as all images of the data set have."""

    def __len__(self) -> int:
        """How many examples there are."""

    def contents(self) -> str:
        """What it holds: the number of examples, and a digest that changes when they are others."""

    def take(self, count: int) -> "Source":
        """The first `count` examples, or all if there are fewer."""

    def check_headers(self) -> None:
        """Look at what all files say of themselves, pixels unread.

        Raises:
            KsegError: one of them cannot be read as an image, or a mask, of this data set; the first in its order.
        """

    def readable(self) -> tuple["Source", list[str]]:
        """The examples that can be read, and what is wrong with each of the others; reads all of them."""

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        """Tuples of an int64 index and what `read` takes besides, strings or nothing, in the source's order.

        With a key, int64 `(2,)` of (seed, epoch), in the order that belongs to that key.
        """

    def order(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        """Tuples of the index alone, in the same order; reads nothing."""

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """The image, uint8 `(H, W, C)`, and its mask as it was stored, uint16 `(H, W, 1)`; from any thread."""

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        """The mask alone, uint16 `(H, W, 1)`."""

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        """The file of the image as it was stored."""


def contents(count: int, parts: Iterable[object]) -> str:
    """How many examples there are, and a digest of what tells them from others."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{count} images ({digest[:8]})"


MASK_NAME = re.compile("mask|seg|label|annot|gt|truth")
"""What the name of a mask has in it."""
