"""A data set as the audit sees it: looks at all of its pairs, then pictures of some."""

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kseg.audit.entries import Pair, find_pairs
from kseg.audit.inspection import Look, Reading, look_at_pair
from kseg.audit.statistics import foreground_of, look_at_image, look_at_mask
from kseg.data.bridge import call_python, explain_read_errors
from kseg.data.files.images import find_bit_depth, find_channels
from kseg.data.sources.base import Source
from kseg.data.sources.file_source import checked_colours
from kseg.data.sources.huggingface import is_huggingface
from kseg.data.sources.open import open_sources, refuse_splits
from kseg.data.sources.tfds import is_prepared
from kseg.errors import KsegError
from kseg.reports.outlines import outlined

_MOST_THUMBNAILS = 500  # each is 16 KiB, and they are enough to see whether masks were shuffled
_WORTH_A_PROCESS = 64  # pairs: below, starting it takes longer than reading them
_CHUNK = 16  # pairs


class AuditedSet(Protocol):
    """A data set to audit."""

    name: str
    layout: str
    """How images and masks were found; empty where they were not found by any rule."""
    has_classes: bool
    """Whether masks are known to hold class indices."""

    def looks(self, table: np.ndarray | None) -> Iterator[Look]:
        """A look at each pair, in order; with the foreground rule's table, or as each mask suggests."""

    def pictures(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        """The pairs at these places, outlined, as data URIs; None where there is no image to show."""

    def decoded(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """The name, the image, uint8 `(H, W, C)`, and the mask, uint16 `(H, W, 1)`, of those here that can be read."""

    def __len__(self) -> int:
        """How many pairs there are."""


@contextlib.contextmanager
def open_set(dataset: str, *, workers: int | None, **opening: Any) -> Iterator[AuditedSet]:
    """Open a folder, which several processes read, or another data set, which this process reads.

    Args:
        dataset: as in `kseg.data.open_sources`.
        workers: number of processes that read a folder; None is one for each core.
        opening: other arguments of `open_sources`.

    Raises:
        KsegError: there is no such data set, or nothing in it; its masks are in colours, and none are given.
    """
    if not is_folder(dataset):
        yield RecordSet(dataset, open_sources(dataset, **opening))
        return
    refuse_splits(dataset, opening.get("train_split"), opening.get("val_split"))
    colours, bit_depth = opening.get("colours", "auto"), opening.get("bit_depth", "auto")
    pairs, layout = find_pairs(Path(dataset))
    classes = layout.classes if layout else {}
    colours = checked_colours(dataset, colours, [str(pair.mask) for pair in pairs if pair.mask], classes)
    images = [str(pair.image) for pair in pairs if pair.image]
    channels = 3
    with contextlib.suppress(KsegError):  # those of another number are findings
        channels = find_channels(images)
    reading = Reading(find_bit_depth(images) if bit_depth == "auto" else bit_depth, channels, colours)
    described = (layout.rule if layout else "", bool(classes or colours))
    workers = min(workers or available_cores(), -(-len(pairs) // _WORTH_A_PROCESS))
    if workers == 1:
        yield FolderSet(dataset, pairs, reading, _map_here, *described)
        return
    # Fresh processes: a fork of one in which TensorFlow or JAX has started threads can hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield FolderSet(dataset, pairs, reading, pool.map, *described)


def is_folder(dataset: str) -> bool:
    """Whether that is a folder of files; a bare name that TFDS or kseg knows is the data set, as in training."""
    path = Path(dataset)
    if not path.is_dir() or is_prepared(path) or is_huggingface(path):
        return False
    if os.sep in dataset or dataset.startswith("."):
        return True
    from kseg.data.sources.tfds import is_record_set

    return not is_record_set(dataset)


def available_cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class FolderSet:
    """The pairs of a folder, faulty or not."""

    name: str
    pairs: Sequence[Pair]
    reading: Reading
    map: Callable
    """That of a pool of processes, or what does the same in this one."""
    layout: str
    has_classes: bool

    def __len__(self) -> int:
        return len(self.pairs)

    def looks(self, table: np.ndarray | None) -> Iterator[Look]:
        """See `AuditedSet`."""
        thumbnails = [_gets_thumbnail(index, len(self)) for index in range(len(self))]
        return self.map(
            look_at_pair, self.pairs, [self.reading] * len(self), [table] * len(self), thumbnails, chunksize=_CHUNK
        )

    def pictures(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        """See `AuditedSet`."""
        pairs = [self.pairs[index] for index in indices]
        return list(self.map(_picture, pairs, [self.reading] * len(pairs), [table] * len(pairs)))

    def decoded(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """See `AuditedSet`."""
        for pair in (self.pairs[index] for index in indices):
            if pair.image and pair.mask:
                with contextlib.suppress(KsegError):
                    yield pair.name(pair.image), self.reading.image(pair.image), self.reading.mask(pair.mask)


@dataclass(frozen=True)
class RecordSet:
    """The examples of TFDS sources, which pair by their making."""

    name: str
    sources: Sequence[Source]

    @property
    def layout(self) -> str:
        """See `AuditedSet`."""
        return self.sources[0].layout

    @property
    def has_classes(self) -> bool:
        """See `AuditedSet`."""
        return bool(self.sources[0].classes)

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def looks(self, table: np.ndarray | None) -> Iterator[Look]:
        """See `AuditedSet`."""
        for place, (name, split, image, mask) in enumerate(self._decoded(range(len(self)))):
            thumbnail = _gets_thumbnail(place, len(self))
            yield Look(
                split,
                name,
                name,
                image=look_at_image(image, thumbnail),
                mask=look_at_mask(mask, table, thumbnail),
            )

    def pictures(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        """See `AuditedSet`."""
        wanted = sorted(indices)
        drawn = [outlined(image, foreground_of(mask, table)) for _, image, mask in self.decoded(wanted)]
        return [drawn[wanted.index(index)] for index in indices]

    def decoded(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """See `AuditedSet`."""
        return ((name, image, mask) for name, _, image, mask in self._decoded(indices))

    def _decoded(self, wanted: Sequence[int]) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        """Name, split, image and mask of the examples at these places, in order."""
        first = 0
        for split, source in zip(("train", "val"), self.sources, strict=True):
            inside = {place - first for place in wanted if 0 <= place - first < len(source)}
            for index, image, mask in _decode(source, inside):
                yield f"{split}[{index}]", split, image, mask
            first += len(source)


def _decode(source: Source, wanted: set[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    import tensorflow as tf

    keep = tf.constant(sorted(wanted), tf.int64)
    examples = source.examples().filter(lambda index, *content: tf.reduce_any(keep == index))
    types = (tf.uint8, tf.uint16)
    decoded = examples.map(
        lambda *example: (example[0], *call_python(source.read, types, *example)), num_parallel_calls=tf.data.AUTOTUNE
    )
    with explain_read_errors(source.name):
        yield from decoded.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _map_here(function: Callable, *items: Sequence, chunksize: int = 1) -> Iterator:
    return map(function, *items)


def _gets_thumbnail(index: int, count: int) -> bool:
    return index % -(-count // _MOST_THUMBNAILS) == 0


def _picture(pair: Pair, reading: Reading, table: np.ndarray | None) -> str | None:
    """A pair with what can be read of it."""
    foreground = None
    with contextlib.suppress(KsegError, TypeError):
        foreground = foreground_of(reading.mask(pair.mask), table) if pair.mask else None
    with contextlib.suppress(KsegError):
        return outlined(reading.image(pair.image), foreground)
    return None
