"""The entries of a folder, faulty or not: an image and its mask, or one of them alone."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.find import find_layout
from kseg.data.layouts.label_layers import with_labels
from kseg.data.layouts.pairing import IMAGE_FOLDERS, MASK_FOLDERS, TRAINING_NAMES, VALIDATION_NAMES, Layout
from kseg.data.layouts.paths import folders_called
from kseg.errors import KsegError


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
    """Return the entries of a folder and its layout; if none matches, the files of its image and mask folders by stem.

    Args:
        folder: the data set.
        multilabel: as in `kseg.data.open_sources`.

    Raises:
        KsegError: no layout matches, and there are no such folders with masks in them.
    """
    try:
        layout = find_layout(folder)
    except KsegError as error:
        splits = [path.name for path in folders_called(folder, {*TRAINING_NAMES, *VALIDATION_NAMES})]
        entries = [entry for split in splits or [""] for entry in _entries_by_stem(folder, split)]
        if not any(entry.mask for entry in entries):
            raise error
        return entries, None
    layout = with_labels(layout) if multilabel else layout
    parts = {"train": layout.training, "val": layout.validation} if layout.validation else {"": layout.training}
    pairs = [(split, *pair) for split, part in parts.items() if part for pair in part.pairs]
    return [Entry(folder, split, image, mask) for split, image, mask in pairs], layout


def _entries_by_stem(folder: Path, split: str) -> Iterator[Entry]:
    images, masks = (_files_by_stem(folder / split, names) for names in (IMAGE_FOLDERS, MASK_FOLDERS))
    for stem in sorted(images.keys() | masks.keys()):
        image, mask = images.get(stem, []), masks.get(stem, [])
        rivals = (*image[1:], *mask[1:])
        yield Entry(folder, split, image[0] if image else None, mask[0] if mask else None, rivals)


def _files_by_stem(folder: Path, names: Collection[str]) -> dict[str, list[Path]]:
    """Return the files in the first folder with one of these names, by stem."""
    files: dict[str, list[Path]] = {}
    for path in (path for place in folders_called(folder, names)[:1] for path in sorted(place.iterdir())):
        if path.suffix.lower() in EXTENSIONS and not path.name.startswith("."):
            files.setdefault(path.stem, []).append(path)
    return files
