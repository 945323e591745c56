"""The pairs of a folder, faulty or not: what has no partner is a pair of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kseg.data.folder import EXTENSIONS
from kseg.errors import KsegError

_SPLITS = ("train", "val", "valid", "validation")


@dataclass(frozen=True)
class Pair:
    """An image file and its mask file, either of which may be missing."""

    folder: Path
    """The data set's folder, from which files are named."""
    split: str
    """train, val, …; empty where the folder has no splits."""
    image: Path | None
    mask: Path | None
    rivals: tuple[Path, ...] = ()
    """Other files of the same stem: which one is meant cannot be told."""

    def name(self, path: Path | None) -> str | None:
        """What a file of this pair is called in a finding."""
        return path.relative_to(self.folder).as_posix() if path else None


def find_pairs(folder: Path) -> list[Pair]:
    """The pairs of `images/` and `masks/`, or of those in `train/`, `val/` and so on, by stem, in order.

    Raises:
        KsegError: there is neither an image nor a mask.
    """
    splits = [name for name in _SPLITS if (folder / name).is_dir()]
    pairs = [pair for split in splits or [""] for pair in _pairs_of(folder, split)]
    if not pairs:
        raise KsegError(
            f"{folder} has no images and no masks. Expected images/ and masks/ in it, or train/ (and val/) "
            f"with those two in each, holding any of {', '.join(sorted(EXTENSIONS))}."
        )
    return pairs


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
