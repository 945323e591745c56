"""A data set of some images of another one, by links."""

from collections.abc import Iterable, Mapping
from pathlib import Path


def link(images: Path, names: Mapping[str, Iterable[str]], folder: Path) -> str:
    """Make a data set of the images of these names by split, with masks of the same names, and return its path.

    Args:
        images: The other data set, with `images` and `masks` in a folder for each split.
        names: The file names of each split.
        folder: Where the data set will be.
    """
    for split, chosen in names.items():
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
            for name in chosen:
                (folder / split / kind / name).symlink_to((images / split / kind / name).resolve())
    return str(folder)


def names_of(images: Path, split: str) -> list[str]:
    """Return the file names of the images of a split, sorted."""
    return sorted(path.name for path in (images / split / "images").iterdir())
