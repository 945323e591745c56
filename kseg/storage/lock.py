"""One writer a folder, on this machine and on those that share its disk."""

import contextlib
import fcntl
import logging
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from kseg.errors import KsegError
from kseg.storage.whole import shard_errors

_log = logging.getLogger("kseg")

_held: dict[Path, int] = {}


def lock(folder: Path) -> None:
    """Make a folder if need be, and keep it for this process until `unlock`, or until that ends, however it does.

    The kernel holds the lock and lets it go with the process, so none is ever left behind by a dead one. The file
    `.lock` is not the lock: it tells others who has it.

    Raises:
        KsegError: another process has it, or the folder cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise KsegError(f"The run directory {folder} cannot be made: {error.strerror}.") from error
    folder = folder.resolve()
    if folder in _held:
        return
    try:
        file = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise KsegError(f"The run directory {folder} cannot be written to: {error.strerror}.") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(file, 1000).decode(errors="replace").strip() or "another process"
        os.close(file)
        raise KsegError(
            f"The run directory {folder} is in use by {holder}. Wait for it, end it, or give another --run-dir."
        ) from None
    except OSError as error:  # a file system without locks
        _log.warning(f"⚠️  {folder} cannot be locked ({error.strerror}): see that no other run writes there.")
    with contextlib.suppress(OSError):  # a full disk: the lock is held, only its holder is not named
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}\n".encode())
    _held[folder] = file


def unlock(folder: Path) -> None:
    """Let others have it."""
    file = _held.pop(folder.resolve(), None)
    if file is not None:
        os.close(file)


@contextlib.contextmanager
def only_writer(destination: Path) -> Iterator[None]:
    """Make a folder if need be, and keep other processes from writing there. The lock ends with the process."""
    with shard_errors(destination):
        destination.mkdir(parents=True, exist_ok=True)
        folder = os.open(destination, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise KsegError(f"Another process writes to {destination}. Wait for it, end it, or give another.") from error
    finally:
        os.close(folder)
