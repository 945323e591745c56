"""COCO's JSON: of a whole split one file with its images, the outlines of the objects in them, and the categories.

The rules, from https://cocodataset.org/#format-data and https://github.com/cocodataset/cocoapi:

- An object is polygons, `[[x1, y1, x2, y2, …], …]` in pixels, or runs of pixels, `{"size": [height, width], "counts":
  …}`, as numbers or compressed. A region of `iscrowd: 1`, many objects in one outline, is ignored: 255.
- Class indices are the categories in the order of their ids, from 1 on, without gaps.
- An image without objects has an empty mask. Where objects overlap, the smaller one is on top.
- Panoptic: a picture for each image, whose colour is the id of a segment, `R + 256 G + 65536 B`. Pixels of id 0 are
  void: ignored, or background where all categories are things (`isthing`), so that nothing else is labelled.

A file is any JSON with images, annotations and categories in the folder, in `annotations/`, or in `train/`, and its
split is in its name, or its folder: `annotations/instances_train2017.json`, `train/_annotations.coco.json`. Images lie
in `train2017/`, `images/train2017/`, `images/`, or beside it; panoptic pictures in a folder of its name.
"""

import mmap
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kseg import IGNORE
from kseg.data.layouts.annotations.coco_json import Content, ImageEntry, read_content
from kseg.data.layouts.annotations.coco_masks import InstanceMask, PanopticMask
from kseg.data.layouts.annotations.reading import class_indices, listed
from kseg.data.layouts.pairing import VALIDATION_NAMES, Layout, Pair, Part, inside, is_file, refuse_repeats, refuse_two
from kseg.errors import KsegError

_SPLITS = ("train", *VALIDATION_NAMES, "test")
_SPLIT = re.compile(rf"(?<![a-z])({'|'.join(sorted(_SPLITS, key=len, reverse=True))})\d*(?![a-z0-9])", re.IGNORECASE)
_KEYS = (b'"images"', b'"annotations"', b'"categories"')

# What comes with COCO's instances, and says less.
_OTHERS = ("captions", "image_info", "person_keypoints")


class _File(NamedTuple):
    path: Path
    kind: str
    """Its name without the split."""
    split: str
    """As it is written, such as train2017; empty: the whole data set."""


def find_coco(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """The files of a folder that describe training images as COCO does, and what reads each."""
    splits = [folder / name for name in _SPLITS]
    files = [file for place in (folder, folder / "annotations", *splits) for file in _files_in(place, place in splits)]
    return {file.path: _reader(file, files) for file in files if not file.split.startswith((*VALIDATION_NAMES, "test"))}


def _files_in(place: Path, is_split: bool) -> Iterator[_File]:
    for path in sorted(place.glob("*.json")):
        named = _SPLIT.search(path.stem)
        kind = _SPLIT.sub("", path.stem, count=1).strip("-_.")
        if not kind.startswith(_OTHERS) and _is_coco(path):
            yield _File(path, kind, named[0].lower() if named else place.name if is_split else "")


def _is_coco(path: Path) -> bool:
    if not path.stat().st_size:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return all(content.find(key) >= 0 for key in _KEYS)


def _reader(training: _File, files: Sequence[_File]) -> Callable[[Path], Layout]:
    """What reads a file, and the one of its kind for validation."""

    def read(folder: Path) -> Layout:
        validation = [file for file in files if file.kind == training.kind and file.split.startswith(VALIDATION_NAMES)]
        refuse_two([file.path for file in validation])
        contents = {file: read_content(file.path) for file in (training, *validation)}
        names = _names(list(contents.values()))
        index_of = class_indices(list(names), training.path)
        parts = [Part(str(file.path), _pairs(folder, file, found, index_of)) for file, found in contents.items()]
        validating = parts[1] if validation else None
        refuse_repeats(parts[0], validating)
        classes = {index: names[number] for number, index in index_of.items()}
        rule = f"COCO, {training.path.relative_to(folder)}: {listed(classes)}"
        return Layout(rule, parts[0], validating, classes)

    return read


def _names(contents: Sequence[Content]) -> dict[int | str, str]:
    """The names of all categories, in the order of their ids."""
    names: dict[int | str, str] = {}
    for content in contents:
        for number, name in content.categories.items():
            if names.setdefault(number, name) != name:
                raise KsegError(
                    f"{content.path}: category {number!r} is {name!r}, and {names[number]!r} in {contents[0].path}; "
                    "expected one name in both."
                )
    return {number: names[number] for number in sorted(names, key=lambda number: (isinstance(number, str), number))}


def _pairs(folder: Path, file: _File, content: Content, index_of: Mapping[int | str, int]) -> list[Pair]:
    images = _image_files(folder, file, content.images)
    if content.is_panoptic:
        masks = _panoptic_masks(folder, content, index_of)
        return [(images[number], mask) for number, mask in masks.items()]
    regions = defaultdict(list)
    for annotation in content.annotations:
        regions[annotation.image_id].append(annotation.region(index_of))
    return [
        (images[number], InstanceMask(file.path, images[number], number, entry.size, tuple(regions[number])))
        for number, entry in content.images.items()
    ]


def _panoptic_masks(folder: Path, content: Content, index_of: Mapping[int | str, int]) -> dict[int | str, PanopticMask]:
    void = IGNORE if content.has_stuff else 0
    pictures = content.path.with_suffix("").relative_to(folder)
    masks = {}
    for annotation in content.annotations:
        where = f"{content.path}, image {annotation.image_id}"
        strangers = [part for part in annotation.segments if part.category_id not in index_of]
        if strangers or annotation.image_id in masks:
            fault = f"there is no category {strangers[0].category_id!r}" if strangers else "it is annotated twice"
            raise KsegError(f"{where}: {fault}. Export it again.")
        values = [(part.id, IGNORE if part.iscrowd else index_of[part.category_id]) for part in annotation.segments]
        path = inside(folder, str(pictures / annotation.name), where)
        masks[annotation.image_id] = PanopticMask(path, content.path, ((0, void), *values))
    alone = content.images.keys() - masks.keys()
    if alone:
        raise KsegError(f"{content.path}: {len(alone)} images have no segments, such as image {min(alone, key=str)}.")
    return masks


def _image_files(folder: Path, file: _File, entries: Mapping[int | str, ImageEntry]) -> dict[int | str, Path]:
    """The file of each image: all lie where the first one does."""
    places = [folder / file.split, folder / "images" / file.split, folder / "images", file.path.parent, folder]
    first = next(iter(entries.values()))
    holding = {(place / first.name).resolve(): place for place in places if is_file(place / first.name)}
    refuse_two([place / first.name for place in holding.values()])
    place = next(iter(holding.values()), folder)
    missing = [number for number, entry in entries.items() if not is_file(place / entry.name)]
    if missing:
        searched = ", ".join(dict.fromkeys(f"{place.relative_to(folder)}/" for place in places if place.is_dir()))
        raise KsegError(
            f"{file.path}: {len(missing)} of {len(entries)} images are not there, such as image {missing[0]}, "
            f"{entries[missing[0]].name!r}. Expected all in one of {searched}. Add them, or leave them out of the file."
        )
    where = place.relative_to(folder)
    return {
        number: inside(folder, str(where / entry.name), f"{file.path}, image {number}")
        for number, entry in entries.items()
    }
