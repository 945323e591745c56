"""Where the images of a folder lie, and which mask belongs to which image: the layouts that people have.

Lists say it outright: `train.txt`, VOC's `ImageSets/Segmentation/train.txt`, or a CSV. Otherwise folders do:
Cityscapes' own, split folders (`train/images` or `images/train`), `images/` and `masks/`, or both kinds in one folder.
Nothing is guessed: a folder that can be read in two ways, or a file that pairs with none or with two, is refused.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from kseg.data.files import EXTENSIONS
from kseg.errors import KsegError

Pair = tuple[Path, Path]
"""An image file and its mask file."""

_IMAGE_FOLDERS = ("images", "JPEGImages")
_MASK_FOLDERS = ("masks", "labels", "annotations", "segmentations", "SegmentationClass")
_VALIDATION_NAMES = ("val", "valid", "validation")
_LISTS = ("train.txt", "ImageSets/Segmentation/train.txt")
_SUFFIX = re.compile(r"[-_.](masks?|labels?|seg|segmentation|gt|groundtruth|annotations?)$", re.IGNORECASE)

_EXPECTED = (
    "images/ and masks/ with files of the same stem, or train/ (and val/) with those two in each, or masks beside "
    "their images with a suffix such as _mask, or a list: train.txt, or a CSV with the columns image and mask"
)


@dataclass(frozen=True)
class Part:
    """The pairs of one split, under the name of where they were found."""

    name: str
    pairs: Sequence[Pair]


@dataclass(frozen=True)
class Layout:
    """What a folder holds."""

    rule: str
    """How it was found, for the log."""
    training: Part
    validation: Part | None
    """None: nobody has said which images are to validate on."""


def find_layout(folder: Path) -> Layout:
    """The pairs of a folder.

    Raises:
        KsegError: no layout fits, or two do; an image or a mask is without the other, or has two; a list names what
            is not there, what lies outside of the folder, or something twice; a folder may not be read.
    """
    try:
        return _find_layout(folder)
    except OSError as error:
        raise KsegError(f"{error.filename} cannot be read: {error.strerror}. See to its permissions.") from error


def _find_layout(folder: Path) -> Layout:
    lists, splits, whole = _lists(folder), _splits(folder), _pairs_begin(folder)
    fitting = [*lists, *splits, *([] if lists else whole)]
    if not fitting:
        raise KsegError(f"There is no folder {folder / 'images'}. Expected {folder} to hold {_EXPECTED}.")
    _refuse_two(fitting)
    return (lists | splits).get(fitting[0], _read_folders)(folder)


def _lists(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """The lists in a folder, and what reads each."""
    texts = {folder / name: _read_text(folder / name) for name in _LISTS if (folder / name).is_file()}
    tables = {path: _read_csv(path) for path in sorted(folder.glob("*.csv")) if {"image", "mask"} <= {*_columns(path)}}
    return texts | tables


def _splits(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """The training folders in a folder, and what reads each."""
    cityscapes = {folder / "leftImg8bit": _read_cityscapes} if (folder / "gtFine").is_dir() else {}
    outer = {folder / "train": _read_folders}
    inner = {folder / name / "train": _read_inner_folders for name in _IMAGE_FOLDERS}
    return {path: read for path, read in (cityscapes | outer | inner).items() if path.is_dir()}


def _pairs_begin(folder: Path) -> list[Path]:
    """Where pairs may be found in a folder that is not split: its folder of images, the first mask beside an image."""
    folders = [folder / name for name in _IMAGE_FOLDERS if (folder / name).is_dir()]
    masks = (path for path in _pictures(folder) if _SUFFIX.search(path.stem))
    return [
        *(path for path in folders if _pictures(path) or not (path / "train").is_dir()),
        *([first] if (first := next(masks, None)) else []),
    ]


def _refuse_two(fitting: Sequence[Path]) -> None:
    if len(fitting) > 1:
        raise KsegError(
            f"{fitting[0]} and {fitting[1]} say two things about which mask is whose; expected one of them. Give the "
            "folder to read, or move the other out."
        )


# Folders


def _read_folders(folder: Path) -> Layout:
    """`images/` and `masks/`, or masks beside images, in the folder or in `train/`, and in `val/` if there is one."""
    training = _part(folder / "train" if (folder / "train").is_dir() else folder)
    val = _validation_of(folder)
    return Layout(_rule(folder, training), training, _part(val) if val else None)


def _read_inner_folders(folder: Path) -> Layout:
    """`images/train` and `masks/train`, and likewise `val` if there is one."""
    images = next(folder / name for name in _IMAGE_FOLDERS if (folder / name / "train").is_dir())
    training = _between(images / "train", _mask_folder(folder, "train"))
    val = _validation_of(images)
    validation = _between(val, _mask_folder(folder, val.name)) if val else None
    return Layout(_rule(folder, training), training, validation)


def _read_cityscapes(folder: Path) -> Layout:
    """`leftImg8bit/train/<city>/<stem>_leftImg8bit.png`, and the same in `gtFine` with `_gtFine_labelIds.png`."""

    def part(images: Path) -> Part:
        image_of = {_ending(path, "_leftImg8bit"): path for path in images.glob("*/*_leftImg8bit.png")}
        masks = (folder / "gtFine" / images.name).glob("*/*_gtFine_labelIds.png")
        mask_of = {_ending(path, "_gtFine_labelIds"): path for path in masks}
        return Part(str(images), _matched(image_of, mask_of, images, folder / "gtFine" / images.name))

    val = _validation_of(folder / "leftImg8bit")
    training = part(folder / "leftImg8bit/train")
    return Layout("Cityscapes, leftImg8bit/ and the labelIds of gtFine/", training, part(val) if val else None)


def _ending(path: Path, ending: str) -> str:
    """City and stem of a Cityscapes file."""
    return f"{path.parent.name}/{path.stem.removesuffix(ending)}"


def _rule(folder: Path, part: Part) -> str:
    """How the pairs of folders were found, in words."""
    endings = sorted({mask.stem.removeprefix(image.stem) for image, mask in part.pairs} - {""})
    suffix = f", masks ending in {', '.join(endings)}" if endings else ""
    where = " and ".join(dict.fromkeys(f"{path.parent.relative_to(folder)}/" for path in part.pairs[0]))
    return f"{where} by stem{suffix}"


def _validation_of(folder: Path, suffix: str = "") -> Path | None:
    """What is called val, valid or validation there."""
    found = [path for name in _VALIDATION_NAMES if (path := folder / f"{name}{suffix}").exists()]
    _refuse_two(found)
    return found[0] if found else None


def _part(folder: Path) -> Part:
    """The pairs of a folder that is not split."""
    begin = _pairs_begin(folder)
    _refuse_two(begin)
    if not begin:
        raise KsegError(f"There is no folder {folder / 'images'}. Expected {folder} to hold {_EXPECTED}.")
    if begin[0].is_dir():
        return Part(str(folder), _between(begin[0], _mask_folder(folder)).pairs)
    beside = _pictures(folder)
    masks = [path for path in beside if _SUFFIX.search(path.stem)]
    image_of = _by_stem(path for path in beside if not _SUFFIX.search(path.stem))
    return Part(str(folder), _matched(image_of, _masks_by_stem(masks, image_of), folder, folder))


def _between(images: Path, masks: Path) -> Part:
    """The pairs of a folder of images and a folder of masks."""
    for folder in (images, masks):
        if not _pictures(folder):
            raise KsegError(f"{folder} has no image files; expected any of {', '.join(sorted(EXTENSIONS))}.")
    image_of = _by_stem(_pictures(images))
    return Part(str(images), _matched(image_of, _masks_by_stem(_pictures(masks), image_of), images, masks))


def _mask_folder(folder: Path, split: str = "") -> Path:
    """The folder beside that of the images which holds masks."""
    there = [path for name in _MASK_FOLDERS if (path := folder / name / split).is_dir()]
    holding = [path for path in there if _pictures(path)]
    if not there:
        raise KsegError(f"There is no folder {folder / 'masks' / split}. Expected {_EXPECTED}.")
    _refuse_two(holding)
    return (holding or there)[0]


def _pictures(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return sorted(path for path in files if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."))


def _by_stem(images: Iterable[Path]) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in images:
        if path.stem in files:
            raise KsegError(f"{files[path.stem]} and {path} have the same stem; expected one file for each.")
        files[path.stem] = path
    return files


def _masks_by_stem(masks: Iterable[Path], image_of: dict[str, Path]) -> dict[str, Path]:
    """Masks by the stem of their image, which is their own, or their own without a suffix."""
    files: dict[str, Path] = {}
    for path in masks:
        stem = path.stem if path.stem in image_of else _SUFFIX.sub("", path.stem)
        if stem in files:
            raise KsegError(f"{files[stem]} and {path} are both masks of {image_of.get(stem, stem)}; expected one.")
        files[stem] = path
    return files


def _matched(image_of: dict[str, Path], mask_of: dict[str, Path], images: Path, masks: Path) -> list[Pair]:
    """The pairs of two folders, in the order of their stems."""
    for here, there, kind, folder in ((image_of, mask_of, "mask", masks), (mask_of, image_of, "image", images)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            raise KsegError(
                f"{len(alone)} files have no {kind}: {here[alone[0]]}"
                + (" and others" if len(alone) > 1 else "")
                + f". Expected a file of the same stem in {folder}; a mask may have a suffix such as _mask."
            )
    if not image_of:
        raise KsegError(f"{images} has no images with a mask in {masks}; expected at least one.")
    return [(image_of[stem], mask_of[stem]) for stem in sorted(image_of)]


# Lists


def _read_text(path: Path) -> Callable[[Path], Layout]:
    """What reads `train.txt`, and `val.txt` beside it: a stem, or an image and a mask, a line."""

    def read(folder: Path) -> Layout:
        val = _validation_of(path.parent, ".txt")
        training, validation = _listed(folder, path), _listed(folder, val) if val else None
        _refuse_repeats(training, validation)
        return Layout(f"listed in {path.relative_to(folder)}", training, validation)

    return read


def _listed(folder: Path, path: Path) -> Part:
    entries = {number: line.strip() for number, line in enumerate(_text(path).splitlines(), start=1) if line.strip()}
    pair_of = _pairs_by_stem(folder) if any(len(entry.split()) != 2 for entry in entries.values()) else {}
    pairs = []
    for number, entry in entries.items():
        where, words = f"{path}, line {number}", entry.split()
        if len(words) == 2:
            pairs.append((_inside(folder, words[0], where), _inside(folder, words[1], where)))
        elif entry in pair_of:
            pairs.append(pair_of[entry])
        else:
            raise KsegError(
                f"{where}: {entry!r} is not the stem of an image with a mask in {folder}; expected one, or the paths "
                "of an image and a mask."
            )
    return _not_empty(Part(str(path), pairs))


def _pairs_by_stem(folder: Path) -> dict[str, Pair]:
    """The images of a folder that have a mask; what has none is not for a list to name."""
    images = next((found for name in _IMAGE_FOLDERS if (found := _pictures(folder / name))), [])
    image_of = _by_stem(images)
    mask_of = _masks_by_stem(_pictures(_mask_folder(folder)), image_of) if images else {}
    return {stem: (path, mask_of[stem]) for stem, path in image_of.items() if stem in mask_of}


def _read_csv(path: Path) -> Callable[[Path], Layout]:
    """What reads a CSV with the columns image, mask and, if it likes, split."""

    def read(folder: Path) -> Layout:
        parts: dict[str, list[Pair]] = {"train": [], "val": [], "test": []}
        for where, row in _rows(path):
            split = (row.get("split") or ("" if "split" in row else "train")).strip().lower()
            name = "val" if split in _VALIDATION_NAMES else split
            if name not in parts:
                raise KsegError(f"{where}: split is {split!r}; expected train, val or test.")
            parts[name].append(tuple(_inside(folder, row[kind] or "", where) for kind in ("image", "mask")))
        training = _not_empty(Part(f"{path} (train)", parts["train"]))
        validation = Part(f"{path} (val)", parts["val"]) if parts["val"] else None
        _refuse_repeats(training, validation)
        unused = f", without {len(parts['test'])} of the split test" if parts["test"] else ""
        return Layout(f"listed in {path.relative_to(folder)}{unused}", training, validation)

    return read


def _columns(path: Path) -> list[str]:
    """The columns of a CSV; none of what cannot be opened, or begins otherwise, and is no list."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
    except (OSError, csv.Error):
        return []


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    reader = csv.DictReader(io.StringIO(_text(path), newline=""), _columns(path))
    next(reader)  # the names of the columns
    try:
        for row in reader:
            yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise KsegError(f"{path}, line {reader.line_num} is not CSV: {error}.") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KsegError(f"{path} cannot be read: {error}. Expected text in UTF-8.") from error


def _inside(folder: Path, name: str, where: str) -> Path:
    """The file of that name in the folder, and nowhere else."""
    path = folder / name
    try:
        inside, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise KsegError(f"{where}: {name!r} cannot be a path: {error}.") from error
    if not inside:
        raise KsegError(f"{where}: {name!r} leads out of {folder}; expected a path in it. Copy the file there.")
    if not there or path.suffix.lower() not in EXTENSIONS:
        raise KsegError(
            f"{where}: {name!r} is no image file in {folder}; expected a path from there to any of "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    return path


def _not_empty(part: Part) -> Part:
    if not part.pairs:
        raise KsegError(f"{part.name} lists no images; expected at least one, with its mask.")
    return part


def _refuse_repeats(training: Part, validation: Part | None) -> None:
    """An image that was trained on says nothing in validation; one that counts twice was meant to count once."""
    seen: dict[Path, str] = {}
    for part in (training, validation or Part("", ())):
        for image, _ in part.pairs:
            if image.resolve() in seen:
                raise KsegError(
                    f"{image} is listed in {seen[image.resolve()]} and again in {part.name}; expected once."
                )
            seen[image.resolve()] = part.name
