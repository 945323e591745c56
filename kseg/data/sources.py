"""A name or a path to a source: what hands out examples, undecoded, each with its index."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf

Example = dict[str, Any]


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

    def __len__(self) -> int:
        """How many examples there are."""

    def contents(self) -> str:
        """What it holds: the number of examples, and a digest that changes when they are others."""

    def take(self, count: int) -> "Source":
        """The first `count` examples, or all if there are fewer."""

    def readable(self) -> tuple["Source", list[str]]:
        """The examples that can be read, and what is wrong with each of the others; reads all of them."""

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        """Pairs of an int64 index and an undecoded example, in the source's order.

        With a key, int64 `(2,)` of (seed, epoch), in the order that belongs to that key.
        """

    def decode(self, example: Example) -> tuple["tf.Tensor", "tf.Tensor"]:
        """The image, uint8 `(H, W, 3)`, and its mask as it was stored, uint16 `(H, W, 1)`."""

    def decode_mask(self, example: Example) -> "tf.Tensor":
        """The mask alone, uint16 `(H, W, 1)`."""


def open_sources(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    take: int | None = None,
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
) -> tuple[Source, Source]:
    """The training and the validation source of a data set.

    Args:
        dataset: a folder, the built-in `shapes` or `shapes/rare`, or the name of a TFDS data set. A name that
            stands for both is the data set; `./shapes` is the folder.
        data_dir: where TFDS keeps its data sets; None is `~/tensorflow_datasets`.
        val_fraction: the share of the examples to validate on where the data set has no split for it.
        seed: decides which they are, in a folder.
        take: at most so many examples of each; no others are read.
        bit_depth: of images of 16 bits a channel in a folder, `2**bit_depth - 1` becomes 255. `auto`: the smallest of
            8, 10, 12, 14, 16 with room for the values of 64 training images, evenly spread.
        colours: of the masks of a folder, such as `#ff0000`, in the order of the classes, and those to ignore, such as
            `ignore=#ffffff`. `auto`: there are none; masks in colours are refused, and the colours in them listed.

    Raises:
        KsegError: there is no such data set, or it cannot be read as images with masks.
    """
    import tensorflow as tf

    from kseg.data.folder import open_folder
    from kseg.data.records import is_record_set, open_records

    # The accelerator is the backend's. Where TensorFlow runs on it already, somebody chose so.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    if is_record_set(dataset):
        if bit_depth not in ("auto", 8) or colours != "auto":
            raise KsegError(
                f"bit_depth {bit_depth} and colours {colours} are not allowed for {dataset}: images of TFDS have 8 "
                "bits, and masks hold values. Expected auto for both."
            )
        training, validation = open_records(dataset, data_dir=data_dir, val_fraction=val_fraction)
        return (training, validation) if take is None else (training.take(take), validation.take(take))
    if Path(dataset).is_dir():
        return open_folder(
            Path(dataset), val_fraction=val_fraction, seed=seed, take=take, bit_depth=bit_depth, colours=colours
        )
    if os.sep in dataset or dataset.startswith((".", "~")):
        raise KsegError(
            f"There is no folder {dataset}. Expected one with images/ and masks/ in it, or another layout of README."
        )
    raise KsegError(
        f"There is no data set {dataset!r}: no folder of that name here, and TFDS has none. Expected a "
        "folder with images/ and masks/ in it, 'shapes', 'shapes/rare', or a TFDS name such as 'oxford_iiit_pet'."
    )


def contents(count: int, parts: Iterable[object]) -> str:
    """How many examples there are, and a digest of what tells them from others."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{count} images ({digest[:8]})"


@contextlib.contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Turn what TensorFlow makes of an error inside a function on the data of that name back into a `KsegError`."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raised = re.search(r"KsegError: (.*?)\n", error.message)
        raise KsegError(raised[1] if raised else f"{name} cannot be read: {error.message}") from error
