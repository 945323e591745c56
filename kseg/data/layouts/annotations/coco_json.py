"""What COCO's JSON holds, checked and made small; the rules are in `coco.py`."""

from array import array
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kseg import IGNORE
from kseg.data.layouts.annotations.coco_masks import Fault, Outline, Polygons, Region, Runs
from kseg.data.layouts.annotations.reading import read_json
from kseg.errors import KsegError

_BYTES = 8  # of a float64


class ImageEntry(NamedTuple):
    """An image of a file."""

    id: int | str
    name: str
    height: Any
    width: Any

    @property
    def size(self) -> tuple[Any, Any] | None:
        """Height and width, if both are given."""
        return None if self.height is None or self.width is None else (self.height, self.width)


class Instance(NamedTuple):
    """An object in an image."""

    id: Any
    image_id: int | str
    category_id: int | str
    iscrowd: Any
    outline: Outline

    def region(self, index_of: Mapping[int | str, int]) -> Region:
        """With its class index in place of its category."""
        if self.category_id not in index_of:
            return Region(self.id, 0, Fault(f"there is no category {self.category_id!r}. Export it again."))
        return Region(self.id, IGNORE if self.iscrowd else index_of[self.category_id], self.outline)


class Segment(NamedTuple):
    """What pixels of one colour are."""

    id: int
    category_id: int | str
    iscrowd: Any


class Panoptic(NamedTuple):
    """The segments of an image."""

    image_id: int | str
    name: str
    segments: Sequence[Segment]


class Content(NamedTuple):
    """What a file holds."""

    path: Path
    images: Mapping[int | str, ImageEntry]
    annotations: Sequence[Instance] | Sequence[Panoptic]
    categories: Mapping[int | str, str]
    has_stuff: bool
    """Whether what is no thing is labelled too."""

    @property
    def is_panoptic(self) -> bool:
        """Whether it describes segments, in place of objects."""
        return bool(self.annotations) and isinstance(self.annotations[0], Panoptic)


def read_content(path: Path) -> Content:
    """Read a file.

    Raises:
        KsegError: it is not what the format says, or an annotation is of no image.
    """
    held = read_json(path, _kept)
    images, annotations, categories = (_list(path, held, key) for key in ("images", "annotations", "categories"))
    kind = Panoptic if annotations and isinstance(annotations[0], Panoptic) else Instance
    _check(path, "images", images, lambda entry: isinstance(entry, ImageEntry) and _is_id(entry.id))
    _check(path, "annotations", annotations, lambda entry: isinstance(entry, kind) and _is_annotation(entry))
    _check(path, "categories", categories, lambda entry: isinstance(entry, dict) and _is_id(entry.get("id")))
    image_of = {entry.id: entry for entry in images}
    names = {entry["id"]: str(entry.get("name", entry["id"])) for entry in categories}
    if not images or len(image_of) < len(images) or len(names) < len(categories):
        raise KsegError(f"{path} has no images, or one id for two of its images or categories. Export it again.")
    for entry in annotations:
        if entry.image_id not in image_of:
            name = "an annotation" if kind is Panoptic else f"annotation {entry.id!r}"
            raise KsegError(
                f"{path}: {name} is of image {entry.image_id!r}, which is none of its images. Export it again."
            )
    return Content(path, image_of, annotations, names, any(not entry.get("isthing", 1) for entry in categories))


def _kept(found: dict) -> Any:
    """What is kept of an object in the JSON, as soon as it has been read: what Python makes of it takes much room."""
    if "image_id" in found and "segments_info" in found:
        return Panoptic(found["image_id"], _path(found.get("file_name")), found["segments_info"])
    if "image_id" in found:
        described = (found.get(key) for key in ("id", "image_id", "category_id", "iscrowd"))
        return Instance(*described, _outline(found.get("segmentation")))
    if "file_name" in found:
        return ImageEntry(found.get("id"), _path(found["file_name"]), found.get("height"), found.get("width"))
    if "category_id" in found:
        return Segment(found.get("id"), found["category_id"], found.get("iscrowd"))
    return found


def _path(name: Any) -> str:
    return str(name).replace("\\", "/")


def _outline(segmentation: Any) -> Outline:
    try:
        if isinstance(segmentation, dict):
            (height, width), counts = segmentation["size"], segmentation["counts"]
            return Runs(height, width, counts if isinstance(counts, str) else array("q", counts).tobytes())
        parts = tuple(array("d", part).tobytes() for part in segmentation or ())
    except (TypeError, KeyError, OverflowError, ValueError):
        return Fault(
            "its segmentation is neither polygons, [[x1, y1, x2, y2, …], …], nor runs of pixels, {size, counts}. "
            "Mend it, or take it out."
        )
    if not parts:
        return Fault("it has no segmentation; a box and key points make no mask. Outline the object, or take it out.")
    if any(len(part) < 6 * _BYTES or len(part) % (2 * _BYTES) for part in parts):
        return Fault("it has a polygon of fewer than three points, or of half a one. Mend it, or take it out.")
    return Polygons(parts)


def _list(path: Path, held: Any, key: str) -> list:
    found = held.get(key) if isinstance(held, dict) else None
    if not isinstance(found, list):
        raise KsegError(f"{path} has no list of {key}; expected COCO's images, annotations and categories.")
    return found


def _check(path: Path, key: str, entries: list, fits: Callable[[Any], bool]) -> None:
    for place, entry in enumerate(entries):
        if not fits(entry):
            raise KsegError(
                f"{path}: {key}[{place}] is not as COCO has it: an id is missing, or what belongs to it. Export the "
                "file again."
            )


def _is_annotation(entry: Instance | Panoptic) -> bool:
    if isinstance(entry, Instance):
        return _is_id(entry.image_id) and _is_id(entry.category_id)
    segments = entry.segments if isinstance(entry.segments, list) else [None]
    return _is_id(entry.image_id) and all(isinstance(part, Segment) and _is_segment(part) for part in segments)


def _is_segment(part: Segment) -> bool:
    return isinstance(part.id, int) and _is_id(part.category_id)


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)
