"""Where the images of a folder lie, and which mask belongs to which image: the layouts that people have.

Lists say it outright (`lists.py`), and so do annotations: COCO's JSON and YOLO's data.yaml (`annotations/`). Otherwise
folders do: Cityscapes' own, split folders (`train/images` or `images/train`), `images/` and `masks/`, or both kinds in
one folder, where a mask is a picture, or LabelMe's JSON. Nothing is guessed: a folder that can be read in two ways, or
a file that pairs with none or with two, is refused.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from kseg.data.files.opening import EXTENSIONS
from kseg.data.layouts.annotations import find_coco, find_yolo, is_labelme, read_labelme
from kseg.data.layouts.lists import find_lists
from kseg.data.layouts.pairing import (
    EXPECTED,
    IMAGE_FOLDERS,
    SUFFIX,
    Layout,
    Part,
    by_stem,
    files_in,
    masks_by_stem,
    matched,
    not_read,
    refuse_two,
    stem,
    validation_of,
)
from kseg.errors import KsegError

_MASK_FOLDERS = ("masks", "labels", "annotations", "segmentations", "SegmentationClass")


def find_layout(folder: Path) -> Layout:
    """The pairs of a folder.

    Raises:
        KsegError: no layout fits, or two do; an image or a mask is without the other, or has two; a list or a file of
            annotations names what is not there, what lies outside of the folder, or something twice, or is not what
            its format says; a folder may not be read.
    """
    try:
        found = _reader(folder)(folder)
        return replace(found, rule=found.rule + not_read(folder, found.pairs))
    except OSError as error:
        raise KsegError(f"{error.filename} cannot be read: {error.strerror}. See to its permissions.") from error


def _reader(folder: Path) -> Callable[[Path], Layout]:
    """What reads the one layout that a folder has."""
    lists, splits, annotated = find_lists(folder, _folder_pairs), _splits(folder), find_coco(folder) | find_yolo(folder)
    # What is annotated has folders of images as well; they say nothing if there are no masks.
    folders = _masks_besides(folder) if annotated else [*splits, *([] if lists else _pairs_begin(folder))]
    fitting = [*lists, *annotated, *folders]
    if not fitting:
        raise KsegError(f"There is no folder {folder / 'images'}. Expected {folder} to hold {EXPECTED}.")
    refuse_two(fitting)
    return (lists | splits | annotated).get(fitting[0], _read_folders)


def _splits(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """The training folders in a folder, and what reads each."""
    cityscapes = {folder / "leftImg8bit": _read_cityscapes} if (folder / "gtFine").is_dir() else {}
    outer = {folder / "train": _read_folders}
    inner = {folder / name / "train": _read_inner_folders for name in IMAGE_FOLDERS}
    return {path: read for path, read in (cityscapes | outer | inner).items() if path.is_dir()}


def _pairs_begin(folder: Path) -> list[Path]:
    """Where pairs may be found in a folder that is not split: its folder of images, the first mask beside an image."""
    folders = [folder / name for name in IMAGE_FOLDERS if (folder / name).is_dir()]
    beside = (path for path in files_in(folder, deep=False) if SUFFIX.search(path.stem))
    return [
        *(path for path in folders if not (path / "train").is_dir() or files_in(path, deep=False)),
        *([first] if (first := next(beside, None)) else []),
        *_described(folder, folder, deep=False)[:1],
    ]


def _masks_besides(folder: Path) -> list[Path]:
    """The first mask in a folder of masks, and the first JSON of LabelMe; panoptic masks belong to COCO's JSON."""
    places = [top / name for top in (folder, folder / "train") for name in _MASK_FOLDERS]
    masks = (path for place in places for path in files_in(place) if not path.parent.name.startswith("panoptic"))
    images = [folder, folder / "train", *(folder / name for name in IMAGE_FOLDERS)]
    described = (path for place in images for path in _described(place, place, deep=False))
    return [path for path in (next(masks, None), next(described, None)) if path]


# Folders


def _read_folders(folder: Path) -> Layout:
    """`images/` and `masks/`, or masks beside images, in the folder or in `train/`, and in `val/` if there is one."""
    training = _part(folder / "train" if (folder / "train").is_dir() else folder)
    val = validation_of(folder)
    return _named(folder, training, _part(val) if val else None)


def _read_inner_folders(folder: Path) -> Layout:
    """`images/train` and `masks/train`, and likewise `val` if there is one."""
    images = next(folder / name for name in IMAGE_FOLDERS if (folder / name / "train").is_dir())
    training = _between(images / "train", _mask_folder(folder, images / "train", "train"))
    val = validation_of(images)
    validation = _between(val, _mask_folder(folder, val, val.name)) if val else None
    return _named(folder, training, validation)


def _read_cityscapes(folder: Path) -> Layout:
    """`leftImg8bit/train/<city>/<stem>_leftImg8bit.png`, and the same in `gtFine` with `_gtFine_labelIds.png`."""

    def part(images: Path) -> Part:
        image_of = {_ending(path, "_leftImg8bit"): path for path in images.glob("*/*_leftImg8bit.png")}
        masks = (folder / "gtFine" / images.name).glob("*/*_gtFine_labelIds.png")
        mask_of = {_ending(path, "_gtFine_labelIds"): path for path in masks}
        return Part(str(images), matched(image_of, mask_of, images, folder / "gtFine" / images.name))

    val = validation_of(folder / "leftImg8bit")
    training = part(folder / "leftImg8bit/train")
    return Layout("Cityscapes, leftImg8bit/ and the labelIds of gtFine/", training, part(val) if val else None)


def _ending(path: Path, ending: str) -> str:
    """City and stem of a Cityscapes file."""
    return f"{path.parent.name}/{path.stem.removesuffix(ending)}"


def _named(folder: Path, training: Part, validation: Part | None) -> Layout:
    """The layout of folders, with how the pairs were found, in words."""
    endings = sorted({mask.stem.removeprefix(image.stem) for image, mask in training.pairs} - {""})
    suffix = f", masks ending in {', '.join(endings)}" if endings else ""
    kinds = zip(*training.pairs, strict=True)
    tops = [Path(os.path.commonpath([path.parent for path in paths])) for paths in kinds]
    where = " and ".join(dict.fromkeys(f"{top.relative_to(folder)}/" for top in tops))
    return read_labelme(Layout(f"{where} by stem{suffix}", training, validation))


def _part(folder: Path) -> Part:
    """The pairs of a folder that is not split."""
    begin = _pairs_begin(folder)
    refuse_two(begin)
    if not begin:
        raise KsegError(f"There is no folder {folder / 'images'}. Expected {folder} to hold {EXPECTED}.")
    if begin[0].is_dir():
        return Part(str(folder), _between(begin[0], _mask_folder(folder, begin[0])).pairs)
    pictures, described = files_in(folder, deep=False), _described(folder, folder, deep=False)
    masks = described or [path for path in pictures if SUFFIX.search(path.stem)]
    images = pictures if described else [path for path in pictures if not SUFFIX.search(path.stem)]
    return Part(str(folder), _paired(images, masks, folder, folder))


def _between(images: Path, masks: Path) -> Part:
    """The pairs of a folder of images and a folder of masks."""
    for folder in (images, masks):
        if not files_in(folder) and not _described(masks, images):
            raise KsegError(f"{folder} has no image files; expected any of {', '.join(sorted(EXTENSIONS))}.")
    return Part(str(images), _paired(files_in(images), _masks_in(masks, images), images, masks))


def _paired(image_files: Sequence[Path], mask_files: Sequence[Path], images: Path, masks: Path) -> list:
    """The pairs of the files of two folders."""
    image_of = by_stem(image_files, images)
    described = any(path.suffix == ".json" for path in mask_files)
    mask_of = by_stem(mask_files, masks) if described else masks_by_stem(mask_files, masks, image_of)
    return matched(image_of, mask_of, images, masks, "JSON of LabelMe" if described else "mask")


def _mask_folder(folder: Path, images: Path, split: str = "") -> Path:
    """The folder which holds the masks of a folder of images: one beside that, or itself, if LabelMe's lie in it."""
    there = [path for name in _MASK_FOLDERS if (path := folder / name / split).is_dir()]
    holding = [path for path in (*there, images) if _masks_in(path, images)]
    if not there and not holding:
        raise KsegError(f"There is no folder {folder / 'masks' / split}. Expected {EXPECTED}.")
    refuse_two(holding)
    return (holding or there)[0]


def _masks_in(masks: Path, images: Path) -> list[Path]:
    """The masks in a folder: pictures, or LabelMe's JSON."""
    pictures, described = [] if masks == images else files_in(masks), _described(masks, images)
    refuse_two([*pictures[:1], *described[:1]])
    return pictures or described


def _described(masks: Path, images: Path, *, deep: bool = True) -> list[Path]:
    """The JSON files in a folder, if the first that has the stem of an image is LabelMe's."""
    found = files_in(masks, {".json"}, deep=deep)
    stems = {stem(path, images) for path in files_in(images, deep=deep)} if found else ()
    first = next((path for path in found if stem(path, masks) in stems), None)
    return found if first and is_labelme(first) else []


def _folder_pairs(folder: Path) -> list[tuple[Path, Path]]:
    """The images of a folder that have a mask; what has none is not for a list to name."""
    images = next((folder / name for name in IMAGE_FOLDERS if files_in(folder / name)), None)
    if not images or not any((folder / name).is_dir() for name in _MASK_FOLDERS):
        return []
    masks = _mask_folder(folder, images)
    image_of = by_stem(files_in(images), images)
    mask_of = masks_by_stem(files_in(masks), masks, image_of)
    return [(path, mask_of[name]) for name, path in image_of.items() if name in mask_of]
