"""The pairs of a folder, faulty or not: what has no partner is a pair of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.find import find_layout
from kseg.data.layouts.pairing import Layout
from kseg.errors import KsegError

_SPLITS = ("train", "val", "valid", "validation")


@dataclass(frozen=True)
class Pair:
    """An image file and its mask, a file or what draws it, either of which may be missing."""

    folder: Path
    """The data set's folder, from which files are named."""
    split: str
    """train, val, …; empty where the folder has no splits."""
    image: Path | None
    mask: Path | MaskAnnotation | None
    rivals: tuple[Path, ...] = ()
    """Other files of the same stem: which one is meant cannot be told."""

    def name(self, path: Path | MaskAnnotation | None) -> str | None:
        """What a file of this pair is called in a finding."""
        if path is None:
            return None
        if not isinstance(path, Path):
            return self.name(path.path) + str(path).removeprefix(str(path.path))
        # The pairs of a list have been resolved.
        folder = self.folder if path.is_relative_to(self.folder) else self.folder.resolve()
        return path.relative_to(folder).as_posix()


def find_pairs(folder: Path) -> tuple[list[Pair], Layout | None]:
    """The pairs of a folder, and its layout: or, where none fits, those of `images/` and `masks/` by stem.

    Raises:
        KsegError: it is of no layout, and has no such folders with masks in them.
    """
    try:
        layout = find_layout(folder)
    except KsegError as error:
        splits = [name for name in _SPLITS if (folder / name).is_dir()]
        pairs = [pair for split in splits or [""] for pair in _pairs_of(folder, split)]
        if not any(pair.mask for pair in pairs):
            raise error
        return pairs, None
    parts = {"train": layout.training, "val": layout.validation} if layout.validation else {"": layout.training}
    return [Pair(folder, split, image, mask) for split, part in parts.items() for image, mask in part.pairs], layout


def _pairs_of(folder: Path, split: str) -> Iterator[Pair]:
    images, masks = _by_stem(folder / split / "images"), _by_stem(folder / split / "masks")
    for stem in sorted(images.keys() | masks.keys()):
        image, *more_images = images.get(stem) or [None]
        mask, *more_masks = masks.get(stem) or [None]
        yield Pair(folder, split, image, mask, (*more_images, *more_masks))


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files
