"""Pair the image files and mask files of a folder by their stems; refuse files without a partner, and files used twice.

Nothing is opened here; `kseg.data.files.pair` reads a pair.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.paths import folders_called
from kseg.errors import KsegError

FilePair = tuple[Path, Path]
"""An image file and its mask file."""
ImageMaskPair = tuple[Path, Path | MaskAnnotation]
"""An image file and its mask: a file, or annotations to draw it from."""

IMAGE_FOLDERS = frozenset({"images", "image", "imgs", "img", "img_dir", "jpegimages"})
"""The names of folders of images, and below those of masks, in small letters; any case is read."""
MASK_FOLDERS = frozenset(
    {"masks", "mask", "labels", "label", "annotations", "annotation", "ann_dir", "segmentationclass"}
    | {"segmentations", "segmentation", "seg", "gt", "groundtruth", "ground_truth"}
)

TRAINING_NAMES = ("train", "training")
VALIDATION_NAMES = ("val", "valid", "validation")
MASK_SUFFIX = re.compile(r"[-_.](masks?|labels?|seg|segmentation|gt|groundtruth|anno|annotations?)$", re.IGNORECASE)

_LETTERS = r"[^\W\d_]+"
_FIRST_WORD = re.compile(rf"(?:^|(?<=/)){_LETTERS}(?:(?=\d)|[-_.])(?=[^/]*$)")  # of the file name of a stem
_LAST_WORD = re.compile(rf"[-_.]{_LETTERS}\d*$")

_Mask = TypeVar("_Mask", bound=Path | MaskAnnotation, covariant=True)


@dataclass(frozen=True)
class SplitPairs(Generic[_Mask]):
    """The pairs of one split."""

    name: str
    """The folder or list where they were found."""
    pairs: Sequence[tuple[Path, _Mask]]


@dataclass(frozen=True)
class Layout:
    """Which mask belongs to which image in a folder."""

    rule: str
    """How the pairs were found, for the log."""
    training: SplitPairs[Path | MaskAnnotation]
    validation: SplitPairs[Path | MaskAnnotation] | None
    """None: the folder has no validation split."""
    classes: Mapping[int, str] = field(default_factory=dict)
    """The name of each class index. If there are names, masks hold these indices, 0 for background and 255 only."""
    labels: tuple[str, ...] = ()
    """The name of each channel of the masks, where each is a label that may overlap with others."""

    @property
    def pairs(self) -> list[ImageMaskPair]:
        """The pairs of both splits."""
        return [*self.training.pairs, *(self.validation.pairs if self.validation else ())]


def refuse_two(matches: Sequence[Path]) -> None:
    """Refuse a folder that can be read in two ways.

    Args:
        matches: a file or folder of each way.

    Raises:
        KsegError: there are two or more.
    """
    if len(matches) > 1:
        raise KsegError(
            f"Two layouts match: {matches[0]} and {matches[1]}. Expected one. Pass one folder, or remove the other."
        )


def find_validation(folder: Path, suffix: str = "") -> Path | None:
    """Return the folder, or with a suffix the file, called val, valid or validation; None if there is none.

    Raises:
        KsegError: there are two.
    """
    names = [f"{name}{suffix}" for name in VALIDATION_NAMES]
    matches = [path for name in names if (path := folder / name).exists()] if suffix else folders_called(folder, names)
    refuse_two(matches)
    return matches[0] if matches else None


def stem(path: Path, folder: Path) -> str:
    """Return the path from the folder to a file, without extension; an image and its mask share it.

    It is in Unicode's form NFC: macOS writes é as two characters, Windows and Linux as one.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def files_by_stem(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Return files by their stem.

    Raises:
        KsegError: two files have the same stem.
    """
    file_of: dict[str, Path] = {}
    for path in files:
        name = stem(path, folder)
        if name in file_of:
            raise KsegError(f"{file_of[name]} and {path} have the same stem; expected one file. Rename or remove one.")
        file_of[name] = path
    return file_of


def masks_by_stem(masks: Iterable[Path], folder: Path, image_of: Mapping[str, Path]) -> dict[str, Path]:
    """Return masks by the stem of their image: their own stem, or their own without a suffix such as `_mask`.

    Raises:
        KsegError: two masks belong to one image.
    """
    mask_of: dict[str, Path] = {}
    for path in masks:
        own = stem(path, folder)
        name = own if own in image_of else MASK_SUFFIX.sub("", own)
        if name in mask_of:
            raise KsegError(
                f"{mask_of[name]} and {path} are both masks of {image_of.get(name, name)}; expected one. Remove one."
            )
        mask_of[name] = path
    return mask_of


def without_words(
    image_of: Mapping[str, Path], mask_of: Mapping[str, Path]
) -> tuple[Mapping[str, Path], Mapping[str, Path]]:
    """Return files by their stem without a word that all images, or all masks, have: `image_1` and `mask_1` by `1`.

    Only where no stem fits, and all stems fit without these words; else the files as they are.
    """
    if image_of.keys() & mask_of.keys():
        return image_of, mask_of
    images, masks = _without_shared_word(image_of), _without_shared_word(mask_of)
    return (images, masks) if images.keys() == masks.keys() else (image_of, mask_of)


def _without_shared_word(files: Mapping[str, Path]) -> dict[str, Path]:
    """Return files by their stem without the first and the last words, as far as all of them have the same."""
    named = {name: name for name in files}
    for word in (_FIRST_WORD, _LAST_WORD):
        while len({match[0] if (match := word.search(short)) else short for short in named.values()}) == 1:
            shorter = {name: word.sub("", short) for name, short in named.items()}
            if shorter == named:
                break
            named = shorter
    return {short: files[name] for name, short in named.items()}


def match_stems(
    image_of: Mapping[str, Path], mask_of: Mapping[str, Path], images: Path, masks: Path, mask_kind: str = "mask"
) -> list[FilePair]:
    """Return the pairs of two folders, in the order of their stems.

    Args:
        image_of: the image file of each stem.
        mask_of: the mask file of each stem.
        images: the folder of the images.
        masks: the folder of the masks.
        mask_kind: what the message calls a mask file.

    Raises:
        KsegError: a file has no partner, or there are no files.
    """
    for files, partners, kind, folder in ((image_of, mask_of, mask_kind, masks), (mask_of, image_of, "image", images)):
        alone = sorted(files.keys() - partners.keys())
        if alone:
            first = files[alone[0]]
            is_json = first.suffix.lower() == ".json"
            raise KsegError(
                f"{len(alone)} files have no {kind}: {first}"
                + (" and others" if len(alone) > 1 else "")
                + f". Expected a file of the same stem in {folder}; "
                + ("the copy in its imageData is not read." if is_json else "a mask may have a suffix such as _mask.")
            )
    if not image_of:
        raise KsegError(f"{images} has no images with a mask in {masks}; expected at least one.")
    return [(image_of[name], mask_of[name]) for name in sorted(image_of)]


def refuse_repeats(
    training: SplitPairs[Path | MaskAnnotation], validation: SplitPairs[Path | MaskAnnotation] | None
) -> None:
    """Refuse an image that occurs twice: validation on a training image measures nothing.

    Raises:
        KsegError: an image occurs twice, in one split or in both.
    """
    split_of: dict[Path, str] = {}
    for split in (training, validation) if validation else (training,):
        for image, _ in split.pairs:
            real = image.resolve()
            if real in split_of:
                raise KsegError(
                    f"{image} is listed in {split_of[real]} and again in {split.name}; expected once. Remove one entry."
                )
            split_of[real] = split.name
