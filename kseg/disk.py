"""Files that are whole, or not there, even if the power fails."""

import os
from pathlib import Path


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
