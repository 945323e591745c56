"""Files that are whole, or not there, even if the power fails."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from kseg.errors import KsegError


def put(temporary: Path, path: Path) -> None:
    """Give a file that was written its name, once it is on the disk."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


PART = ".part"  # what is being written


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file written that is whole, or not there."""
    part = path.parent / PART
    with shard_errors(path.parent):
        try:
            write(part)
            put(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def shard_errors(destination: Path) -> Iterator[None]:
    """Turn what writers raise into what a person can do about it."""
    import tensorflow as tf

    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise KsegError(
            f"{destination} cannot be written: {str(error).splitlines()[0]}. Shards that are there are whole: make "
            "room, or see to its permissions, and give the same command again."
        ) from error


def beside(path: Path) -> Path:
    """Where a file is written before it is whole."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn an error of the file system into what a person can do about it."""
    try:
        yield
    except OSError as error:
        raise KsegError(
            f"A file of the run could not be written to {folder}: {error.strerror or error}. Those written before are "
            "whole. Make room, or mend the disk, and go on from the newest checkpoint."
        ) from error
