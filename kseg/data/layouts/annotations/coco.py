"""COCO's JSON: one file a split, with its images, the outlines of their objects, and the categories.

The rules, from https://cocodataset.org/#format-data and https://github.com/cocodataset/cocoapi:

- An object is polygons, `[[x1, y1, x2, y2, …], …]` in pixels, or runs of pixels, `{"size": [height, width], "counts":
  …}`, as numbers or compressed. A region with `iscrowd: 1`, many objects in one outline, is ignored: 255. It is an
  object in two cases: all annotations have it; or all runs have it, no polygon, and more than a fifth of the
  annotations, as CVAT exports what its brush drew.
- Coordinates of which none is above 1 are shares of width and height. The log tells of both.
- Class indices are the categories in the order of their ids, from 1 on, without gaps. A category without
  objects whose name is the supercategory of another is left out: Roboflow writes one for the whole data set.
- An image without objects has an empty mask. Where objects overlap, the smaller one is on top.
- Panoptic: each image has a picture whose colours are segment ids, `R + 256 G + 65536 B`. Pixels of id 0 are void:
  ignored if the file has stuff; background if all its categories are things (`isthing`), and nothing else is labelled.

A file is any JSON with images, annotations and categories in the folder, in `annotations/`, or in `train/`. Its name or
its folder states the split: `annotations/instances_train2017.json`, `train/_annotations.coco.json`. Images are in
`train2017/`, `images/train2017/`, `images/`, beside the file, or in another folder in `images/`, which CVAT names by
the task; panoptic pictures in a folder of the file's name. Of a name that leads elsewhere, such as a path of another
machine or a URL, the last part counts.
"""

import mmap
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kseg import IGNORE
from kseg.data.layouts.annotations.classes import class_indices, describe_classes
from kseg.data.layouts.annotations.coco_json import Content, Id, Instance, Reading, is_crowd, read_content
from kseg.data.layouts.annotations.coco_masks import InstanceMask, PanopticMask, Polygons, Region, Runs
from kseg.data.layouts.annotations.units import Reach, are_shares, stated_size
from kseg.data.layouts.pairing import (
    VALIDATION_NAMES,
    ImageMaskPair,
    Layout,
    SplitPairs,
    refuse_repeats,
    refuse_two,
)
from kseg.data.layouts.paths import find_file, image_in_folder, is_hidden, name_alone
from kseg.errors import KsegError

_SPLITS = ("train", *VALIDATION_NAMES, "test")
_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted(_SPLITS, key=len, reverse=True))})\d*(?![a-z0-9])", re.IGNORECASE)
# In COCO 1% of the annotations are crowds. CVAT exports all that its brush drew with iscrowd 1.
_MOST_CROWDS = 0.2

_KEYS = (b'"images"', b'"annotations"', b'"categories"')

# Files that come with COCO's instances, and have no outlines, or fewer.
_OTHER_KINDS = ("captions", "image_info", "person_keypoints")


class _CocoFile(NamedTuple):
    path: Path
    kind: str
    """The file name without the split, such as instances."""
    split: str
    """As written, such as train2017; empty: the whole data set."""


def find_coco(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """Return the COCO files of a folder that describe training images, and a function to read each."""
    splits = [folder / name for name in _SPLITS]
    places = (folder, folder / "annotations", *splits)
    files = [file for place in places for file in _coco_files(place, is_split=place in splits)]
    training = [file for file in files if not file.split.startswith((*VALIDATION_NAMES, "test"))]
    return {file.path: _reader(file, files) for file in training}


def _coco_files(place: Path, *, is_split: bool) -> Iterator[_CocoFile]:
    for path in sorted(place.glob("*.json")):
        split = _SPLIT.search(path.stem)
        kind = _SPLIT.sub("", path.stem, count=1).strip("-_.")
        if not kind.startswith(_OTHER_KINDS) and _is_coco(path):
            yield _CocoFile(path, kind, split[0].lower() if split else place.name if is_split else "")


def _is_coco(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(key) >= 0 for key in _KEYS)


def _reader(training: _CocoFile, files: Sequence[_CocoFile]) -> Callable[[Path], Layout]:
    """Return the reader of a training file, and of the validation file of the same kind."""

    def read(folder: Path) -> Layout:
        validation = [file for file in files if file.kind == training.kind and file.split.startswith(VALIDATION_NAMES)]
        refuse_two([file.path for file in validation])
        contents = {file: read_content(file.path) for file in (training, *validation)}
        names = _category_names(list(contents.values()))
        index_of = class_indices(list(names), training.path)
        instances = [instance for content in contents.values() for instance in content.instances]
        reaches = [reach for content in contents.values() for reach in _reaches(content)]
        reading = Reading(_are_objects(instances), are_shares(training.path, reaches))
        splits = [
            SplitPairs(str(file.path), _pairs(folder, file, content, index_of, reading))
            for file, content in contents.items()
        ]
        validation_split = splits[1] if validation else None
        refuse_repeats(splits[0], validation_split)
        classes = {index: names[number] for number, index in index_of.items()}
        rule = f"COCO, {training.path.relative_to(folder)}: {describe_classes(classes)}"
        return Layout(rule + _describe_reading(instances, reading), splits[0], validation_split, classes)

    return read


def _are_objects(instances: Sequence[Instance]) -> bool:
    """Return whether `iscrowd` 1 marks objects: all have it, or CVAT's brush drew them.

    Of CVAT's brush all runs have it, no polygon, and many annotations do.
    """
    crowds = [instance for instance in instances if is_crowd(instance.iscrowd)]
    runs = [instance for instance in instances if isinstance(instance.outline, Runs)]
    return len(crowds) == len(instances) or (crowds == runs and len(crowds) > _MOST_CROWDS * len(instances))


def _reaches(content: Content) -> Iterator[Reach]:
    """Yield how far the polygons of each object reach; of none with a coordinate that is not a number."""
    for instance in content.instances:
        if isinstance(instance.outline, Polygons):
            x, y = np.concatenate(instance.outline.points()).max(axis=0).tolist()
            image = content.images[instance.image_id]
            if np.isfinite([x, y]).all():
                name = f"annotation {instance.id!r} (image {instance.image_id!r})"
                yield Reach(x, y, *stated_size(image.height, image.width), name)


def _describe_reading(instances: Sequence[Instance], reading: Reading) -> str:
    """Return how crowds and coordinates are read, for the log; empty if there is nothing special."""
    crowds = sum(is_crowd(instance.iscrowd) for instance in instances)
    because = "since all have it" if crowds == len(instances) else "as CVAT exports what its brush drew"
    meaning = f"objects, {because}" if reading.crowds_are_objects else "ignored pixels"
    text = f"; {crowds} of {len(instances)} annotations have iscrowd 1: {meaning}" if crowds else ""
    return text + ("; coordinates are shares of width and height" if reading.are_shares else "")


def _category_names(contents: Sequence[Content]) -> dict[Id, str]:
    """Return the names of all categories, in the order of their ids, without those that only group others."""
    names: dict[Id, str] = {}
    for content in contents:
        for number, name in content.categories.items():
            if names.setdefault(number, name) != name:
                raise KsegError(
                    f"{content.path}: category {number!r} is {name!r}, and {names[number]!r} in {contents[0].path}; "
                    "expected one name in both. Export both again."
                )
    groups = set().union(*(content.groups for content in contents)) - _annotated(contents)
    return {
        number: names[number]
        for number in sorted(names, key=lambda number: (isinstance(number, str), number))
        if number not in groups
    }


def _annotated(contents: Sequence[Content]) -> set[Id]:
    """Return the categories that any object or segment has."""
    objects = {instance.category_id for content in contents for instance in content.instances}
    return objects | {part.category_id for content in contents for entry in content.panoptic for part in entry.segments}


def _pairs(
    folder: Path, file: _CocoFile, content: Content, index_of: Mapping[Id, int], reading: Reading
) -> Sequence[ImageMaskPair]:
    images = _image_files(folder, file, _image_names(folder, content))
    if content.panoptic:
        return [(images[number], mask) for number, mask in _panoptic_masks(folder, content, index_of).items()]
    regions: dict[Id, list[Region]] = defaultdict(list)
    for instance in content.instances:
        regions[instance.image_id].append(instance.region(index_of, reading))
    return [
        (images[number], InstanceMask(file.path, images[number], number, entry.size, tuple(regions[number])))
        for number, entry in content.images.items()
    ]


def _panoptic_masks(folder: Path, content: Content, index_of: Mapping[Id, int]) -> dict[Id, PanopticMask]:
    void = IGNORE if content.has_stuff else 0
    pictures = content.path.with_suffix("").relative_to(folder)
    masks: dict[Id, PanopticMask] = {}
    for entry in content.panoptic:
        where = f"{content.path}, image {entry.image_id}"
        unknown = [segment for segment in entry.segments if segment.category_id not in index_of]
        if unknown or entry.image_id in masks:
            fault = f"there is no category {unknown[0].category_id!r}" if unknown else "it is annotated twice"
            raise KsegError(f"{where}: {fault}. Export the file again.")
        values = [
            (part.id, IGNORE if is_crowd(part.iscrowd) else index_of[part.category_id]) for part in entry.segments
        ]
        path = image_in_folder(folder, str(pictures / entry.name), where)
        masks[entry.image_id] = PanopticMask(path, content.path, ((0, void), *values))
    alone = content.images.keys() - masks.keys()
    if alone:
        raise KsegError(
            f"{content.path}: {len(alone)} images have no segments, such as image {min(alone, key=str)}. Export the "
            "file again."
        )
    return masks


def _find_place(places: Iterable[Path], name: str) -> Path | None:
    """Return the one folder that has a file; None if none has."""
    matches = {path.resolve(): place for place in places if (path := find_file(place, name))}
    refuse_two([place / name for place in matches.values()])
    return next(iter(matches.values()), None)


def _folders_in(folder: Path) -> list[Path]:
    entries = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path for path in entries if path.is_dir() and not is_hidden(path.name)]


def _image_names(folder: Path, content: Content) -> dict[Id, str]:
    """Return the file name of each image; without its folders if these are of another machine, as from Label Studio."""

    def known(name: str) -> str:
        short = name_alone(name)
        return name if short == name or find_file(folder, name) else short

    return {number: known(entry.name) for number, entry in content.images.items()}


def _image_files(folder: Path, file: _CocoFile, names: Mapping[Id, str]) -> dict[Id, Path]:
    """Return the file of each image; all are in the folder where the first one is."""
    places = [folder / file.split, folder / "images" / file.split, folder / "images", file.path.parent, folder]
    first = next(iter(names.values()))
    # CVAT names the folder by the task or the subset, and the JSON as well: instances_default.json.
    own = [place for place in _folders_in(folder / "images") if file.path.stem.endswith(f"_{place.name}")]
    place = (
        _find_place(own, first)
        or _find_place(places, first)
        or _find_place(_folders_in(folder / "images"), first)
        or folder
    )
    missing = [number for number, name in names.items() if not find_file(place, name)]
    if missing:
        searched = ", ".join(dict.fromkeys(f"{place.relative_to(folder)}/" for place in places if place.is_dir()))
        raise KsegError(
            f"{file.path}: {len(missing)} of {len(names)} images are missing, such as image {missing[0]}, "
            f"{names[missing[0]]!r}. Expected all in one of {searched}. Add them, or remove their entries."
        )
    where = place.relative_to(folder)
    return {
        number: image_in_folder(folder, str(where / name), f"{file.path}, image {number}")
        for number, name in names.items()
    }
