"""Files of a folder, and paths that must not lead out of it."""

import functools
import os
import unicodedata
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.errors import KsegError


def files_in(folder: Path, extensions: Iterable[str] = EXTENSIONS, *, recursive: bool = True) -> list[Path]:
    """Return the files of a folder with these extensions, sorted; `is_hidden` ones are skipped.

    Raises:
        KsegError: a subfolder is a link, which may lead anywhere.
    """
    files = []
    for entry in folder.iterdir() if folder.is_dir() else ():
        if is_hidden(entry.name):
            continue
        if entry.suffix.lower() in extensions:
            files.append(entry)
        elif recursive and entry.is_dir():
            if entry.is_symlink():
                raise KsegError(
                    f"{entry} is a link to a folder; expected the folder itself. Move the folder there, or copy it."
                )
            files += files_in(entry, extensions)
    return sorted(files)


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted; `is_hidden` ones are skipped."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if not is_hidden(entry.name) and entry.is_dir())


def folders_called(folder: Path, names: Collection[str]) -> list[Path]:
    """Return the folders in a folder that have one of these names, given in small letters, in any case; sorted."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(folder / entry.name for entry in entries if entry.name.lower() in names and entry.is_dir())


def is_hidden(name: str) -> bool:
    """Return whether a file or folder is no data: hidden, or made by a Synology disk station or by macOS's archives."""
    return name.startswith(".") or name in ("@eaDir", "__MACOSX")


def find_file(folder: Path, name: str) -> Path | None:
    """Return the file that a list or an annotation names; None if there is none.

    A name may have been written on another system: with backslashes, in another form of Unicode (é as one character or
    as two), with another case of the extension.

    Args:
        folder: where a relative name begins.
        name: as it was written.
    """
    if is_file(folder / name):
        return folder / name
    path = folder
    for part in Path(name.replace("\\", "/")).parts:
        if not _exists(path / part):
            if _key(part) not in _entries(path):
                return None
            part = _entries(path)[_key(part)]
        path = path / part
    return path if is_file(path) else None


def name_alone(name: str) -> str:
    """Return the file name of a path that leads elsewhere: one of another machine, or a URL; other names unchanged.

    >>> name_alone("/home/me/a.png"), name_alone("C:/cells/a.png"), name_alone("../b/a.png"), name_alone("b/a.png")
    ('a.png', 'a.png', 'a.png', 'b/a.png')
    """
    parts = name.replace("\\", "/").split("/")
    leads_out = len(parts) > 1 and (parts[0] == "" or ":" in parts[0] or ".." in parts)
    return parts[-1] if leads_out else name


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _entries(folder: Path) -> Mapping[str, str]:
    """Return the names in a folder by their key."""
    try:
        return _list_entries(folder, folder.stat().st_mtime_ns)
    except (OSError, ValueError):
        return {}


@functools.lru_cache(maxsize=64)
def _list_entries(folder: Path, changed: int) -> Mapping[str, str]:
    return {_key(path.name): path.name for path in sorted(folder.iterdir(), reverse=True)}


def _key(name: str) -> str:
    stem, dot, suffix = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}{dot}{suffix.lower()}"


def is_file(path: Path) -> bool:
    """Whether the file exists; False for a path that the system refuses, such as one that is too long."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def image_in_folder(folder: Path, name: str, where: str) -> Path:
    """Return the path of an image file in a folder, and refuse any other path.

    Args:
        folder: the folder of the data set.
        name: the path as it was written, relative to `folder`, or absolute.
        where: the file and the place in it where the name was written; begins the message.

    Raises:
        KsegError: the path leads out of the folder, or is not that of an image file.
    """
    path = find_file(folder, name) or folder / name
    try:
        is_inside, exists = path.resolve().is_relative_to(folder.resolve()), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise KsegError(f"{where}: {name!r} is not a path: {error}. Expected that of a file in {folder}.") from error
    if not is_inside:
        raise KsegError(f"{where}: {name!r} leads out of {folder}; expected a path in it. Copy the file there.")
    if not exists or path.suffix.lower() not in EXTENSIONS:
        raise KsegError(
            f"{where}: {name!r} is not an image file in {folder}; expected a path relative to it that ends in one of "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    return path
