"""Which images a command is to predict, and what their results are called."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from glob import has_magic
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.layouts.paths import files_in
from kseg.errors import KsegError


@dataclass(frozen=True)
class Input:
    """An image to predict."""

    path: Path
    name: str
    """The name of its results, without extension: its path from the folder that was given."""


def find_inputs(given: Sequence[str]) -> list[Input]:
    """Return the images that files, folders, patterns such as `'photos/*.jpg'`, and lists name, in this order.

    Of a folder all images in it and in its folders are taken; a list is a `.txt` file with a path on each line,
    relative to the list's folder. An image that is named twice is taken once. Names without extension that occur twice
    get their extension, and then the folder that was given.

    Raises:
        KsegError: something is not there, or is no image; a folder, a pattern or a list has none; or two images would
            still have one name.
    """
    if not given:
        raise KsegError("There is nothing to predict; expected images, folders, patterns in quotes, or .txt files.")
    found: dict[Path, tuple[Path, Path]] = {}
    for one in given:
        for path, folder in _images_of(one):
            found.setdefault(path.resolve(), (path, folder))
    pairs = list(found.values())
    names = [str(path.relative_to(folder).with_suffix("")) for path, folder in pairs]
    for longer in (
        lambda path, folder: str(path.relative_to(folder)),
        lambda path, folder: str(Path(folder.resolve().name) / path.relative_to(folder)),
    ):
        count = Counter(names)
        names = [
            longer(path, folder) if count[name] > 1 else name for name, (path, folder) in zip(names, pairs, strict=True)
        ]
    twice = [name for name, number in Counter(names).items() if number > 1]
    if twice:
        paths = [str(path) for name, (path, _) in zip(names, pairs, strict=True) if name == twice[0]]
        raise KsegError(
            f"{paths[0]} and {paths[1]} would both be written as {twice[0]}. Predict them into two folders, or pass "
            "the folder that holds both."
        )
    return [Input(path, name) for name, (path, _) in zip(names, pairs, strict=True)]


def _images_of(given: str) -> list[tuple[Path, Path]]:
    """Return each image that an argument names, with the folder from which its name is counted."""
    path = Path(given).expanduser()
    if path.is_dir():
        images = [(image, path) for image in files_in(path)]
        expected = f"images that end in one of {', '.join(sorted(EXTENSIONS))}"
    elif not path.exists() and has_magic(given):
        base = _folder_before_pattern(path)
        matches = sorted(base.glob(str(path.relative_to(base))))
        images = [(match, base) for match in matches if match.suffix.lower() in EXTENSIONS]
        expected = "files that match it"
    elif path.suffix.lower() == ".txt" and path.is_file():
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        images = [_in_list(path, line) for line in lines]
        expected = "a path on each line"
    elif path.suffix.lower() in EXTENSIONS and path.is_file():
        images, expected = [(path, path.parent)], ""
    else:
        what = "is no image file" if path.exists() else "does not exist"
        raise KsegError(f"{given} {what}; expected an image, a folder, a pattern in quotes, or a .txt file of paths.")
    if not images:
        raise KsegError(f"{given} has no images; expected {expected}.")
    return images


def _in_list(path: Path, line: str) -> tuple[Path, Path]:
    image = path.parent / line
    if not image.is_file():
        raise KsegError(f"{path} names {line}, which does not exist; expected a path from {path.parent.resolve()}.")
    is_inside = image.resolve().is_relative_to(path.parent.resolve()) and ".." not in Path(line).parts
    return image, path.parent if is_inside and not Path(line).is_absolute() else image.parent


def _folder_before_pattern(path: Path) -> Path:
    parts = []
    for part in path.parent.parts:
        if has_magic(part):
            break
        parts.append(part)
    return Path(*parts)
