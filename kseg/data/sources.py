"""A name or a path to a source: what hands out examples, undecoded, each with its index."""

import atexit
import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from kseg.errors import KsegError

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


def open_sources(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    take: int | None = None,
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
) -> tuple[Source, Source]:
    """The training and the validation source of a data set.

    Args:
        dataset: a folder of images and masks, of a data set that TFDS prepared or that Hugging Face's `datasets` saved
            (to disk or as parquet), or a parquet file; the script of a TFDS builder, which is run; the built-in
            `shapes` or `shapes/rare`, or the name of a TFDS data set. A name that stands for both is the data set;
            `./shapes` is the folder.
        data_dir: where TFDS keeps its data sets; None is `~/tensorflow_datasets`. Of parquet, where `datasets` keeps
            what it makes of it.
        train_split: the split or slice to train on, of TFDS or Hugging Face, in the words of TFDS: `train[:10%]`,
            `train+test`. None is `train`.
        val_split: likewise, to validate on; None is the first of validation, val, valid and test that is there.
        val_fraction: the share of the examples to validate on where the data set has no split for it.
        seed: decides which they are, in a folder and of Hugging Face; of TFDS they are the last.
        take: at most so many examples of each; no others are read.
        bit_depth: of images of 16 bits a channel, but in TFDS, `2**bit_depth - 1` becomes 255. `auto`: the smallest of
            8, 10, 12, 14, 16 with room for the values of 64 training images, evenly spread.
        colours: of the masks, but in TFDS, such as `#ff0000`, in the order of the classes. `auto`: there are none;
            masks in colours are refused, and the colours in them listed.

    Raises:
        KsegError: there is no such data set, or it cannot be read as images with masks.
    """
    import tensorflow as tf

    from kseg.data.convert import is_unfinished
    from kseg.data.folder import open_folder
    from kseg.data.huggingface import is_huggingface, open_huggingface
    from kseg.data.records import builder_in, is_record_set, open_records

    # The accelerator is the backend's. Where TensorFlow runs on it already, somebody chose so.
    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")
    path = Path(dataset)
    splits = {"val_fraction": val_fraction, "train_split": train_split, "val_split": val_split}
    reading = {"bit_depth": bit_depth, "colours": colours}
    if is_unfinished(path):
        raise KsegError(f"{dataset} is a conversion that was not finished. Give kseg convert the same command again.")
    if is_record_set(dataset):
        if bit_depth not in ("auto", 8) or colours != "auto":
            raise KsegError(
                f"bit_depth {bit_depth} and colours {colours} are not allowed for {dataset}: images of TFDS have 8 "
                "bits, and masks hold values. Expected auto for both."
            )
        training, validation = open_records(dataset, data_dir=data_dir, **splits)
        return (training, validation) if take is None else (training.take(take), validation.take(take))
    if is_huggingface(path):
        return open_huggingface(path, data_dir=data_dir, seed=seed, take=take, **splits, **reading)
    if not path.is_dir():
        raise _no_such_data_set(dataset)
    if train_split or val_split:
        raise KsegError(
            f"train_split {train_split} and val_split {val_split} are not allowed for the folder {dataset}; they are "
            "for data sets of TFDS and Hugging Face. Put the images in train/ and val/, or in a list."
        )
    try:
        return open_folder(path, val_fraction=val_fraction, seed=seed, take=take, **reading)
    except KsegError as error:
        if script := builder_in(path):
            raise KsegError(f"{error} Or give {script}, and TFDS runs the code in it to build a data set.") from error
        raise


def _no_such_data_set(dataset: str) -> KsegError:
    if os.sep in dataset or dataset.startswith((".", "~")):
        return KsegError(f"There is no folder {dataset}. Expected one with images/ and masks/ in it.")
    slices = " Slices are given as --train-split and --val-split." if "[" in dataset else ""
    return KsegError(
        f"There is no data set {dataset!r}: no folder of that name here, and TFDS has none. Expected a "
        "folder with images/ and masks/ in it, 'shapes', 'shapes/rare', or a TFDS name such as 'oxford_iiit_pet'."
        + slices
    )


def contents(count: int, parts: Iterable[object]) -> str:
    """How many examples there are, and a digest of what tells them from others."""
    digest = hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()
    return f"{count} images ({digest[:8]})"


def in_python(function: Callable, types: Any, *arguments: "tf.Tensor") -> Any:
    """What a function of NumPy arrays gives, as tensors; for `Dataset.map`. It has to be one of its arguments alone."""
    import tensorflow as tf

    def call(*arrays: Any) -> Any:
        with _under_way:
            return function(*arrays)

    return tf.numpy_function(call, arguments, types, stateful=False)


class _UnderWay:
    """What TensorFlow's threads have Python do, which has to be over when Python ends: else they end the process.

    An iterator that is alive then has filled its buffers, or fills them with errors now, and rests.
    """

    def __init__(self) -> None:
        self._count, self._lock, self._ending = 0, threading.Lock(), False
        atexit.register(self._end)

    def __enter__(self) -> None:
        if self._ending:
            raise KsegError("Python is ending; no more examples are read.")
        with self._lock:
            self._count += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._count -= 1

    def _end(self) -> None:
        self._ending = True
        while self._count:
            time.sleep(0.01)
        time.sleep(0.05)  # those that were turned away


_under_way = _UnderWay()


@contextlib.contextmanager
def readable_errors(name: str) -> Iterator[None]:
    """Turn what TensorFlow makes of an error inside a function on the data of that name back into a `KsegError`."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.OpError as error:
        raised = re.search(r"KsegError: (.*?)\n", error.message)
        raise KsegError(raised[1] if raised else f"{name} cannot be read: {error.message}") from error
