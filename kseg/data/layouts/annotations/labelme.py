"""LabelMe's JSON: a file with shapes for each image, of the same stem, beside the image or in a folder of its own.

The rules, from https://github.com/wkentaro/labelme:

- Coordinates are pixels; of which none is above 1 in the whole data set, shares of width and height. Labels are taken
  without blanks around them.
- A shape is a polygon, a rectangle (two opposite corners, or from X-AnyLabeling four, which may be turned: `rotation`)
  or a circle (its centre, and a point of its edge), in pixels of the upright image, or a mask, PNG in Base64, with its
  box. Lines and points have no area: they are refused.
- Class indices are the labels of the whole data set in alphabetical order, from 1 on; `_background_` is 0, and
  `__ignore__` is 255. Where shapes overlap, the later one is on top.
- The image is the file of the same stem. The copy in the JSON (`imageData`) is not read. `imagePath` often keeps the
  old name of a renamed image; so it is refused only if it names another file beside the image.
"""

import base64
import contextlib
import io
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from kseg import IGNORE
from kseg.data.layouts.annotations.classes import class_indices, describe_classes
from kseg.data.layouts.annotations.drawing import (
    Canvas,
    Patch,
    draw_later_on_top,
    draw_layers,
    draw_polygons,
    find_canvas,
)
from kseg.data.layouts.annotations.units import Reach, are_shares, stated_size
from kseg.data.layouts.pairing import Layout, SplitPairs
from kseg.data.layouts.paths import is_file
from kseg.data.layouts.text_files import as_number, read_json
from kseg.errors import KsegError

_SPECIAL = {"_background_": 0, "__ignore__": IGNORE}
_CORNERS = 720  # of the polygon that approximates a circle: off by 0.01 pixels at a radius of 1000


def is_labelme(path: Path) -> bool:
    """Whether a JSON file has shapes."""
    return b'"shapes"' in path.read_bytes()


def labelme_layout(rule: str, training: SplitPairs[Path], validation: SplitPairs[Path] | None) -> Layout:
    """Return the layout of pairs of images and LabelMe files.

    Args:
        rule: how the pairs were found.
        training: the training pairs.
        validation: the validation pairs, if any.

    Raises:
        KsegError: no file has a label, or there are too many labels.
    """
    splits = (training, validation) if validation else (training,)
    files = [path for split in splits for _, path in split.pairs if path.suffix.lower() == ".json"]
    contents = [_survey(path) for path in files]
    labels = sorted({label for content in contents for label in content.labels} - _SPECIAL.keys())
    if not labels:
        _read(files[0])
        raise KsegError(
            f"{files[0]} has no labels, nor has any of {len(files)} LabelMe files; expected shapes with a label. Label "
            "the objects in LabelMe."
        )
    index_of = class_indices(labels, files[0].parent)
    classes = {index: label for label, index in index_of.items()}
    shares = are_shares(files[0].parent, [reach for content in contents for reach in content.reaches])

    def with_masks(split: SplitPairs[Path]) -> SplitPairs["LabelMeMask"]:
        values = index_of | _SPECIAL
        masks = [(image, LabelMeMask(path, image, values, shares)) for image, path in split.pairs]
        return SplitPairs(split.name, masks)

    unit = "; coordinates are shares of width and height" if shares else ""
    rule = f"LabelMe, {rule}: {describe_classes(classes)}{unit}"
    return Layout(rule, with_masks(training), with_masks(validation) if validation else None, classes)


@dataclass(frozen=True)
class LabelMeMask:
    """The shapes on an image; a `kseg.data.files.masks.MaskAnnotation`."""

    path: Path
    image: Path
    values: Mapping[str, int]
    """The class index of each label."""
    shares: bool = False
    """Whether coordinates are shares of width and height, in place of pixels."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """Return class indices, uint16 `(H, W, 1)`; see `MaskAnnotation.draw`."""
        shapes, canvas = self._open()
        return canvas.turn_upright(draw_later_on_top(self._draw_shapes(shapes, canvas), canvas))

    def draw_layers(self, number: int) -> np.ndarray:
        """See `Layered.draw_layers`."""
        shapes, canvas = self._open()
        return canvas.turn_upright(draw_layers(self._draw_shapes(shapes, canvas), canvas, number))

    def _open(self) -> tuple[list[Any], Canvas]:
        """Return the shapes of the file, and what to draw them on."""
        content = _read(self.path)
        self._refuse_another_image(content.get("imagePath"))
        size = (as_number(content.get("imageHeight")), as_number(content.get("imageWidth")))
        try:
            return content["shapes"], find_canvas(self.image, None if None in size else size)
        except KsegError as error:
            raise KsegError(f"{self.path}: {error}") from error

    def _draw_shapes(self, shapes: list[Any], canvas: Canvas) -> Iterator[tuple[int, Patch]]:
        for number, shape in enumerate(shapes, start=1):
            label = shape.get("label") if isinstance(shape, dict) else None
            where = f"{self.path}: shape {number} ({label!r:.80})"
            if not isinstance(label, str):
                raise KsegError(f"{where} has no label; expected text. Label it in LabelMe.")
            try:
                yield self.values[label.strip()], _draw(shape, canvas, self.shares)
            except KsegError as error:
                raise KsegError(f"{where}: {error}") from error

    def _refuse_another_image(self, name: Any) -> None:
        name = str(name).replace("\\", "/").rpartition("/")[2]
        if name != self.image.name and is_file(self.image.parent / name):
            raise KsegError(
                f"{self.path} is for {name} by its imagePath, and for {self.image.name} by its own name; expected one "
                "image. Rename it."
            )


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        raise KsegError(f"{path} has no list of shapes; expected LabelMe's JSON. Save it again in LabelMe.")
    return content


class _Survey(NamedTuple):
    """What a file says about the whole data set."""

    labels: set[str]
    reaches: list[Reach]


def _survey(path: Path) -> _Survey:
    """Return the labels in a file and how far its shapes reach; none if it is faulty: drawing its mask raises later."""
    found = _Survey(set(), [])
    with contextlib.suppress(KsegError):
        content = _read(path)
        size = stated_size(content.get("imageHeight"), content.get("imageWidth"))
        for number, shape in enumerate(content["shapes"], start=1):
            if isinstance(shape, dict) and isinstance(label := shape.get("label"), str):
                found.labels.add(label.strip())
                x, y = _points(shape.get("points")).max(axis=0, initial=0).tolist()
                if np.isfinite([x, y]).all():
                    found.reaches.append(Reach(x, y, *size, f"shape {number} ({label!r:.80}) of {path.name}"))
    return found


def _draw(shape: dict[str, Any], canvas: Canvas, shares: bool) -> Patch:
    kind = shape.get("shape_type") or "polygon"
    points = _points(shape.get("points"))
    points = points * [canvas.width, canvas.height] if shares else points
    count = len(points)
    if (kind == "polygon" and count >= 3) or (kind in ("rectangle", "rotation") and count == 4):
        return draw_polygons([points.ravel()], canvas)
    if kind == "rectangle" and count == 2:
        (x1, y1), (x2, y2) = points
        return draw_polygons([np.array([x1, y1, x2, y1, x2, y2, x1, y2])], canvas)
    if kind == "circle" and count == 2:
        centre, radius = points[0], np.hypot(*(points[1] - points[0]))
        angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
        return draw_polygons([(centre + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).ravel()], canvas)
    if kind == "mask" and count == 2:
        return _draw_mask(shape.get("mask"), points, canvas)
    raise KsegError(
        f"{kind!r:.80} of {count} points; expected a polygon of three or more, a rectangle of two or four, "
        "or a circle or mask of two. Lines and points have no area: remove them."
    )


def _points(pairs: Any) -> np.ndarray:
    """Return x and y of each point, float64 `(N, 2)`."""
    try:
        return np.array(array("d", [number for x, y in pairs for number in (x, y)])).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError) as error:
        raise KsegError("its points are not pairs of numbers. Draw it again in LabelMe.") from error


def _draw_mask(text: Any, points: np.ndarray, canvas: Canvas) -> Patch:
    """Draw a PNG in Base64 between two corners, both included."""
    if not ((points >= 0) & (points < [canvas.width, canvas.height])).all():
        raise KsegError(f"its box lies outside the image, {canvas.width} x {canvas.height}. Draw it again in LabelMe.")
    (left, top), (right, bottom) = points.astype(int)
    try:
        with Image.open(io.BytesIO(base64.b64decode(text)), formats=["PNG"]) as picture:
            fits = picture.size == (right - left + 1, bottom - top + 1) and len(picture.getbands()) == 1
            pixels = np.asarray(picture) > 0 if fits else None
    except Exception as error:  # a damaged picture can raise anything in Pillow
        raise KsegError(f"its mask is not a PNG in Base64: {error}. Draw it again in LabelMe.") from error
    if pixels is None:
        raise KsegError("its mask has another size than its box, or colours. Draw it again in LabelMe.")
    return Patch(left, np.pad(pixels.T, ((0, 0), (top, canvas.height - 1 - bottom))))
