"""One writer per folder, on this machine and on others that share its disk."""

import contextlib
import logging
import os
import platform
from collections.abc import Iterator
from os.path import samestat
from pathlib import Path

from filelock import FileLock, Timeout

from kseg.errors import KsegError

_log = logging.getLogger("kseg")

LOCK_FILE = ".lock"

# The folders that `lock` has locked for this process, and the file of the lock as it was then.
_locks: dict[Path, tuple[FileLock, os.stat_result]] = {}


def lock(folder: Path) -> None:
    """Make a folder if needed, and lock it until `unlock` or until this process ends.

    Does nothing if this process has locked the folder with this function already. If the folder was removed since, or
    replaced, it is made and locked anew: the lock on a file that is gone keeps nobody away.

    Raises:
        KsegError: another process has locked the folder, or it cannot be made or written to.
    """
    place = folder.resolve()
    path = place / LOCK_FILE
    if place in _locks and not (path.exists() and samestat(path.stat(), _locks[place][1])):
        unlock(folder)
    if place not in _locks:
        _locks[place] = _acquire(folder), path.stat()


def unlock(folder: Path) -> None:
    """Let other processes write to the folder."""
    if folder.resolve() in _locks:
        file_lock, _ = _locks.pop(folder.resolve())
        file_lock.release()


@contextlib.contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Make a folder if needed, and lock it for a `with` block, which removes the lock's file at its end.

    Raises:
        KsegError: this or another process has locked the folder, or it cannot be made or written to.
    """
    file_lock = _acquire(folder)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # Windows removes it on release
            (folder / LOCK_FILE).unlink()
        file_lock.release()


def _acquire(folder: Path) -> FileLock:
    """Lock a folder.

    The operating system holds the lock on the file `.lock`, and drops it when the process ends, also by SIGKILL. The
    text in the file only tells others who has the lock.
    """
    path = folder / LOCK_FILE
    if path.is_symlink():
        raise KsegError(f"{path} is a link, and a lock is not written through one. Remove it.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise KsegError(f"The folder {folder} cannot be made or written to: {error.strerror}.") from error
    # No soft lock on a file system without locks: a killed process would leave it behind.
    file_lock = FileLock(path, blocking=False, thread_local=False, fallback_to_soft=False, on_acquired=_write_owner)
    try:
        file_lock.acquire()
    except Timeout:
        raise KsegError(
            f"The folder {folder} is in use by {_owner(path)}. Wait for it, end it, or choose another folder."
        ) from None
    except OSError as error:
        _log.warning(
            f"⚠️  {folder} cannot be locked ({error.strerror or error}): make sure that no other process writes there."
        )
    return file_lock


def _write_owner(descriptor: int) -> None:
    # It begins with an empty line, since Windows does not let others read byte 0 of a locked file.
    with contextlib.suppress(OSError):  # a full disk
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"\nprocess {os.getpid()} on {platform.node()}\n".encode())


def _owner(path: Path) -> str:
    with contextlib.suppress(OSError), path.open("rb", buffering=0) as file:
        file.seek(1)
        return file.read(1000).decode(errors="replace").strip() or "another process"
    return "another process"
