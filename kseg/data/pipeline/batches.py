"""From a source to batches:

    indices, ordered by (seed, epoch), a batch at a time -> read, decode, resize (or take from the cache)
      -> augment (by seed, epoch, index) -> mosaics (by seed, epoch, batch) -> prefetch

Threads make several batches at once. Randomness is addressed, not drawn: (seed, epoch) decides the order of an epoch,
(seed, epoch, index) an augmentation, (seed, epoch, batch) a mosaic, and the position in the batch whether an
augmentation crops around foreground. Nothing depends on the number of threads, on the cache, or on where training
started. Examples that a resumed run has done are skipped before decoding.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kseg import IGNORE
from kseg.data.mask_reading import Rule, mask_reader
from kseg.data.pipeline.cache import Cache, CacheSetting, open_cache
from kseg.data.sources.base import Source
from kseg.data.sources.order import Key
from kseg.data.threads import map_in_threads
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.resize import Resize, pad_or_crop, scale
from kseg.data.transforms.strengths import Augmentation, Preset, find_augmentation
from kseg.errors import KsegError
from kseg.progress import progress

if TYPE_CHECKING:
    import keras

Arrays = tuple[np.ndarray, np.ndarray]


class Share(NamedTuple):
    """Which part of every batch is made: all, or that of one of several processes which train together."""

    process: int = 0
    processes: int = 1

    def positions(self, batch_size: int) -> range:
        """Return which images of a batch these are.

        Raises:
            KsegError: the batch does not divide by the number of processes.
        """
        if batch_size % self.processes:
            raise KsegError(f"A batch of {batch_size} images does not divide by {self.processes} processes.")
        size = batch_size // self.processes
        return range(self.process * size, (self.process + 1) * size)


_ALL = Share()
Reader = Callable[..., Arrays]
"""From the arguments that `Source.examples` gives to an image, uint8 `(H, W, C)`, and a mask, uint8 `(H, W, M)`."""


@dataclass(frozen=True)
class Batches:
    """Batches for `model.fit` or `model.evaluate`; as an iterable, NumPy arrays for a loop of your own.

    A batch is a pair of images, uint8 `(B, H, W, C)`, and masks, uint8 `(B, H, W, 1)`: 0 and 1, or class indices, and
    255. Of several labels masks are `(B, H, W, K)`: 0, 1 and 255 of each. Validation batches may have a third part, see
    `validation_batches`.

    Example::

        batches = training_batches(train, foreground, image_size=(128, 128), batch_size=8, seed=0)
        model.fit(batches.dataset, steps_per_epoch=batches.steps, epochs=10, shuffle=False)
        for images, masks in itertools.islice(batches, batches.steps):  # an epoch; training batches are endless
            ...
    """

    read_from: Callable[[int, Share], Iterator[tuple[np.ndarray, ...]]]
    """From the number of a batch, and a share, to that batch and all after it."""
    steps: int
    """Batches an epoch."""
    endless: bool
    """Whether epoch follows epoch, as in training."""
    cache_note: str
    """Where decoded images are kept, for the log."""
    share: Share = _ALL

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        return self.read_from(0, self.share)

    def of_process(self, process: int, processes: int) -> "Batches":
        """Return the part of each batch that one process makes; all parts together are the batch, bit for bit.

        Only its own images are read, except where `augment` has mosaics, which mix the images of a batch.

        Args:
            process: its number, from 0: `kseg.distribution.process_index()`.
            processes: how many there are, `kseg.distribution.process_count()`.

        Raises:
            KsegError: there is no such process; when batches are read, their size does not divide by `processes`.
        """
        if not 0 <= process < processes:
            raise KsegError(f"process: {process} is not allowed; expected 0 to {processes - 1}.")
        return replace(self, share=Share(process, processes))

    @cached_property
    def dataset(self) -> "keras.utils.PyDataset":
        """The batches for `fit`, `evaluate` and `predict`; imports Keras."""
        from kseg.data.pipeline.keras_dataset import BatchDataset

        return BatchDataset(lambda number: self.read_from(number, self.share), None if self.endless else self.steps)


@dataclass(frozen=True)
class _Examples:
    """Examples resized to the size of a batch, each read when it is needed."""

    order: Callable[[Key | None, int], Iterator[tuple[Any, ...]]]
    """From a key and the position to begin at to the arguments of `read` for each example."""
    read: Reader
    image_shape: tuple[int, int, int]
    mask_shape: tuple[int, int, int]
    cache_note: str

    def blanks(self, batch_size: int) -> Arrays:
        """Return a batch of black images with all pixels ignored."""
        masks = np.full((batch_size, *self.mask_shape), IGNORE, np.uint8)
        return np.zeros((batch_size, *self.image_shape), np.uint8), masks

    def load(
        self,
        chosen: Sequence[tuple[Any, ...]],
        positions: range,
        change: Callable[[int, int, np.ndarray, np.ndarray], Arrays] | None = None,
    ) -> Arrays:
        """Return a batch of examples, or a part of it, filled up with blanks.

        Args:
            chosen: the arguments of `read` for each example of the batch.
            positions: which of them to read.
            change: takes index, position in the batch, image and mask of each.
        """
        images, masks = self.blanks(len(positions))
        for place, position in enumerate(positions[: max(len(chosen) - positions.start, 0)]):
            index, *content = chosen[position]
            image, mask = self.read(index, *content)
            images[place], masks[place] = change(index, position, image, mask) if change else (image, mask)
        return images, masks


def training_batches(
    source: Source,
    foreground: Rule,
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
    """Return endless batches, epoch after epoch, each in its own order; pass `steps` as `steps_per_epoch`.

    All batches have the same size, so that a step is compiled once. The incomplete last batch is dropped; another
    epoch's order drops other images. A batch is never larger than the source.

    Args:
        source: the examples.
        foreground: the meaning of the values in its masks: one foreground, several classes, or several labels.
        image_size: height and width to resize to, in pixels.
        batch_size: images a batch.
        seed: 0 or more; decides orders and augmentations.
        augment: a preset (none, light, medium, heavy), or your own strengths.
        foreground_crops: share of each batch, 0 to 1, rounded to whole images, that is cropped around a random
            foreground pixel, to 0.5 to 1 of height and width. These images are never mosaics. Images without foreground
            among them are cropped as all others.
        resize: how images are fitted: "stretch" distorts; "pad" keeps the ratio, padding is ignored; "crop" cuts the
            excess.
        cache: where to keep decoded and resized examples: in "memory"; on "disk", in a temporary file in `TMPDIR`;
            "none" decodes them again in every epoch; "auto" is memory if that takes at most half of what is free, else
            none.
        start: epochs done, and batches done of the next epoch: `RunCheckpoint.start`. All later batches are the same as
            in an uninterrupted run. The batches done of the next epoch are not read: blanks, with all pixels ignored,
            take their place, and `RunCheckpoint` skips them.
        steps_per_execution: as in `model.compile`. The number of steps is a multiple of it, because Keras would fill an
            incomplete execution with batches of the next epoch.

    Raises:
        KsegError: the source is empty or cannot be read, or has fewer batches than `steps_per_execution`; there is no
            such preset; the seed is negative; `foreground_crops` is not a share, or rounds to no image of a batch.
    """
    if seed < 0:
        raise KsegError(f"seed: {seed} is not allowed; expected 0 or more.")
    how = find_augmentation(augment)
    batch_size = min(batch_size, len(source))
    cropped = _count_crops(foreground_crops, batch_size)
    steps = _count_steps(source, batch_size, steps_per_execution)
    examples = _examples(source, foreground, image_size, resize, cache)

    def load(epoch: int, batch: int, chosen: Sequence[tuple[Any, ...]], part: range) -> Arrays:
        def change(index: int, position: int, image: np.ndarray, mask: np.ndarray) -> Arrays:
            return augment_example(image, mask, how, (seed, epoch, index), around_foreground=position < cropped)

        if not how.mosaic:
            return examples.load(chosen, part, change)
        whole = examples.load(chosen, range(batch_size), change)
        images, masks = augment_batch(*whole, how, (seed, epoch, batch), cropped)
        return images[part.start : part.stop], masks[part.start : part.stop]

    def addresses(epoch: int, batch: int, part: range) -> Iterator[tuple[int, int, list[tuple[Any, ...]], range]]:
        while True:
            ordered = examples.order((seed, epoch), batch * batch_size)
            for number in range(batch, steps):
                yield epoch, number, list(itertools.islice(ordered, batch_size)), part
            epoch, batch = epoch + 1, 0

    def read_from(number: int, share: Share) -> Iterator[Arrays]:
        part = share.positions(batch_size)
        done = max(start[1] - number, 0)
        yield from itertools.repeat(examples.blanks(len(part)), done)
        epoch, batch = divmod(number + done, steps)
        yield from map_in_threads(load, addresses(start[0] + epoch, batch, part))

    return Batches(read_from, steps, endless=True, cache_note=examples.cache_note)


def _count_steps(source: Source, batch_size: int, steps_per_execution: int) -> int:
    """Return the number of batches an epoch."""
    whole_batches = len(source) // max(batch_size, 1)
    steps = whole_batches - whole_batches % steps_per_execution
    if not steps and whole_batches:
        raise KsegError(
            f"steps_per_execution: {steps_per_execution} is not allowed; expected at most {whole_batches}, the batches "
            f"of {source.name} in an epoch."
        )
    return steps


def _count_crops(foreground_crops: float, batch_size: int) -> int:
    """Return how many images of a batch are cropped around foreground."""
    if not 0 <= foreground_crops <= 1:
        raise KsegError(f"foreground_crops: {foreground_crops} is not allowed; expected a share from 0 to 1.")
    cropped = round(foreground_crops * batch_size)
    if foreground_crops and batch_size and not cropped:
        raise KsegError(
            f"foreground_crops: {foreground_crops} of {batch_size} images a batch rounds to no image; expected 0, or "
            f"at least {1 / batch_size:.2g}."
        )
    return cropped


def validation_batches(
    source: Source,
    foreground: Rule,
    *,
    image_size: tuple[int, int],
    batch_size: int,
    resize: Resize = "stretch",
    cache: CacheSetting = "auto",
) -> Batches:
    """Return every example once, in the source's order.

    All batches have the same size, so that a step is compiled once, and a batch can be split over devices. If the
    source does not fill the last one, blanks do, with all pixels ignored. Then each batch also has the weights of its
    images, float32 `(B,)`: 0 for a blank, and such that the mean loss is that over the images.

    Arguments and errors as in `training_batches`.
    """
    examples = _examples(source, foreground, image_size, resize, cache)
    steps = math.ceil(len(source) / batch_size)
    weight = steps * batch_size / len(source)

    def load(chosen: Sequence[tuple[Any, ...]], part: range) -> tuple[np.ndarray, ...]:
        pair = examples.load(chosen, part)
        weights = np.where(np.array(part) < len(chosen), weight, 0).astype(np.float32)
        return pair if weight == 1 else (*pair, weights)

    def chosen(number: int, part: range) -> Iterator[tuple[list[tuple[Any, ...]], range]]:
        ordered = examples.order(None, number * batch_size)
        return ((list(itertools.islice(ordered, batch_size)), part) for _ in range(number, steps))

    def read_from(number: int, share: Share) -> Iterator[tuple[np.ndarray, ...]]:
        return map_in_threads(load, chosen(number, share.positions(batch_size)))

    return Batches(read_from, steps, endless=False, cache_note=examples.cache_note)


def _examples(
    source: Source, foreground: Rule, image_size: tuple[int, int], how: Resize, setting: CacheSetting
) -> _Examples:
    """Return the examples of a source; with a cache, all are read now."""
    if not len(source):
        raise KsegError(f"{source.name} is empty; expected at least one image.")
    image_shape, mask_shape = (*image_size, source.channels), (*image_size, foreground.task.mask_channels)
    read = _reader(source, foreground, image_size, how)
    cache, cache_note = open_cache(setting, len(source), image_shape, mask_shape[2])
    if cache is None:
        source.check_headers()
        return _Examples(source.examples, read, image_shape, mask_shape, cache_note)
    _fill(cache, source, read)
    return _Examples(source.indices, cache.read, image_shape, mask_shape, cache_note)


def _reader(source: Source, foreground: Rule, image_size: tuple[int, int], how: Resize) -> Reader:
    """Return a function that reads an example, resizes it, and applies the foreground rule."""
    read_mask = mask_reader(foreground, source.name)

    def read(index: int, *content: bytes) -> Arrays:
        image, mask = scale(*source.read(index, *content), image_size, how)
        return pad_or_crop(image, image_size, 0), pad_or_crop(read_mask(mask), image_size, IGNORE)

    return read


def _fill(cache: Cache, source: Source, read: Reader) -> None:
    """Read all examples into the cache, behind a progress bar."""

    def store(index: int, *content: bytes) -> None:
        cache.write(index, *read(index, *content))

    stored = map_in_threads(store, source.examples())
    for _ in progress(stored, f"Reading {source.name}", len(source), unit="images"):
        pass
