"""Find the layout of a folder: where its images are, and which mask belongs to which image.

Lists (`lists.py`) and annotations of COCO and YOLO (`annotations/`) name the pairs. Otherwise the folders do:
Cityscapes, nnU-Net, split folders (`train/images` or `images/train`), `images/` and `masks/`, a folder for each image,
or images and masks in one folder; a mask is a picture, or the JSON of LabelMe. Nothing is guessed: a folder that
matches two layouts is refused, and so is a file that pairs with none or with two.
"""

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.files.label_masks import LabelFiles
from kseg.data.files.masks import MaskAnnotation
from kseg.data.files.object_files import ObjectFiles
from kseg.data.layouts.annotations import (
    describes_data_set,
    find_coco,
    find_yolo,
    is_labelme,
    labelme_layout,
    yolo_lists,
)
from kseg.data.layouts.label_layers import describe_labels, label_folders, pair_labels, refuse_other_labels
from kseg.data.layouts.lists import describe_other_tables, find_lists
from kseg.data.layouts.nnunet import is_nnunet, read_nnunet
from kseg.data.layouts.object_folders import CLASSES, object_folders, read_object_folders, refuse_other_masks
from kseg.data.layouts.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    MASK_SUFFIX,
    TRAINING_NAMES,
    VALIDATION_NAMES,
    FilePair,
    Layout,
    SplitPairs,
    files_by_stem,
    find_validation,
    masks_by_stem,
    match_stems,
    refuse_two,
    stem,
    without_words,
)
from kseg.data.layouts.paths import files_in, folders_called, visible_folders
from kseg.data.layouts.unread import describe_unread
from kseg.errors import KsegError

_MARKS = ("_", "-", "")  # between the name of a split and that of a kind of file

_Split = SplitPairs[Path | MaskAnnotation]

_EXPECTED = (
    "images/ and masks/ with files of the same stem, or train/ (and val/) with those two in each, or masks beside "
    "their images with a suffix such as _mask, or a list: train.txt, or a CSV with the columns image and mask; or "
    "annotations: COCO's JSON, LabelMe's JSON beside each image, or images/ and labels/ with YOLO's outlines"
)


def find_layout(folder: Path) -> Layout:
    """Return the pairs of images and masks in a folder.

    Raises:
        KsegError: no layout matches, or two do; an image has no mask or two, or a mask has no image; a list or an
            annotation file is faulty, names a missing file, a file outside the folder, or a file twice; a folder cannot
            be read.
    """
    try:
        layout = _find_reader(folder)(folder)
        return replace(layout, rule=layout.rule + describe_unread(folder, layout.pairs))
    except OSError as error:
        raise KsegError(f"{error.filename} cannot be read: {error.strerror}. Check its permissions.") from error


def _find_reader(folder: Path) -> Callable[[Path], Layout]:
    """Return the reader of the one layout that a folder has."""
    annotations, splits = find_coco(folder) | find_yolo(folder), _split_readers(folder)
    lists_of_yolo = yolo_lists(folder) if annotations else set()
    lists = {path: read for path, read in find_lists(folder, _folder_pairs).items() if path not in lists_of_yolo}
    # Annotated data sets have folders of images, too; they are a second layout only if they have masks.
    folders = _first_masks(folder) if annotations else [*splits, *([] if lists else _pair_places(folder))]
    matches = [*lists, *annotations, *folders]
    if not lists and not annotations and (not matches or _has_texts_alone(folder)):
        _refuse_yolo_without_outlines(folder)
    if not matches:
        raise KsegError(
            f"There is no folder {folder / 'images'}. Expected {folder} to hold {_EXPECTED}.{_describe_near(folder)}"
        )
    refuse_two(matches)
    return (lists | splits | annotations).get(matches[0], _read_folders)


def _describe_near(folder: Path) -> str:
    """Return which folder or table may be meant, as sentences; empty if there is none that is nearly right."""
    inner = [path for path in visible_folders(folder) if not path.is_symlink()]  # a link may lead back
    sentences = describe_other_tables(folder)
    if len(inner) == 1:
        with contextlib.suppress(KsegError, OSError):
            _find_reader(inner[0])
            sentences += f" {inner[0]} does: give that folder."
    return sentences


def _has_texts_alone(folder: Path) -> bool:
    """Return whether a mask folder has text files, as YOLO's `labels/`, and none has masks."""
    return any(files_in(place, {".txt"}) for place in _mask_places(folder)) and not _first_masks(folder)


def _refuse_yolo_without_outlines(folder: Path) -> None:
    described = next((path for path in sorted(folder.glob("*.y*ml")) if describes_data_set(path)), None)
    if described:
        raise KsegError(
            f"{described} describes a data set of YOLO, but no text file with outlines belongs to the images under its "
            "train. Expected train (and path, if there is one) to lead to images in this folder, such as images/train, "
            "and their text files in labels/train."
        )


def _split_readers(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """Return the training folders in a folder, and the reader of each."""
    train = folders_called(folder, TRAINING_NAMES)
    if (siblings := _sibling_folders(folder, TRAINING_NAMES)) and not any(_pair_places(path) for path in train):
        return {siblings[0]: _read_siblings}
    cityscapes = {folder / "leftImg8bit": _read_cityscapes} if (folder / "gtFine").is_dir() else {}
    nnunet = {folder / "imagesTr": read_nnunet} if is_nnunet(folder) else {}
    outer = dict.fromkeys(train, _read_folders)
    inner = dict.fromkeys(_inner_training_folders(folder), _read_inner_folders)
    return {path: read for path, read in (cityscapes | nnunet | outer | inner).items() if path.is_dir()}


def _sibling_folders(folder: Path, splits: Sequence[str]) -> tuple[Path, Path] | None:
    """Return folders such as `train/` and `train_masks/`, or `train_images/` and `train_labels/`; None: there are none.

    Raises:
        KsegError: there are several of either.
    """
    images = {split + mark + word for split in splits for mark in _MARKS for word in IMAGE_FOLDERS}
    masks = {split + mark + word for split in splits for mark in _MARKS for word in (*MASK_FOLDERS, "annot")}
    with_images, with_masks = folders_called(folder, {*splits} | images), folders_called(folder, masks)
    if not (with_images and with_masks):
        return None
    refuse_two(with_images)
    refuse_two(with_masks)
    return with_images[0], with_masks[0]


def _inner_training_folders(folder: Path) -> list[Path]:
    """Return the folders such as `images/train`."""
    tops = folders_called(folder, IMAGE_FOLDERS)
    return [path for top in tops for path in folders_called(top, TRAINING_NAMES)]


def _pair_places(folder: Path) -> list[Path]:
    """Return each sign of pairs in a folder without splits.

    Image folders, the first mask or JSON beside an image, the first folder of an image and its objects.
    """
    folders = folders_called(folder, IMAGE_FOLDERS)
    masks = (path for path in files_in(folder, recursive=False) if MASK_SUFFIX.search(path.stem))
    first_mask = next(masks, None)
    return [
        *(path for path in folders if not folders_called(path, TRAINING_NAMES) or files_in(path, recursive=False)),
        *([first_mask] if first_mask else []),
        *_labelme_files(folder, folder, recursive=False)[:1],
        *object_folders(folder)[:1],
    ]


def _mask_places(folder: Path) -> list[Path]:
    """Return the mask folders in a folder and in its training folder."""
    tops = [folder, *folders_called(folder, TRAINING_NAMES)]
    return [place for top in tops for place in folders_called(top, MASK_FOLDERS)]


def _first_masks(folder: Path) -> list[Path]:
    """Return the first picture in a mask folder and the first LabelMe file; COCO's panoptic pictures do not count."""
    masks = (
        path
        for place in _mask_places(folder)
        for path in files_in(place)
        if not path.parent.name.startswith("panoptic")
    )
    images = [folder, *folders_called(folder, TRAINING_NAMES), *folders_called(folder, IMAGE_FOLDERS)]
    json_files = (path for place in images for path in _labelme_files(place, place, recursive=False))
    return [path for path in (next(masks, None), next(json_files, None)) if path]


# Folders


def _read_folders(folder: Path) -> Layout:
    """Read `images/` and `masks/`, or masks beside images, in the folder or in its `train/`, and in `val/` if any."""
    training = _unsplit_pairs(next(iter(folders_called(folder, TRAINING_NAMES)), folder))
    val = find_validation(folder)
    return _folder_layout(folder, training, _unsplit_pairs(val) if val else None)


def _read_siblings(folder: Path) -> Layout:
    """Read `train/` and `train_masks/`, and `val/` and `val_masks/` if there are."""
    training, validation = (_sibling_folders(folder, names) for names in (TRAINING_NAMES, VALIDATION_NAMES))
    assert training
    return _folder_layout(folder, _pair_folders(*training), _pair_folders(*validation) if validation else None)


def _read_inner_folders(folder: Path) -> Layout:
    """Read `images/train` and `masks/train`, and the same for `val` if there is one."""
    train = _inner_training_folders(folder)[0]
    training = _pair_folders(train, _mask_folder(folder, train, train.name))
    val = find_validation(train.parent)
    validation = _pair_folders(val, _mask_folder(folder, val, val.name)) if val else None
    return _folder_layout(folder, training, validation)


def _read_cityscapes(folder: Path) -> Layout:
    """Read `leftImg8bit/train/<city>/<stem>_leftImg8bit.png`; masks are `_gtFine_labelIds.png` in `gtFine`."""

    def read_split(images: Path) -> SplitPairs[Path]:
        masks = folder / "gtFine" / images.name
        image_of = {_city_stem(path, "_leftImg8bit"): path for path in images.glob("*/*_leftImg8bit.png")}
        mask_of = {_city_stem(path, "_gtFine_labelIds"): path for path in masks.glob("*/*_gtFine_labelIds.png")}
        return SplitPairs(str(images), match_stems(image_of, mask_of, images, masks))

    val = find_validation(folder / "leftImg8bit")
    training = read_split(folder / "leftImg8bit/train")
    rule = "Cityscapes, leftImg8bit/ and the labelIds of gtFine/"
    return Layout(rule, training, read_split(val) if val else None)


def _city_stem(path: Path, ending: str) -> str:
    return f"{path.parent.name}/{path.stem.removesuffix(ending)}"


def _folder_layout(folder: Path, training: _Split, validation: _Split | None) -> Layout:
    """Return the layout of pairs that were found by folder."""
    pairs = [(image, mask) for split in (training, validation) if split for image, mask in split.pairs]
    if any(isinstance(mask, ObjectFiles) for _, mask in pairs):
        refuse_other_masks(training, validation)
        return Layout("a folder for each image, its objects in masks/", training, validation, CLASSES)
    of_labels = [(image, mask) for image, mask in pairs if isinstance(mask, LabelFiles)]
    if of_labels:
        refuse_other_labels(training, validation)
        return Layout(describe_labels(of_labels), training, validation, labels=of_labels[0][1].names)
    return _plain_layout(folder, _files_of(training), _files_of(validation) if validation else None)


def _files_of(split: _Split) -> SplitPairs[Path]:
    return SplitPairs(split.name, [(image, mask) for image, mask in split.pairs if isinstance(mask, Path)])


def _plain_layout(folder: Path, training: SplitPairs[Path], validation: SplitPairs[Path] | None) -> Layout:
    """Return the layout of pairs of files; its rule names the folders and the suffixes of masks."""
    pairs = (tuple(stem(path, path.parent) for path in pair) for pair in training.pairs)
    suffixes = sorted({mask.removeprefix(image) for image, mask in pairs if mask.startswith(image)} - {""})
    ending = f", masks ending in {', '.join(suffixes)}" if suffixes else ""
    image, mask = (stem(path, path.parent) for path in training.pairs[0])
    ending = ending if mask.startswith(image) else f", as {image} and {mask}"
    images_and_masks = zip(*training.pairs, strict=True)
    tops = [Path(os.path.commonpath([path.parent for path in paths])) for paths in images_and_masks]
    where = " and ".join(dict.fromkeys(f"{top.relative_to(folder)}/" for top in tops))
    rule = f"{where} by stem{ending}"
    masks = [mask for split in (training, validation) if split for _, mask in split.pairs]
    has_json = any(mask.suffix.lower() == ".json" for mask in masks)
    return labelme_layout(rule, training, validation) if has_json else Layout(rule, training, validation)


def _unsplit_pairs(folder: Path) -> _Split:
    """Return the pairs of a folder that has no splits."""
    places = _pair_places(folder)
    refuse_two(places)
    if not places:
        raise KsegError(f"There is no folder {folder / 'images'}. Expected {folder} to hold {_EXPECTED}.")
    if folders := object_folders(folder):
        return read_object_folders(folders)
    if places[0].is_dir():
        return SplitPairs(str(folder), _pair_folders(places[0], _mask_folder(folder, places[0])).pairs)
    pictures, json_files = files_in(folder, recursive=False), _labelme_files(folder, folder, recursive=False)
    masks = json_files or [path for path in pictures if MASK_SUFFIX.search(path.stem)]
    images = pictures if json_files else [path for path in pictures if not MASK_SUFFIX.search(path.stem)]
    return SplitPairs(str(folder), _pair_files(images, masks, folder, folder))


def _pair_folders(images: Path, masks: Path) -> SplitPairs[Path | MaskAnnotation]:
    """Return the pairs of a folder of images and a folder of masks, or of folders with the masks of each label."""
    for folder in (images, masks):
        if not files_in(folder) and not _labelme_files(masks, images):
            texts = files_in(folder, {".txt"})
            hint = f" It has {len(texts)} text files: YOLO's outlines need a data.yaml with names and train."
            raise KsegError(
                f"{folder} has no image files; expected any of {', '.join(sorted(EXTENSIONS))}.{hint if texts else ''}"
            )
    image_files = files_in(images)
    if folders := label_folders(masks, images, image_files):
        return SplitPairs(str(images), pair_labels(folders, files_by_stem(image_files, images)))
    return SplitPairs(str(images), _pair_files(image_files, _mask_files(masks, images), images, masks))


def _pair_files(
    image_files: Sequence[Path], mask_files: Sequence[Path], images: Path, masks: Path
) -> Sequence[FilePair]:
    """Return the pairs of image files in the folder `images` and mask files in the folder `masks`."""
    image_of: Mapping[str, Path] = files_by_stem(image_files, images)
    mask_of: Mapping[str, Path]
    has_json = any(path.suffix == ".json" for path in mask_files)
    mask_of = files_by_stem(mask_files, masks) if has_json else masks_by_stem(mask_files, masks, image_of)
    image_of, mask_of = without_words(image_of, mask_of)
    return match_stems(image_of, mask_of, images, masks, "LabelMe JSON" if has_json else "mask")


def _mask_folder(folder: Path, images: Path, split: str = "") -> Path:
    """Return the folder with the masks of a folder of images: one beside it, or itself if it has LabelMe files."""
    tops = folders_called(folder, MASK_FOLDERS)
    existing = [path for top in tops for path in (folders_called(top, {split.lower()}) if split else [top])]
    with_masks = [path for path in (*existing, images) if _mask_files(path, images)]
    if not existing and not with_masks:
        raise KsegError(f"There is no folder {folder / 'masks' / split}. Expected {_EXPECTED}.")
    refuse_two(with_masks)
    return (with_masks or existing)[0]


def _mask_files(masks: Path, images: Path) -> list[Path]:
    """Return the masks in a folder: pictures, or LabelMe files."""
    pictures, json_files = [] if masks == images else files_in(masks), _labelme_files(masks, images)
    refuse_two([*pictures[:1], *json_files[:1]])
    return pictures or json_files


def _labelme_files(masks: Path, images: Path, *, recursive: bool = True) -> list[Path]:
    """Return the JSON files in a folder, if the first one with the stem of an image is LabelMe's; else none."""
    json_files = files_in(masks, {".json"}, recursive=recursive)
    stems = {stem(path, images) for path in files_in(images, recursive=recursive)} if json_files else ()
    first = next((path for path in json_files if stem(path, masks) in stems), None)
    return json_files if first and is_labelme(first) else []


def _folder_pairs(folder: Path) -> list[FilePair]:
    """Return the images of a folder that have a mask, with their masks, for lists to choose from."""
    images = next(filter(files_in, folders_called(folder, IMAGE_FOLDERS)), None)
    if not images or not folders_called(folder, MASK_FOLDERS):
        return []
    masks = _mask_folder(folder, images)
    image_of = files_by_stem(files_in(images), images)
    mask_of = masks_by_stem(files_in(masks), masks, image_of)
    return [(path, mask_of[name]) for name, path in image_of.items() if name in mask_of]
