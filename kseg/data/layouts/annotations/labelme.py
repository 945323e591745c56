"""LabelMe's JSON: beside each image, or in a folder of their own, a file of the same stem with the shapes on it.

The rules, from https://github.com/wkentaro/labelme:

- A shape is a polygon, a rectangle or a circle (its middle, and a point of its edge), in pixels of the upright image,
  or a mask, PNG in Base64, with its box. Lines and points have no area: they are refused.
- Class indices are the labels of the whole data set in the order of the alphabet, from 1 on; `_background_` is 0, and
  `__ignore__` is 255. Where shapes overlap, the later one is on top.
- The image is the file of the same stem. A copy of it in the JSON (`imageData`) is not looked at, and the path of
  another one (`imagePath`), which is left behind when files are renamed, must not be that of a file beside it.
"""

import base64
import io
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kseg import IGNORE
from kseg.data.layouts.annotations.drawing import Frame, Patch, draw_polygons, frame_of, later_on_top
from kseg.data.layouts.annotations.reading import class_indices, listed, read_json
from kseg.data.layouts.pairing import Layout, Part, is_file
from kseg.errors import KsegError

_SPECIAL = {"_background_": 0, "__ignore__": IGNORE}
_CORNERS = 720  # of the polygon that stands for a circle: off by 0.01 pixels at a radius of 1000


def is_labelme(path: Path) -> bool:
    """Whether a JSON file has shapes in it."""
    return b'"shapes"' in path.read_bytes()


def read_labelme(layout: Layout) -> Layout:
    """A layout in which JSON files have become masks; as it was, if it has none."""
    files = [mask for _, mask in layout.pairs if mask.suffix.lower() == ".json"]
    if not files:
        return layout
    labels = sorted({label for path in files for label in _labels(path)} - _SPECIAL.keys())
    if not labels:
        _read(files[0])
        raise KsegError(f"{files[0]} has no labels, nor has any of {len(files)} files; expected shapes with a label.")
    index_of = class_indices(labels, files[0].parent)
    classes = {index: label for label, index in index_of.items()}

    def part(found: Part) -> Part:
        return replace(
            found, pairs=[(image, LabelMeMask(mask, image, index_of | _SPECIAL)) for image, mask in found.pairs]
        )

    validation = layout.validation and part(layout.validation)
    return Layout(f"LabelMe, {layout.rule}: {listed(classes)}", part(layout.training), validation, classes)


@dataclass(frozen=True)
class LabelMeMask:
    """The shapes on an image; see `kseg.data.files.opening.DrawnMask`."""

    path: Path
    image: Path
    values: Mapping[str, int]
    """What the pixels of each label become."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """See `kseg.data.files.opening.DrawnMask`."""
        held = _read(self.path)
        self._refuse_another_image(held.get("imagePath"))
        size = (held.get("imageHeight"), held.get("imageWidth"))
        try:
            frame = frame_of(self.image, None if None in size else size)
        except KsegError as error:
            raise KsegError(f"{self.path}: {error}") from error
        return frame.upright(later_on_top(self._drawn(held["shapes"], frame), frame))

    def _drawn(self, shapes: list, frame: Frame) -> Iterator[tuple[int, Patch]]:
        for number, shape in enumerate(shapes, start=1):
            label = shape.get("label") if isinstance(shape, dict) else None
            where = f"{self.path}: shape {number} ({label!r:.80})"
            if not isinstance(label, str):
                raise KsegError(f"{where} has no label; expected text. Mend it in LabelMe.")
            try:
                yield self.values[label], _draw(shape, frame)
            except KsegError as error:
                raise KsegError(f"{where}: {error}") from error

    def _refuse_another_image(self, name: Any) -> None:
        name = str(name).replace("\\", "/").rpartition("/")[2]
        if name != self.image.name and is_file(self.image.parent / name):
            raise KsegError(
                f"{self.path} is of {name} by its imagePath, and of {self.image.name} by its name. Rename it."
            )


def _read(path: Path) -> dict:
    held = read_json(path)
    if not isinstance(held, dict) or not isinstance(held.get("shapes"), list):
        raise KsegError(f"{path} has no list of shapes; expected LabelMe's JSON. Save it there again.")
    return held


def _labels(path: Path) -> set[str]:
    """The labels in a file; of one that cannot be read none: that is an error when its mask is drawn."""
    try:
        labels = {shape.get("label") for shape in _read(path)["shapes"] if isinstance(shape, dict)}
    except (KsegError, TypeError):
        return set()
    return {label for label in labels if isinstance(label, str)}


def _draw(shape: dict, frame: Frame) -> Patch:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    count = len(points)
    if kind == "polygon" and count >= 3:
        return draw_polygons([points.ravel()], frame)
    if kind == "rectangle" and count == 2:
        (x1, y1), (x2, y2) = points
        return draw_polygons([np.array([x1, y1, x2, y1, x2, y2, x1, y2])], frame)
    if kind == "circle" and count == 2:
        middle, radius = points[0], np.hypot(*(points[1] - points[0]))
        angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        return draw_polygons([(middle + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).ravel()], frame)
    if kind == "mask" and count == 2:
        return _draw_mask(shape.get("mask"), points, frame)
    raise KsegError(
        f"{kind!r:.80} of {count} points; expected a polygon of three or more, or a rectangle, circle or mask of two. "
        "Lines and points have no area: take them out."
    )


def _points(found: Any) -> np.ndarray:
    try:
        return np.array(array("d", [number for x, y in found for number in (x, y)])).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise KsegError("its points are not pairs of numbers. Mend it in LabelMe.") from error


def _draw_mask(text: Any, points: np.ndarray, frame: Frame) -> Patch:
    """A picture of the pixels from one corner to the other, both included."""
    if not ((points >= 0) & (points < [frame.width, frame.height])).all():
        raise KsegError(f"its box lies outside of the picture, {frame.width} x {frame.height}. Mend it in LabelMe.")
    (left, top), (right, bottom) = points.astype(int)
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as picture:
            fits = picture.size == (right - left + 1, bottom - top + 1) and len(picture.getbands()) == 1
            inside = np.asarray(picture) > 0 if fits else None
    except Exception as error:  # on damaged pictures Pillow raises whatever it comes across
        raise KsegError(f"its mask is no PNG in Base64: {error}. Mend it in LabelMe.") from error
    if inside is None:
        raise KsegError("its mask is of another size than its box, or in colours. Mend it in LabelMe.")
    return Patch(left, np.pad(inside.T, ((0, 0), (top, frame.height - 1 - bottom))))
