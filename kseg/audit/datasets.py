"""Data sets to audit: a folder of files, or examples of TFDS and Hugging Face."""

import contextlib
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from kseg.audit.entries import Entry, find_entries
from kseg.audit.inspection import InspectedFile, InspectedPair, Reader, inspect_entry
from kseg.audit.statistics import foreground_of, measure_image, measure_mask
from kseg.data.files.images import find_bit_depth, find_channels
from kseg.data.files.masks import MaskAnnotation, class_colours
from kseg.data.sources.base import Source
from kseg.data.sources.file_source import check_colours
from kseg.data.sources.huggingface import is_huggingface
from kseg.data.sources.open import open_sources, refuse_splits
from kseg.data.sources.tfds import is_prepared
from kseg.data.threads import available_cores, map_in_threads
from kseg.errors import KsegError
from kseg.reports.outlines import draw_outline

_MOST_THUMBNAILS = 500  # each takes 16 KiB; this many show whether masks were shuffled
_WORTH_A_PROCESS = 64  # pairs: for fewer, starting a process takes longer than reading them
_CHUNK = 16  # pairs


class AuditedSet(Protocol):
    """A data set to audit."""

    @property
    def name(self) -> str:
        """The data set as the user named it."""

    @property
    def layout(self) -> str:
        """How images and masks were found; empty if no layout matches."""

    @property
    def classes(self) -> Mapping[int, str]:
        """The name of each class index; empty if the data set names none."""

    @property
    def labels(self) -> Sequence[str]:
        """The name of each channel of the masks, where each is a label that may overlap; else empty."""

    def inspect(self, table: np.ndarray | None) -> Iterable[InspectedPair]:
        """Measure each pair, in order; `table` as in `measure_mask`."""

    def draw(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        """Draw the pairs with these indices, outlined, as data URIs; None if there is no image that can be read."""

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yield the name, the image, uint8 `(H, W, C)`, and the mask, uint16 `(H, W, M)`, of those that can be read."""

    def __len__(self) -> int:
        """Return the number of pairs."""


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
        yield SourceSet(dataset, open_sources(dataset, **opening))
        return
    refuse_splits(f"the folder {dataset}", opening.get("train_split"), opening.get("val_split"))
    colours, bit_depth = opening.get("colours", "auto"), opening.get("bit_depth", "auto")
    entries, layout = find_entries(Path(dataset), multilabel=opening.get("multilabel", False))
    classes = layout.classes if layout else {}
    colours = check_colours(dataset, colours, [_as_file(entry.mask) for entry in entries if entry.mask], classes)
    images = [str(entry.image) for entry in entries if entry.image]
    channels = 3
    with contextlib.suppress(KsegError):  # mixed channels are a finding
        channels = find_channels(images)
    bits = find_bit_depth(images) if bit_depth == "auto" else bit_depth
    reader = Reader(bits, channels, colours, opening.get("mask_exif", "own"))
    layout_name, labels = (layout.rule, layout.labels) if layout else ("", ())
    classes = classes or dict(enumerate(class_colours(colours)[1:], start=1))
    workers = min(workers or available_cores(), -(-len(entries) // _WORTH_A_PROCESS))
    if workers == 1:
        yield FolderSet(dataset, entries, reader, _map_here, layout_name, classes, labels)
        return
    # Fresh processes: a fork of one in which TensorFlow or JAX has started threads can hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield FolderSet(dataset, entries, reader, pool.map, layout_name, classes, labels)


def _as_file(mask: Path | MaskAnnotation) -> str | MaskAnnotation:
    return str(mask) if isinstance(mask, Path) else mask


def is_folder(dataset: str) -> bool:
    """Return whether it is a folder of files; a folder comes before a data set of that name, as in training."""
    path = Path(dataset)
    return path.is_dir() and not is_prepared(path) and not is_huggingface(path)


@dataclass(frozen=True)
class FolderSet:
    """The entries of a folder, faulty or not; see `AuditedSet`."""

    name: str
    entries: Sequence[Entry]
    reader: Reader
    map: Callable
    """The `map` of a pool of processes, or one that works in this process."""
    layout: str
    classes: Mapping[int, str]
    labels: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.entries)

    def inspect(self, table: np.ndarray | None) -> Iterable[InspectedPair]:
        thumbnails = [_gets_thumbnail(index, len(self)) for index in range(len(self))]
        arguments = (self.entries, [self.reader] * len(self), [table] * len(self), thumbnails)
        return self.map(inspect_entry, *arguments, chunksize=_CHUNK)

    def draw(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        entries = [self.entries[index] for index in indices]
        return list(self.map(_draw, entries, [self.reader] * len(entries), [table] * len(entries)))

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        for entry in (self.entries[index] for index in indices):
            if entry.image and entry.mask:
                with contextlib.suppress(KsegError):
                    yield (
                        entry.name(entry.image),
                        self.reader.image(entry.image),
                        self.reader.mask(entry.mask, entry.image),
                    )


@dataclass(frozen=True)
class SourceSet:
    """The examples of a training and a validation source; see `AuditedSet`."""

    name: str
    sources: Sequence[Source]

    @property
    def layout(self) -> str:
        return self.sources[0].layout

    @property
    def classes(self) -> Mapping[int, str]:
        return self.sources[0].classes

    @property
    def labels(self) -> Sequence[str]:
        return self.sources[0].labels

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def inspect(self, table: np.ndarray | None) -> Iterable[InspectedPair]:
        for index, (name, split, image, mask) in enumerate(self._decode(range(len(self)))):
            thumbnail = _gets_thumbnail(index, len(self))
            yield InspectedPair(
                split,
                InspectedFile(name, statistics=measure_image(image, thumbnail)),
                InspectedFile(name, statistics=measure_mask(mask, table, thumbnail)),
            )

    def draw(self, indices: Sequence[int], table: np.ndarray | None) -> list[str | None]:
        ordered = sorted(indices)
        pictures = [draw_outline(image, foreground_of(mask, table)) for _, image, mask in self.decode(ordered)]
        return [pictures[ordered.index(index)] for index in indices]

    def decode(self, indices: Sequence[int]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        return ((name, image, mask) for name, _, image, mask in self._decode(indices))

    def _decode(self, indices: Sequence[int]) -> Iterator[tuple[str, str, np.ndarray, np.ndarray]]:
        """Yield name, split, image and mask of the examples with these indices, in order."""
        first = 0
        for split, source in zip(("train", "val"), self.sources, strict=True):
            own = {index - first for index in indices if 0 <= index - first < len(source)}
            for index, image, mask in _decode(source, own):
                yield f"{split}[{index}]", split, image, mask
            first += len(source)


def _decode(source: Source, indices: set[int]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    chosen = (example for example in source.examples() if example[0] in indices)
    return map_in_threads(lambda index, *content: (index, *source.read(index, *content)), chosen)


def _map_here(function: Callable, *items: Sequence, chunksize: int = 1) -> Iterator:
    return map(function, *items)


def _gets_thumbnail(index: int, count: int) -> bool:
    return index % -(-count // _MOST_THUMBNAILS) == 0


def _draw(entry: Entry, reader: Reader, table: np.ndarray | None) -> str | None:
    """Draw as much of an entry as can be read."""
    foreground = None
    with contextlib.suppress(KsegError, TypeError):
        foreground = foreground_of(reader.mask(entry.mask, entry.image), table) if entry.mask else None
    with contextlib.suppress(KsegError):
        return draw_outline(reader.image(entry.image), foreground) if entry.image else None
    return None
