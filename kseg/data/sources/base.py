"""What every data source offers."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from kseg.data.sources.order import Key


class Source(Protocol):
    """A data set, or a part of one, as numbered examples. Making a source reads no pixels.

    Example::

        train, validation = open_sources("path/to/folder")
        print(train.summary())  # 464 images (a3f01c22)
        image, mask = train.read(0)  # of a folder; records also need the bytes that `examples` gives
    """

    @property
    def name(self) -> str:
        """The name for messages."""
        ...

    @property
    def layout(self) -> str:
        """How images and masks were found, for the log."""
        ...

    @property
    def bit_depth(self) -> int:
        """Bits of the largest image value, 8 to 16. Images of more than 8 bits are scaled to 8."""
        ...

    @property
    def channels(self) -> int:
        """Channels of every image: 3 for colour and grey images, or the number that all images have."""
        ...

    @property
    def classes(self) -> Mapping[int, str]:
        """The name of each class index, or empty. If there are names, masks hold class indices, and 255 is ignored."""
        ...

    @property
    def labels(self) -> Sequence[str]:
        """The name of each mask channel where labels may overlap, one channel a label; else empty."""
        ...

    def __len__(self) -> int:
        """Return the number of examples."""
        ...

    def summary(self) -> str:
        """Return the number of examples, and a digest that changes when the examples do."""
        ...

    def data_files(self) -> list[Path]:
        """Return the files that the examples are in, each once, in the source's order."""
        ...

    def take(self, count: int) -> Self:
        """Return the first `count` examples, or all if there are fewer."""
        ...

    def check_headers(self) -> None:
        """Check the headers of all files, without reading pixels.

        Raises:
            KsegError: a file cannot be read as an image or a mask of this data set; names the first such file.
        """
        ...

    def drop_unreadable(self) -> tuple[Self, list[str]]:
        """Read all examples; return those that can be read, and a message for each of the others."""
        ...

    def examples(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """Yield the arguments of `read` for each example: its index, and the undecoded example if `read` needs it.

        Args:
            key: seed and epoch: decides the order. None: the source's own order.
            start: begin at this position of the order.
        """
        ...

    def indices(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int]]:
        """Yield the same as `examples`, but tuples of the index alone; reads nothing."""
        ...

    def read(self, index: int, *content: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return an image, uint8 `(H, W, C)`, and its mask with the stored values, uint16 `(H, W, M)`. Thread-safe.

        M is 1, or the number of `labels`.

        Raises:
            KsegError: the image or the mask cannot be read, or their sizes differ.
        """
        ...

    def read_mask(self, index: int, *content: bytes) -> np.ndarray:
        """Return the mask alone, uint16 `(H, W, M)`. Thread-safe.

        Raises:
            KsegError: it cannot be read.
        """
        ...

    def encoded_image(self, index: int, *content: bytes) -> bytes:
        """Return the bytes of the image file."""
        ...


def summarise(count: int, identity: Iterable[object]) -> str:
    """Return the text of `Source.summary`.

    Args:
        count: the number of examples.
        identity: values that change when the examples do, such as file names and sizes.

    >>> summarise(2, ["a.png", "b.png"])
    '2 images (1baca9d4)'
    """
    digest = hashlib.sha256("\n".join(map(str, identity)).encode()).hexdigest()
    return f"{count} images ({digest[:8]})"


MASK_NAME = re.compile("mask|seg|label|annot|gt|truth")
"""Matches the name of a feature or a column that holds masks."""
