"""What all layouts share: what a pair is, how the files of two folders pair, and that no path leads out of a folder."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kseg.data.files.opening import EXTENSIONS, DrawnMask
from kseg.errors import KsegError

Pair = tuple[Path, Path | DrawnMask]
"""An image file and its mask: a file too, or what draws it."""

IMAGE_FOLDERS = ("images", "JPEGImages")
VALIDATION_NAMES = ("val", "valid", "validation")
SUFFIX = re.compile(r"[-_.](masks?|labels?|seg|segmentation|gt|groundtruth|annotations?)$", re.IGNORECASE)

EXPECTED = (
    "images/ and masks/ with files of the same stem, or train/ (and val/) with those two in each, or masks beside "
    "their images with a suffix such as _mask, or a list: train.txt, or a CSV with the columns image and mask; or "
    "annotations: COCO's JSON, LabelMe's JSON beside each image, or images/ and labels/ with YOLO's outlines"
)

_MOST_NAMED = 3  # folders that are not read


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
    classes: Mapping[int, str] = field(default_factory=dict)
    """The name of each class index, where there are names: masks hold class indices then, and nothing else."""

    @property
    def pairs(self) -> list[Pair]:
        """Those of both parts."""
        return [*self.training.pairs, *(self.validation.pairs if self.validation else ())]


def refuse_two(fitting: Sequence[Path]) -> None:
    """Whether no more than one path says which mask is whose.

    Raises:
        KsegError: two do.
    """
    if len(fitting) > 1:
        raise KsegError(
            f"{fitting[0]} and {fitting[1]} say two things about which mask is whose; expected one of them. Give the "
            "folder to read, or move the other out."
        )


def validation_of(folder: Path, suffix: str = "") -> Path | None:
    """What is called val, valid or validation there.

    Raises:
        KsegError: two are.
    """
    found = [path for name in VALIDATION_NAMES if (path := folder / f"{name}{suffix}").exists()]
    refuse_two(found)
    return found[0] if found else None


def files_in(folder: Path, extensions: Iterable[str] = EXTENSIONS, *, deep: bool = True) -> list[Path]:
    """The files with these extensions in a folder and, if it is to be deep, in the folders in it; hidden ones are none.

    Raises:
        KsegError: a folder in it is a link, which may lead anywhere.
    """
    found = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name.startswith("."):
            continue
        if entry.suffix.lower() in extensions:
            found.append(entry)
        elif deep and entry.is_dir():
            if entry.is_symlink():
                raise KsegError(
                    f"{entry} is a link to a folder; expected the folder itself. Move it there, or copy it."
                )
            found += files_in(entry, extensions)
    return sorted(found)


def stem(path: Path, folder: Path) -> str:
    """The path of a file from a folder, without its extension; what image and mask have in common."""
    return path.relative_to(folder).with_suffix("").as_posix()


def by_stem(images: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Images by their stem.

    Raises:
        KsegError: two have the same.
    """
    files: dict[str, Path] = {}
    for path in images:
        name = stem(path, folder)
        if name in files:
            raise KsegError(f"{files[name]} and {path} have the same stem; expected one file for each.")
        files[name] = path
    return files


def masks_by_stem(masks: Iterable[Path], folder: Path, image_of: dict[str, Path]) -> dict[str, Path]:
    """Masks by the stem of their image, which is their own, or their own without a suffix.

    Raises:
        KsegError: two are of one image.
    """
    files: dict[str, Path] = {}
    for path in masks:
        own = stem(path, folder)
        name = own if own in image_of else SUFFIX.sub("", own)
        if name in files:
            raise KsegError(f"{files[name]} and {path} are both masks of {image_of.get(name, name)}; expected one.")
        files[name] = path
    return files


def matched(
    image_of: dict[str, Path], mask_of: dict[str, Path], images: Path, masks: Path, expected: str = "mask"
) -> list[tuple[Path, Path]]:
    """The pairs of two folders, in the order of their stems.

    Raises:
        KsegError: a file is alone, or there are none.
    """
    for here, there, kind, folder in ((image_of, mask_of, expected, masks), (mask_of, image_of, "image", images)):
        alone = sorted(here.keys() - there.keys())
        if alone:
            is_json = here[alone[0]].suffix.lower() == ".json"
            raise KsegError(
                f"{len(alone)} files have no {kind}: {here[alone[0]]}"
                + (" and others" if len(alone) > 1 else "")
                + f". Expected a file of the same stem in {folder}; "
                + ("a copy of it in imageData is not read." if is_json else "a mask may have a suffix such as _mask.")
            )
    if not image_of:
        raise KsegError(f"{images} has no images with a mask in {masks}; expected at least one.")
    return [(image_of[name], mask_of[name]) for name in sorted(image_of)]


def is_file(path: Path) -> bool:
    """Whether there is a file of that path; of what cannot be a path there is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def inside(folder: Path, name: str, where: str) -> Path:
    """The image file of that name in the folder, and nowhere else.

    Args:
        folder: the data set's.
        name: what was written in it.
        where: the file, and the place in it, for the message.

    Raises:
        KsegError: the name leads out of the folder, to nothing, or to what is no image file.
    """
    path = folder / name
    try:
        is_inside, there = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise KsegError(f"{where}: {name!r} cannot be a path: {error}.") from error
    if not is_inside:
        raise KsegError(f"{where}: {name!r} leads out of {folder}; expected a path in it. Copy the file there.")
    if not there or path.suffix.lower() not in EXTENSIONS:
        raise KsegError(
            f"{where}: {name!r} is no image file in {folder}; expected a path from there to any of "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    return path


def read_text(path: Path) -> str:
    """The text in a file.

    Raises:
        KsegError: it cannot be read, or is not in UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KsegError(f"{path} cannot be read: {error}. Expected text in UTF-8.") from error


def refuse_repeats(training: Part, validation: Part | None) -> None:
    """An image that was trained on says nothing in validation; one that counts twice was meant to count once.

    Raises:
        KsegError: an image is listed twice.
    """
    seen: dict[Path, str] = {}
    for part in (training, validation or Part("", ())):
        for image, _ in part.pairs:
            real = image.resolve()
            if real in seen:
                raise KsegError(f"{image} is listed in {seen[real]} and again in {part.name}; expected once.")
            seen[real] = part.name


def not_read(folder: Path, pairs: Sequence[Pair]) -> str:
    """The pictures in a folder that no pair has, in words that follow those of a rule; empty if there are none.

    Masks of another kind that lie among those that are read are no news: they are not counted.
    """
    images = {image for image, _ in pairs}
    masks = {mask if isinstance(mask, Path) else mask.path for _, mask in pairs}
    with_images, with_masks = ({parent for path in paths for parent in path.parents} for paths in (images, masks))
    counts = dict(_pictures_besides(folder, with_images, with_masks, images | masks))
    listed = [f"{count} in {where.relative_to(folder)}/" for where, count in sorted(counts.items()) if count]
    more = f" and in {len(listed) - _MOST_NAMED} more folders" if len(listed) > _MOST_NAMED else ""
    return f"; images not read: {', '.join(listed[:_MOST_NAMED])}{more}" if listed else ""


def _pictures_besides(
    folder: Path, with_images: set[Path], with_masks: set[Path], files: set[Path]
) -> Iterator[tuple[Path, int]]:
    """Of each folder but those of masks how many pictures are not read; one with nothing that is read counts whole."""
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if here not in with_images | with_masks:
            folders.clear()
            yield here, len(files_in(here))
        elif here in with_images:
            pictures = (here / name for name in names if not name.startswith("."))
            yield here, sum(path.suffix.lower() in EXTENSIONS and path not in files for path in pictures)
