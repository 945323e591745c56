"""The masks of COCO's JSON: objects of an image, or the segments that fill it; the rules are in `coco.py`."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kseg import IGNORE
from kseg.data.files.images import read_image
from kseg.data.layouts.annotations.drawing import (
    Frame,
    Patch,
    draw_polygons,
    draw_runs,
    frame_of,
    smaller_on_top,
    uncompressed,
)
from kseg.errors import KsegError


class Polygons(NamedTuple):
    """The parts of an object, each x and y in turn, as the bytes of float64."""

    parts: tuple[bytes, ...]

    def draw(self, frame: Frame) -> Patch:
        """Where the object is."""
        return draw_polygons([np.frombuffer(part) for part in self.parts], frame)


class Runs(NamedTuple):
    """Runs of pixels: COCO's compressed text, or the bytes of int64."""

    height: Any
    width: Any
    counts: str | bytes

    def draw(self, frame: Frame) -> Patch:
        """Where the object is."""
        if (self.height, self.width) != (frame.height, frame.width):
            raise KsegError(
                f"its runs are for {self.width} x {self.height}, the picture is {frame.width} x {frame.height} "
                "(width x height). Export it again."
            )
        is_text = isinstance(self.counts, str)
        return draw_runs(uncompressed(self.counts) if is_text else np.frombuffer(self.counts, np.int64), frame)


class Fault(NamedTuple):
    """What is wrong with an annotation: an error when the mask of its image is drawn."""

    reason: str

    def draw(self, frame: Frame) -> Patch:
        """Raises a `KsegError`."""
        raise KsegError(self.reason)


Outline = Polygons | Runs | Fault


class Region(NamedTuple):
    """An object of an image."""

    id: Any
    value: int
    """What its pixels become."""
    outline: Outline


@dataclass(frozen=True)
class InstanceMask:
    """The objects of an image; see `kseg.data.files.opening.DrawnMask`."""

    path: Path
    image: Path
    image_id: int | str
    size: tuple[Any, Any] | None
    """Height and width, as the file says."""
    regions: tuple[Region, ...]

    def __str__(self) -> str:
        return f"{self.path}, image {self.image_id}"

    def draw(self) -> np.ndarray:
        """See `kseg.data.files.opening.DrawnMask`."""
        try:
            frame = frame_of(self.image, self.size)
        except KsegError as error:
            raise KsegError(f"{self}: {error}") from error
        drawn = smaller_on_top(self._drawn(frame, crowds=False), frame, beneath=self._drawn(frame, crowds=True))
        return frame.upright(drawn)

    def _drawn(self, frame: Frame, *, crowds: bool) -> Iterator[tuple[int, Patch]]:
        for region in self.regions:
            if (region.value == IGNORE) is not crowds:
                continue
            try:
                yield region.value, region.outline.draw(frame)
            except KsegError as error:
                raise KsegError(f"{self.path}: annotation {region.id} (image {self.image_id}): {error}") from error


@dataclass(frozen=True)
class PanopticMask:
    """The segments of an image; see `kseg.data.files.opening.DrawnMask`."""

    path: Path
    """The picture whose colours are their ids."""
    described: Path
    """The JSON that says what they are."""
    values: tuple[tuple[int, int], ...]
    """Of each id what its pixels become."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """See `kseg.data.files.opening.DrawnMask`."""
        red, green, blue = np.moveaxis(read_image(str(self.path)).astype(np.int32), -1, 0)
        ids = red | green << 8 | blue << 16
        values = dict(self.values)
        known = np.array(sorted(number for number in values if 0 <= number < 2**24))
        places = np.searchsorted(known, ids).clip(max=len(known) - 1)
        strangers = ids[known[places] != ids]
        if strangers.size:
            raise KsegError(
                f"{self.path} holds the segment {strangers[0]}, of which {self.described} says nothing; expected one "
                "of the segments of that image there. Export both again."
            )
        return np.uint16([values[number] for number in known.tolist()])[places][..., None]
