"""From a source to batches:

    indices, ordered by (seed, epoch), a batch at a time -> read, decode, resize (or take from the cache)
      -> augment (by seed, epoch, index) -> mosaics (by seed, epoch, batch) -> prefetch

tf.data orders, and runs batches side by side; what happens to a batch is NumPy. Randomness is addressed, not drawn: the
order of an epoch is a function of (seed, epoch), an augmentation of (seed, epoch, index), a mosaic of (seed, epoch,
batch), and whether an augmentation crops around foreground one of the place in the batch. Nothing depends on how many
threads ran, on what is cached, or on where training began. What a run has done already is skipped before it is decoded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kseg import IGNORE
from kseg.data.bridge import call_python, explain_read_errors
from kseg.data.labels import UNSAID, Foreground
from kseg.data.pipeline.cache import Cache, CacheSetting, open_cache
from kseg.data.sources.base import Source
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.resize import Resize, centred, scaled
from kseg.data.transforms.strengths import Augmentation, Preset, find_augmentation
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf

Arrays = tuple[np.ndarray, np.ndarray]
Reader = Callable[..., Arrays]
"""From an index, and what the source says of it, to an image, uint8 `(H, W, C)`, and a mask, uint8 `(H, W, 1)`."""


@dataclass(frozen=True)
class Batches:
    """Batches of uint8 images `(B, H, W, C)` and uint8 masks `(B, H, W, 1)` of 0, 1 and 255."""

    dataset: "tf.data.Dataset"
    steps: int
    """Batches an epoch."""
    kept: str
    """What became of decoded images, for the log."""


@dataclass(frozen=True)
class _Examples:
    """Examples of the size of a batch, each of which is read when its turn comes."""

    order: Callable[..., "tf.data.Dataset"]
    """From a key, (seed, epoch) or None, to tuples of an index and what else `read` takes."""
    read: Reader
    image_shape: tuple[int, int, int]
    kept: str

    def load(self, indices: np.ndarray, *content: np.ndarray, change: Callable | None = None) -> Arrays:
        """A batch: what was read at these indices, each example changed according to its index and its place."""
        images = np.empty((len(indices), *self.image_shape), np.uint8)
        masks = np.empty((*images.shape[:3], 1), np.uint8)
        for place, (index, *rest) in enumerate(zip(indices, *content, strict=True)):
            image, mask = self.read(index, *rest)
            images[place], masks[place] = change(index, place, image, mask) if change else (image, mask)
        return images, masks

    def tensors(
        self, load: Callable[..., Arrays], batch_size: int | None, *arguments: "tf.Tensor"
    ) -> tuple["tf.Tensor", "tf.Tensor"]:
        """What `load` gives, of NumPy arrays, as tensors of known shapes; of batches of any size if that is None."""
        images, masks = call_python(load, ("uint8", "uint8"), *arguments)
        images.set_shape((batch_size, *self.image_shape))
        masks.set_shape((batch_size, *self.image_shape[:2], 1))
        return images, masks


def training_batches(
    source: Source,
    foreground: Foreground,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    seed: int,
    augment: Preset | Augmentation = "light",
    foreground_crops: float = 0.0,
    resize: Resize = "stretch",
    cache: CacheSetting = "auto",
    start: tuple[int, int] = (0, 0),
    steps_per_execution: int = 1,
) -> Batches:
    """Batches without end, epoch after epoch, each in its own order; pass `steps` as `steps_per_epoch`.

    All batches have one size, so that a step is compiled once. What an epoch leaves over at its end comes
    earlier in another one; a batch larger than the source is cut to it.

    Args:
        source: what to read.
        foreground: what the values in its masks mean.
        image_size: height and width to resize to, in pixels.
        batch_size: images a batch.
        seed: decides orders and augmentations.
        augment: how much to change images and masks: a preset's name, or strengths of your own.
        foreground_crops: share of each batch, rounded to whole images, that is cropped around a random foreground
            pixel, to half to all of height and width, whether or not it is augmented otherwise, and is no mosaic. An
            image without foreground among these is cropped as the others are.
        resize: "stretch" changes the aspect ratio if need be; "pad" keeps it, and ignores what is left over around the
            image; "crop" keeps it, and cuts off what is too much around the middle.
        cache: where decoded and resized examples are kept: in "memory", on "disk" in a temporary file (`TMPDIR` says
            where), or nowhere, "none"; "auto" is memory, if at most half of what is free is needed, else none.
        start: how many epochs are done, and how many batches of the next one: `RunCheckpoint.start`. Its other
            batches, and all epochs after it, are those that a run from the beginning sees. In the place of those that
            are done, which are not read, stand blanks, all of whose pixels are ignored; `RunCheckpoint` passes them
            over.
        steps_per_execution: as in `model.compile`; an epoch has a multiple of it, since Keras takes no fewer at
            once, and would begin an epoch with what belongs to the one before.

    Raises:
        KsegError: the source is empty, has fewer batches than one execution takes, or cannot be read;
            there is no such preset; the seed is negative; `foreground_crops` is not a share, or one that rounds to no
            image of a batch.
    """
    import tensorflow as tf

    if seed < 0:
        raise KsegError(f"seed: {seed} is not allowed; expected 0 or more.")
    how = find_augmentation(augment)
    batch_size = min(batch_size, len(source))
    cropped = _cropped(foreground_crops, batch_size)
    steps = _steps(source, batch_size, steps_per_execution)
    examples = _examples(source, foreground, image_size, resize, cache)

    def load(epoch: int, batch: int, indices: np.ndarray, *content: np.ndarray) -> Arrays:
        def change(index: int, place: int, image: np.ndarray, mask: np.ndarray) -> Arrays:
            return augment_example(image, mask, how, (seed, epoch, index), around_foreground=place < cropped)

        images, masks = examples.load(indices, *content, change=change)
        return augment_batch(images, masks, how, (seed, epoch, batch), cropped) if how.mosaic else (images, masks)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        done = tf.where(number == start[0], tf.constant(start[1], tf.int64), 0)
        ordered = examples.order(tf.stack([tf.constant(seed, tf.int64), number])).skip(done * batch_size)
        batches = ordered.batch(batch_size, drop_remainder=True).take(steps - done)
        return tf.data.Dataset.zip(tf.data.Dataset.from_tensors(number).repeat(), batches.enumerate(done))

    # Epochs are joined before anything is read, so that the first batch of one is read beside the last of another.
    dataset = tf.data.Dataset.counter(start[0]).flat_map(epoch)
    dataset = dataset.map(
        lambda number, batch: examples.tensors(load, batch_size, number, batch[0], *batch[1]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    if start[1]:
        dataset = _blanks(dataset).repeat(start[1]).concatenate(dataset)
    return Batches(dataset.prefetch(tf.data.AUTOTUNE), steps, examples.kept)


def _steps(source: Source, batch_size: int, steps_per_execution: int) -> int:
    """Batches an epoch."""
    whole_batches = len(source) // max(batch_size, 1)
    steps = whole_batches - whole_batches % steps_per_execution
    if not steps and whole_batches:
        raise KsegError(
            f"steps_per_execution: {steps_per_execution} is not allowed; {source.name} has {whole_batches} batches "
            "an epoch, expected no more than those."
        )
    return steps


def _cropped(foreground_crops: float, batch_size: int) -> int:
    """How many images of a batch are cropped around foreground."""
    if not 0 <= foreground_crops <= 1:
        raise KsegError(f"foreground_crops: {foreground_crops} is not allowed; expected a share from 0 to 1.")
    cropped = round(foreground_crops * batch_size)
    if foreground_crops and batch_size and not cropped:
        raise KsegError(
            f"foreground_crops: {foreground_crops} of {batch_size} images a batch is none; expected 0, or at least "
            f"{1 / batch_size:.2g}."
        )
    return cropped


def _blanks(like: "tf.data.Dataset") -> "tf.data.Dataset":
    """One batch of the shapes of others, all of whose pixels are ignored."""
    import tensorflow as tf

    images, masks = like.element_spec
    return tf.data.Dataset.from_tensors(
        (tf.zeros(images.shape, tf.uint8), tf.fill(masks.shape, tf.constant(IGNORE, tf.uint8)))
    )


def validation_batches(
    source: Source,
    foreground: Foreground,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    resize: Resize = "stretch",
    cache: CacheSetting = "auto",
) -> Batches:
    """All examples once, in the source's order; the last batch may be short. Arguments as in `training_batches`."""
    import tensorflow as tf

    examples = _examples(source, foreground, image_size, resize, cache)
    batches = examples.order(None).batch(batch_size)
    dataset = batches.map(
        lambda *batch: examples.tensors(examples.load, None, *batch), num_parallel_calls=tf.data.AUTOTUNE
    )
    return Batches(dataset.prefetch(tf.data.AUTOTUNE), math.ceil(len(source) / batch_size), examples.kept)


def _examples(
    source: Source, foreground: Foreground, image_size: tuple[int, int], how: Resize, setting: CacheSetting
) -> _Examples:
    """The examples of a source, read when they are wanted, or now, and kept."""
    if not len(source):
        raise KsegError(f"{source.name} is empty; expected at least one image.")
    image_shape = (*image_size, source.channels)
    read = _reader(source, foreground, image_size, how)
    cache, kept = open_cache(setting, len(source), image_shape)
    if cache is None:
        source.check_headers()
        return _Examples(source.examples, read, image_shape, kept)
    _fill(cache, source, read)
    return _Examples(source.order, cache.read, image_shape, kept)


def _reader(source: Source, foreground: Foreground, image_size: tuple[int, int], how: Resize) -> Reader:
    table = foreground.table()

    def read(index: int, *content: bytes) -> Arrays:
        image, mask = scaled(*source.read(index, *content), image_size, how)
        mask = table.take(mask)
        if foreground.only is not None and (mask == UNSAID).any():
            raise KsegError(
                f"A mask of {source.name} holds a value besides {foreground.only}, unlike those looked at "
                "first. Say which values are foreground with --foreground."
            )
        return centred(image, image_size, 0), centred(mask, image_size, IGNORE)

    return read


def _fill(cache: Cache, source: Source, read: Reader) -> None:
    import tensorflow as tf
    from tqdm import tqdm

    def keep(index: int, *content: bytes) -> int:
        cache.write(index, *read(index, *content))
        return index

    done = source.examples().map(
        lambda *example: call_python(keep, "int64", *example), num_parallel_calls=tf.data.AUTOTUNE
    )
    progress = tqdm(total=len(source), desc=f"Reading {source.name}", unit=" images", delay=2, leave=False)
    with explain_read_errors(source.name), progress:
        for _ in done.prefetch(tf.data.AUTOTUNE):
            progress.update()
