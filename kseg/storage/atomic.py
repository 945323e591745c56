"""Atomic writes: a file is complete or absent, even if the process is killed or the power fails."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kseg.errors import KsegError


def write_atomically(path: Path, write: Callable[[Path], Any], temporary: Path | None = None) -> None:
    """Write a file under a temporary name, wait until it is on the disk, then rename it.

    Args:
        path: the file. If writing fails, a former file of this name is unchanged.
        write: writes the whole file to the path that it is given.
        temporary: that path, in the same folder; by default `temporary_path(path)`. It does not exist afterwards.

    Raises:
        OSError: the file cannot be written; so does whatever `write` raises.
    """
    temporary = temporary or temporary_path(path)
    try:
        make_anew(temporary)
        write(temporary)
        move_into_place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def temporary_path(path: Path) -> Path:
    """Return the hidden name under which a file is written; the suffix is the same.

    >>> temporary_path(Path("run/last.keras")).as_posix()
    'run/.last.part.keras'
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")


def make_anew(path: Path) -> None:
    """Make an empty file in place of whatever has this name: a link that someone put there is not followed.

    Raises:
        OSError: it cannot be made.
    """
    path.unlink(missing_ok=True)
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0)
    os.close(os.open(path, flags, 0o666))


def move_into_place(temporary: Path, path: Path) -> None:
    """Rename a complete file, in the same folder, once its content is on the disk."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


@contextlib.contextmanager
def removed_on_error(temporary: Path) -> Iterator[None]:
    """Remove an unfinished file if the `with` block raises."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    if path.is_dir():
        if os.name == "nt":
            return  # Windows opens no folders
        flags = os.O_RDONLY
    else:
        flags = os.O_RDWR  # Windows syncs no file that is open for reading only
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def explain_write_errors(folder: Path, *others: type[Exception]) -> Iterator[None]:
    """Turn an error of the file system into a message that says what to do.

    Args:
        folder: where files are written.
        others: errors of libraries that mean the same as OSError.

    Raises:
        KsegError: in place of an OSError, or of one of `others`.
    """
    errors: tuple[type[Exception], ...] = (OSError, *others)
    try:
        yield
    except errors as error:
        if not folder.is_dir():
            raise KsegError(
                f"Cannot write to {folder}: it was deleted or moved. Leave a folder in place while it is written to."
            ) from error
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        raise KsegError(
            f"Cannot write to {folder}: {reason}. Files written earlier are complete. Free disk space or check the "
            "permissions, then run again."
        ) from error
