"""A folder of images and masks as a source; `layouts.py` finds the pairs, `files.py` reads them."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from kseg.data.files import DrawnMask, class_colours, find_bit_depth, read_mask, read_pair, refuse_colours
from kseg.data.layouts import find_layout
from kseg.data.pairing import Pair
from kseg.data.sources import Example, contents
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class FolderSource:
    """Pairs of an image file and a mask, a file or what draws it; see `kseg.data.Source`."""

    name: str
    pairs: Sequence[Pair]
    layout: str = "as given"
    bit_depth: int = 8
    colours: tuple[str, ...] = ()
    classes: Mapping[int, str] = field(default_factory=dict)

    @property
    def images(self) -> list[Path]:
        """The image files, in the source's order."""
        return [image for image, _ in self.pairs]

    @property
    def masks(self) -> list[Path]:
        """The mask files, or those that describe the masks, in the source's order."""
        return [mask if isinstance(mask, Path) else mask.path for _, mask in self.pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def contents(self) -> str:
        files = [path for path in (*self.images, *self.masks) if path.exists()]  # YOLO has no file for an empty mask
        return contents(len(self), ((path.parent.name, path.name, path.stat().st_size) for path in files))

    def take(self, count: int) -> "FolderSource":
        return self.subset(range(min(count, len(self))))

    def subset(self, indices: Sequence[int]) -> "FolderSource":
        """The examples at these indices, in this order."""
        return replace(self, pairs=[self.pairs[i] for i in indices])

    def readable(self) -> tuple["FolderSource", list[str]]:
        from tqdm import tqdm

        def fault(pair: Pair) -> str | None:
            try:
                self._read(pair)
            except KsegError as error:
                return str(error)
            return None

        # Pillow lets go of Python while it decodes.
        with ThreadPoolExecutor() as threads:
            faults = threads.map(fault, self.pairs)
            bar = tqdm(faults, f"Checking {self.name}", len(self), unit=" images", delay=2, leave=False)
            faults = list(bar)
        kept = [index for index, found in enumerate(faults) if found is None]
        return self.subset(kept), [found for found in faults if found is not None]

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        import tensorflow as tf

        order = tf.data.Dataset.range(len(self))
        if key is not None:
            order = order.map(lambda position: shuffled(position, key, len(self)))
        return order.map(lambda index: (index, {"pair": index}))

    def decode(self, example: Example) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        def read(index: int) -> tuple[np.ndarray, np.ndarray]:
            return self._read(self.pairs[index])

        image, mask = tf.numpy_function(read, [example["pair"]], [tf.uint8, tf.uint16], stateful=False)
        return tf.ensure_shape(image, (None, None, 3)), tf.ensure_shape(mask, (None, None, 1))

    def decode_mask(self, example: Example) -> "tf.Tensor":
        import tensorflow as tf

        def read(index: int) -> np.ndarray:
            return read_mask(self.pairs[index][1], self.colours)

        mask = tf.numpy_function(read, [example["pair"]], tf.uint16, stateful=False)
        return tf.ensure_shape(mask, (None, None, 1))

    def _read(self, pair: Pair) -> tuple[np.ndarray, np.ndarray]:
        image, mask = pair
        return read_pair(str(image), mask, self.bit_depth, self.colours)


def shuffled(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Which of `size` examples stands at a position of the order of `key`: a permutation without a buffer."""
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)


def open_folder(
    folder: Path,
    *,
    val_fraction: float,
    seed: int,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
) -> tuple[FolderSource, FolderSource]:
    """The training and the validation source of a folder, both read by the rules that the training images give.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: there are no images, or images and masks do not pair; `colours` is `auto`, and masks are in colours,
            or it is not, and they are drawn.
    """
    found = find_layout(folder)
    training = FolderSource(found.training.name, found.training.pairs, found.rule)
    if found.validation:
        validation = FolderSource(found.validation.name, found.validation.pairs, found.rule)
    else:
        training, validation = _split(training, val_fraction, seed)
    if take is not None:
        training, validation = training.take(take), validation.take(take)
    if bit_depth == "auto":
        bit_depth = find_bit_depth([str(path) for path in training.images])
    colours = checked_colours(str(folder), colours, training.masks, found.classes)
    classes = found.classes or dict(enumerate(class_colours(colours)[1:], start=1))
    read_as = {"bit_depth": bit_depth, "colours": colours, "classes": classes}
    return replace(training, **read_as), replace(validation, **read_as)


def checked_colours(
    name: str,
    colours: Sequence[str] | Literal["auto"],
    masks: Sequence[Path | DrawnMask],
    classes: Mapping[int, str],
) -> tuple[str, ...]:
    """The colours by which these masks, in a data set of that name, are read; none where they hold class indices.

    Raises:
        KsegError: as from `open_folder`.
    """
    if colours != "auto" and classes:
        raise KsegError(
            f"colours: {', '.join(colours)} is not allowed for {name}, where masks are drawn from annotations; "
            "expected auto."
        )
    if colours == "auto" and not classes:
        refuse_colours(name, [str(mask) for mask in masks])
    return () if colours == "auto" else tuple(colours)


def _split(source: FolderSource, val_fraction: float, seed: int) -> tuple[FolderSource, FolderSource]:
    if len(source) < 2:
        raise KsegError(f"{source.name} has one image; expected two or more, to train and to validate on.")
    held_out = min(max(round(len(source) * val_fraction), 1), len(source) - 1)
    order = np.random.default_rng(seed).permutation(len(source))
    return source.subset(sorted(order[held_out:])), source.subset(sorted(order[:held_out]))
