"""From a source to batches:

    (index, undecoded example), ordered by (seed, epoch) -> decode -> resize -> keep in memory if it fits
      -> augment (by seed, epoch, index) -> batch -> mosaics (by seed, epoch, batch) -> prefetch

Randomness is addressed, not drawn: the order of an epoch is a function of (seed, epoch), an augmentation of
(seed, epoch, index), a mosaic of (seed, epoch, batch), and whether an augmentation crops around foreground one of the
position in the batch. Nothing depends on how many threads ran, or on where training began. What a run has done already
is skipped before it is decoded.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kseg import IGNORE
from kseg.data.augment import augment_batch, augment_example
from kseg.data.augmentation import Augmentation, Preset, find_augmentation
from kseg.data.folder import shuffled
from kseg.data.foreground import UNSAID, Foreground
from kseg.data.resize import Resize, centred, scaled
from kseg.data.sources import Source, readable_errors
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf

# Decoded and resized examples are kept in memory up to this many bytes: 20,000 of 128 x 128.
_MEMORY_BYTES = 2**30 + 2**28

Ordered = Callable[["tf.Tensor | None", "tf.Tensor | int"], "tf.data.Dataset"]
"""From a key, (seed, epoch) or None, to (index, image, mask) in the order of that key, without the first so many."""


@dataclass(frozen=True)
class Batches:
    """Batches of uint8 images `(B, H, W, 3)` and uint8 masks `(B, H, W, 1)` of 0, 1 and 255."""

    dataset: "tf.data.Dataset"
    steps: int
    """Batches an epoch."""


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
    whole_batches = len(source) // max(batch_size, 1)
    steps = whole_batches - whole_batches % steps_per_execution
    if not steps and whole_batches:
        raise KsegError(
            f"steps_per_execution: {steps_per_execution} is not allowed; {source.name} has {whole_batches} batches "
            "an epoch, expected no more than those."
        )
    ordered = _decoded(source, foreground, image_size, resize)

    def change_example(
        number: np.int64, position: np.int64, index: np.int64, image: np.ndarray, mask: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return augment_example(image, mask, how, (seed, number, index), bool(position % batch_size < cropped))

    def change_batch(
        number: np.int64, batch: np.int64, images: np.ndarray, masks: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return augment_batch(images, masks, how, (seed, number, batch), spared=cropped)

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        key = tf.stack([tf.constant(seed, tf.int64), number])
        done = tf.where(number == start[0], tf.constant(start[1], tf.int64), 0)
        examples = ordered(key, done * batch_size)
        if how == Augmentation() and not cropped:
            examples = examples.map(lambda index, image, mask: (image, mask))
        else:
            examples = _changed(examples.enumerate(), change_example, number)
        batches = examples.batch(batch_size, drop_remainder=True).take(steps - done)
        return _changed(batches.enumerate(done), change_batch, number) if how.mosaic else batches

    dataset = tf.data.Dataset.counter(start[0]).flat_map(epoch)
    if start[1]:
        blank = (
            tf.zeros((batch_size, *image_size, 3), tf.uint8),
            tf.fill((batch_size, *image_size, 1), tf.constant(IGNORE, tf.uint8)),
        )
        dataset = tf.data.Dataset.from_tensors(blank).repeat(start[1]).concatenate(dataset)
    return Batches(dataset.prefetch(tf.data.AUTOTUNE), steps)


def _changed(numbered: "tf.data.Dataset", change: Callable, epoch: "tf.Tensor") -> "tf.data.Dataset":
    """Images and masks as `change`, a function of NumPy arrays, makes them from the epoch, a number, and the rest."""
    import tensorflow as tf

    def changed(number: tf.Tensor, rest: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        *_, image, mask = rest
        made = tf.numpy_function(change, [epoch, number, *rest], [tf.uint8, tf.uint8], stateful=False)
        return tf.ensure_shape(made[0], image.shape), tf.ensure_shape(made[1], mask.shape)

    return numbered.map(changed, num_parallel_calls=tf.data.AUTOTUNE)


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


def validation_batches(
    source: Source,
    foreground: Foreground,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    resize: Resize = "stretch",
) -> Batches:
    """All examples once, in the source's order; the last batch may be short. Arguments as in `training_batches`."""
    import tensorflow as tf

    examples = _decoded(source, foreground, image_size, resize)(None, 0).map(lambda index, image, mask: (image, mask))
    dataset = examples.batch(batch_size).prefetch(tf.data.AUTOTUNE)
    return Batches(dataset, steps=math.ceil(len(source) / batch_size))


def _decoded(source: Source, foreground: Foreground, image_size: tuple[int, int], how: Resize) -> Ordered:
    """Decoded and resized examples in any order: from memory where they fit, else read anew each time."""
    import tensorflow as tf

    if not len(source):
        raise KsegError(f"{source.name} is empty; expected at least one image.")
    table = foreground.table()

    def prepare(image: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        image, mask = scaled(image, mask, image_size, how)
        mask = table[mask]
        if (mask == UNSAID).any():
            raise KsegError(
                f"A mask of {source.name} holds a value besides {foreground.only}, unlike those looked at "
                "first. Say which values are foreground with --foreground."
            )
        return centred(image, image_size, 0), centred(mask, image_size, IGNORE)

    def decode(index: tf.Tensor, example: dict) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Pillow resizes several times as fast as tf.image does with antialias.
        image, mask = tf.numpy_function(prepare, source.decode(example), [tf.uint8, tf.uint8], stateful=False)
        return index, tf.ensure_shape(image, (*image_size, 3)), tf.ensure_shape(mask, (*image_size, 1))

    def streamed(key: tf.Tensor | None, done: tf.Tensor | int) -> tf.data.Dataset:
        return source.examples(key).skip(done).map(decode, num_parallel_calls=tf.data.AUTOTUNE)

    height, width = image_size
    if len(source) * height * width * 4 > _MEMORY_BYTES:
        return streamed
    return _in_memory(source, streamed(None, 0), image_size)


def _in_memory(source: Source, examples: "tf.data.Dataset", image_size: tuple[int, int]) -> Ordered:
    import tensorflow as tf
    from tqdm import tqdm

    all_images = np.empty((len(source), *image_size, 3), np.uint8)
    all_masks = np.empty((len(source), *image_size, 1), np.uint8)
    progress = tqdm(total=len(source), desc=f"Reading {source.name}", unit=" images", delay=2, leave=False)
    with readable_errors(source.name), progress:
        for index, image, mask in examples.as_numpy_iterator():
            all_images[index], all_masks[index] = image, mask
            progress.update()
    images, masks = tf.constant(all_images), tf.constant(all_masks)

    def ordered(key: tf.Tensor | None, done: tf.Tensor | int) -> tf.data.Dataset:
        order = tf.data.Dataset.range(len(source)).skip(done)
        if key is not None:
            order = order.map(lambda position: shuffled(position, key, len(source)))
        return order.map(lambda index: (index, images[index], masks[index]))

    return ordered
