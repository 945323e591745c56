"""Draw the masks of COCO's JSON: the objects of an image, or its panoptic segments; `coco.py` states the rules."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kseg import IGNORE
from kseg.data.files.images import read_image
from kseg.data.layouts.annotations.drawing import (
    Canvas,
    Patch,
    decompress_runs,
    draw_layers,
    draw_polygons,
    draw_runs,
    draw_smaller_on_top,
    find_canvas,
)
from kseg.errors import KsegError


class Polygons(NamedTuple):
    """The polygons of an object, each as the bytes of float64 x1, y1, x2, y2, …: small in memory."""

    parts: tuple[bytes, ...]
    are_shares: bool = False
    """Whether coordinates are shares of width and height, not pixels."""

    def points(self) -> list[np.ndarray]:
        """Return x and y of the points of each polygon, float64 `(N, 2)`."""
        return [np.frombuffer(part).reshape(-1, 2) for part in self.parts]

    def draw(self, canvas: Canvas) -> Patch:
        """Return the pixels of the object."""
        scale = [canvas.width, canvas.height] if self.are_shares else [1, 1]
        return draw_polygons([(points * scale).ravel() for points in self.points()], canvas)


class Runs(NamedTuple):
    """Runs of pixels; height and width as in the file, unchecked."""

    height: Any
    width: Any
    counts: str | bytes
    """COCO's compressed text, or the bytes of int64."""

    def draw(self, canvas: Canvas) -> Patch:
        """Return the pixels of the object."""
        if (self.height, self.width) != (canvas.height, canvas.width):
            raise KsegError(
                f"the runs are for {self.width} x {self.height}, the image is {canvas.width} x {canvas.height} "
                "(width x height); expected one size. Export it again."
            )
        if isinstance(self.counts, str):
            return draw_runs(decompress_runs(self.counts), canvas)
        return draw_runs(np.frombuffer(self.counts, np.int64), canvas)


class Fault(NamedTuple):
    """A faulty annotation; drawing it raises, so that other images can still be read."""

    reason: str

    def draw(self, canvas: Canvas) -> Patch:
        """Raise a `KsegError` with the reason."""
        raise KsegError(self.reason)


Outline = Polygons | Runs | Fault


class Region(NamedTuple):
    """An object of an image."""

    id: Any
    value: int
    """The class index of its pixels; 255: a crowd, ignored."""
    outline: Outline


@dataclass(frozen=True)
class InstanceMask:
    """The objects of an image; a `kseg.data.files.masks.MaskAnnotation`."""

    path: Path
    image: Path
    image_id: int | str
    size: tuple[Any, Any] | None
    """Height and width as in the file, unchecked."""
    regions: tuple[Region, ...]

    def __str__(self) -> str:
        return f"{self.path}, image {self.image_id}"

    def draw(self) -> np.ndarray:
        """Return class indices, uint16 `(H, W, 1)`; see `MaskAnnotation.draw`."""
        canvas = self._find_canvas()
        crowds = self._draw_regions(canvas, crowds=True)
        mask = draw_smaller_on_top(self._draw_regions(canvas, crowds=False), canvas, beneath=crowds)
        return canvas.turn_upright(mask)

    def draw_layers(self, number: int) -> np.ndarray:
        """See `Layered.draw_layers`; a crowd is ignored in all layers."""
        canvas = self._find_canvas()
        regions = chain(self._draw_regions(canvas, crowds=True), self._draw_regions(canvas, crowds=False))
        return canvas.turn_upright(draw_layers(regions, canvas, number))

    def _find_canvas(self) -> Canvas:
        try:
            return find_canvas(self.image, self.size)
        except KsegError as error:
            raise KsegError(f"{self}: {error}") from error

    def _draw_regions(self, canvas: Canvas, *, crowds: bool) -> Iterator[tuple[int, Patch]]:
        for region in self.regions:
            if (region.value == IGNORE) is not crowds:
                continue
            try:
                yield region.value, region.outline.draw(canvas)
            except KsegError as error:
                raise KsegError(f"{self.path}: annotation {region.id} (image {self.image_id}): {error}") from error


@dataclass(frozen=True)
class PanopticMask:
    """The panoptic segments of an image; a `kseg.data.files.masks.MaskAnnotation`."""

    path: Path
    """The picture with a segment id in each colour."""
    annotations: Path
    """The JSON with the category of each segment."""
    values: tuple[tuple[int, int], ...]
    """Each segment id with the class index of its pixels."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """Return class indices, uint16 `(H, W, 1)`; see `MaskAnnotation.draw`."""
        red, green, blue = np.moveaxis(read_image(str(self.path)).astype(np.int32), -1, 0)
        ids = red | green << 8 | blue << 16
        values = dict(self.values)
        listed = np.array(sorted(number for number in values if 0 <= number < 2**24))
        places = np.searchsorted(listed, ids).clip(max=len(listed) - 1)
        unlisted = ids[listed[places] != ids]
        if unlisted.size:
            raise KsegError(
                f"{self.path} holds the segment {unlisted[0]}; expected only segments that {self.annotations} lists "
                "for this image. Export both again."
            )
        return np.array([values[number] for number in listed.tolist()], np.uint16)[places][..., None]

    def draw_layers(self, number: int) -> np.ndarray:
        """See `Layered.draw_layers`; segments do not overlap."""
        mask = self.draw()
        return np.where(mask == IGNORE, mask, mask == np.arange(1, number + 1)).astype(np.uint16)
