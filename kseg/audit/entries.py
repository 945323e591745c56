"""The entries of a folder, faulty or not: an image and its mask, or one of them alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.find import find_layout
from kseg.data.layouts.label_layers import with_labels
from kseg.data.layouts.pairing import Layout
from kseg.errors import KsegError

_SPLITS = ("train", "val", "valid", "validation")


@dataclass(frozen=True)
class Entry:
    """An image file and its mask, which is a file or is drawn; either may be missing."""

    folder: Path
    """The data set's folder; files are named relative to it."""
    split: str
    """train, val, …; empty if the folder has no splits."""
    image: Path | None
    mask: Path | MaskAnnotation | None
    rivals: tuple[Path, ...] = ()
    """Other files with the same stem, any of which may be the right one."""

    def name(self, file: Path | MaskAnnotation) -> str:
        """Return the name of a file of this entry in a finding."""
        if not isinstance(file, Path):
            return self.name(file.path) + str(file).removeprefix(str(file.path))
        # Paths in a list file were resolved.
        folder = self.folder if file.is_relative_to(self.folder) else self.folder.resolve()
        return file.relative_to(folder).as_posix()


def find_entries(folder: Path, *, multilabel: bool = False) -> tuple[list[Entry], Layout | None]:
    """Return the entries of a folder and its layout; if none matches, the files of `images/` and `masks/` by stem.

    Args:
        folder: the data set.
        multilabel: as in `kseg.data.open_sources`.

    Raises:
        KsegError: no layout matches, and there are no such folders with masks in them.
    """
    try:
        layout = find_layout(folder)
    except KsegError as error:
        splits = [name for name in _SPLITS if (folder / name).is_dir()]
        entries = [entry for split in splits or [""] for entry in _entries_by_stem(folder, split)]
        if not any(entry.mask for entry in entries):
            raise error
        return entries, None
    layout = with_labels(layout) if multilabel else layout
    parts = {"train": layout.training, "val": layout.validation} if layout.validation else {"": layout.training}
    pairs = [(split, *pair) for split, part in parts.items() if part for pair in part.pairs]
    return [Entry(folder, split, image, mask) for split, image, mask in pairs], layout


def _entries_by_stem(folder: Path, split: str) -> Iterator[Entry]:
    images, masks = _files_by_stem(folder / split / "images"), _files_by_stem(folder / split / "masks")
    for stem in sorted(images.keys() | masks.keys()):
        image, mask = images.get(stem, []), masks.get(stem, [])
        rivals = (*image[1:], *mask[1:])
        yield Entry(folder, split, image[0] if image else None, mask[0] if mask else None, rivals)


def _files_by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files
