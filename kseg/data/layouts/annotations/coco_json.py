"""Read and check COCO's JSON, and keep little of it in memory; `coco.py` states the rules."""

from array import array
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from kseg import IGNORE
from kseg.data.layouts.annotations.coco_masks import Fault, Outline, Polygons, Region, Runs
from kseg.data.layouts.text_files import as_number, read_json
from kseg.errors import KsegError

_BYTES = 8  # of a float64

_CROWDS = {"none": 0, "": 0, "0": 0, "0.0": 0, "false": 0, "1": 1, "1.0": 1, "true": 1}
"""The values of `iscrowd`, as text."""

Id = int | str


class ImageEntry(NamedTuple):
    """An entry of `images`; height and width as in the file, unchecked."""

    id: Any
    name: str
    height: Any
    width: Any

    @property
    def size(self) -> tuple[Any, Any] | None:
        """Height and width; None if one is missing."""
        return None if self.height is None or self.width is None else (as_number(self.height), as_number(self.width))


class Reading(NamedTuple):
    """What the annotations of a data set mean where tools differ."""

    crowds_are_objects: bool
    """Whether `iscrowd` 1 marks objects, in place of pixels to ignore."""
    are_shares: bool
    """Whether coordinates are shares of width and height, in place of pixels."""


class Instance(NamedTuple):
    """An entry of `annotations`: an object in an image."""

    id: Any
    image_id: Any
    category_id: Any
    iscrowd: Any
    outline: Outline

    def region(self, index_of: Mapping[Id, int], reading: "Reading") -> Region:
        """Return the object with its class index in place of its category."""
        if self.category_id not in index_of:
            return Region(self.id, 0, Fault(f"there is no category {self.category_id!r}. Export it again."))
        outline = self.outline
        if isinstance(outline, Polygons) and reading.are_shares:
            outline = outline._replace(are_shares=True)
        is_ignored = is_crowd(self.iscrowd) and not reading.crowds_are_objects
        return Region(self.id, IGNORE if is_ignored else index_of[self.category_id], outline)


class Segment(NamedTuple):
    """An entry of `segments_info`: the pixels of one colour."""

    id: Any
    category_id: Any
    iscrowd: Any


class Panoptic(NamedTuple):
    """An entry of `annotations` in a panoptic file: an image with its segments."""

    image_id: Any
    name: str
    segments: Sequence[Segment]


class Content(NamedTuple):
    """The checked content of a file. It has either `instances` or `panoptic` entries, or none of both."""

    path: Path
    images: Mapping[Id, ImageEntry]
    instances: Sequence[Instance]
    panoptic: Sequence[Panoptic]
    categories: Mapping[Id, str]
    """The name of each category."""
    groups: Set[Id]
    """Categories of which the name is the supercategory of another."""
    has_stuff: bool
    """Whether some categories are stuff, not things: then the background is labelled, too."""


def is_crowd(value: Any) -> bool:
    """Return whether `iscrowd` is set; some tools write it as text, such as `"0"` or `"false"`."""
    return bool(_CROWDS[str(value).lower()])


def read_content(path: Path) -> Content:
    """Read and check a file.

    Raises:
        KsegError: the file is not COCO's JSON, has the same id twice, or annotates an image that it does not list.
    """
    content = read_json(path, _compact)
    images, annotations, categories = (_list(path, content, key) for key in ("images", "annotations", "categories"))
    kind = Panoptic if annotations and isinstance(annotations[0], Panoptic) else Instance
    _check(path, "images", images, lambda entry: isinstance(entry, ImageEntry) and _is_id(entry.id))
    _check(path, "annotations", annotations, lambda entry: isinstance(entry, kind) and _is_annotation(entry))
    _check(path, "categories", categories, lambda entry: isinstance(entry, dict) and _is_id(_id(entry.get("id"))))
    image_of = {entry.id: entry for entry in images}
    names = {_id(entry["id"]): _name(entry) for entry in categories}
    if not images or len(image_of) < len(images) or len(names) < len(categories):
        raise KsegError(f"{path} has no images, or the same id for two images or two categories. Export it again.")
    for entry in annotations:
        if entry.image_id not in image_of:
            name = "an annotation" if kind is Panoptic else f"annotation {entry.id!r}"
            raise KsegError(f"{path}: {name} is for image {entry.image_id!r}, which is not in images. Export it again.")
    instances, panoptic = (annotations, []) if kind is Instance else ([], annotations)
    has_stuff = any(not entry.get("isthing", 1) for entry in categories)
    return Content(path, image_of, instances, panoptic, names, _groups(names, categories), has_stuff)


def _name(category: Mapping[str, Any]) -> str:
    name = category.get("name")
    return str(category["id"] if name in (None, "") else name)


def _groups(names: Mapping[Id, str], categories: Sequence[Mapping[str, Any]]) -> Set[Id]:
    """Return the ids of the categories of which the name is the supercategory of another."""
    members = defaultdict(set)
    for entry in categories:
        members[str(entry.get("supercategory"))].add(_id(entry["id"]))
    return {number for number, name in names.items() if members[name] - {number}}


def _compact(entry: dict[str, Any]) -> Any:
    """Keep what is needed of a JSON object, as soon as it is parsed: Python's lists of floats take much memory."""
    if "image_id" in entry and "segments_info" in entry:
        return Panoptic(_id(entry["image_id"]), _slashes(entry.get("file_name")), entry["segments_info"])
    if "image_id" in entry:
        outline = _outline(entry.get("segmentation"))
        image, category = _id(entry["image_id"]), _id(entry.get("category_id"))
        return Instance(entry.get("id"), image, category, entry.get("iscrowd"), outline)
    if "file_name" in entry:
        return ImageEntry(_id(entry.get("id")), _slashes(entry["file_name"]), entry.get("height"), entry.get("width"))
    if "category_id" in entry:
        return Segment(entry.get("id"), _id(entry["category_id"]), entry.get("iscrowd"))
    return entry


def _id(value: Any) -> Any:
    """Return the id of an image or category that some tools write as text, or as 3.0, as a number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and value == str(as_number(value)) and value.isdecimal() else value


def _slashes(path: Any) -> str:
    """Return a path that may have been written on Windows."""
    return str(path).replace("\\", "/")


def _outline(segmentation: Any) -> Outline:
    try:
        if isinstance(segmentation, dict):
            (height, width), counts = segmentation["size"], segmentation["counts"]
            return Runs(
                as_number(height), as_number(width), counts if isinstance(counts, str) else array("q", counts).tobytes()
            )
        parts = tuple(array("d", part).tobytes() for part in segmentation or ())
    except (TypeError, KeyError, OverflowError, ValueError):
        return Fault(
            "its segmentation is neither polygons, [[x1, y1, x2, y2, …], …], nor runs of pixels, {size, counts}. "
            "Repair or remove it."
        )
    if not parts:
        return Fault("it has no segmentation; a box or key points give no mask. Outline the object, or remove it.")
    if any(len(part) < 6 * _BYTES or len(part) % (2 * _BYTES) for part in parts):
        return Fault(
            "it has a polygon of fewer than three points, or with an odd number of coordinates. Repair or remove it."
        )
    return Polygons(parts)


def _list(path: Path, content: Any, key: str) -> list[Any]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list):
        raise KsegError(f"{path} has no list of {key}; expected COCO's images, annotations and categories.")
    return entries


def _check(path: Path, key: str, entries: list[Any], is_valid: Callable[[Any], bool]) -> None:
    for place, entry in enumerate(entries):
        if not is_valid(entry):
            raise KsegError(
                f"{path}: {key}[{place}] is not in COCO's format: an id or another required field is missing, or of "
                "another type. Export the file again."
            )


def _is_annotation(entry: Instance | Panoptic) -> bool:
    if isinstance(entry, Instance):
        return _is_id(entry.image_id) and _is_id(entry.category_id) and str(entry.iscrowd).lower() in _CROWDS
    segments = entry.segments if isinstance(entry.segments, list) else [None]
    return _is_id(entry.image_id) and all(isinstance(part, Segment) and _is_segment(part) for part in segments)


def _is_segment(part: Segment) -> bool:
    return isinstance(part.id, int) and _is_id(part.category_id) and str(part.iscrowd).lower() in _CROWDS


def _is_id(value: Any) -> bool:
    return isinstance(value, int | str)
