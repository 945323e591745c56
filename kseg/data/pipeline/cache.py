"""Caches for decoded and resized examples, so that they are decoded once and not in every epoch."""

import contextlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import psutil

from kseg.errors import KsegError

CacheSetting = Literal["auto", "memory", "disk", "none"]

_MAX_SHARE_OF_MEMORY = 0.5  # of the free memory, for "auto"; the model and its batches need the rest
_GIB = 2**30

# Files with the memory limit and the memory use of a container, for cgroups v2 and v1. psutil sees the whole machine.
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class Cache(Protocol):
    """Examples of one shape, by index."""

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """Store an example: uint8 `(H, W, C)` and uint8 `(H, W, M)`."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the stored example; must not be written to."""


class MemoryCache:
    """A `Cache` in memory: two arrays."""

    def __init__(self, count: int, image_shape: tuple[int, int, int], mask_channels: int = 1) -> None:
        self._images = np.empty((count, *image_shape), np.uint8)
        self._masks = np.empty((count, *image_shape[:2], mask_channels), np.uint8)

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """See `Cache`."""
        self._images[index], self._masks[index] = image, mask

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Cache`."""
        return self._images[index], self._masks[index]


class DiskCache:
    """A `Cache` in a temporary file without a name, which disappears when the process ends, however it ends.

    The file is read, not mapped: mapped pages would count as memory of the process.
    """

    def __init__(self, image_shape: tuple[int, int, int], mask_channels: int = 1) -> None:
        self._file = tempfile.TemporaryFile(prefix="kseg-", buffering=0)  # noqa: SIM115  (stays open)
        weakref.finalize(self, self._file.close).atexit = False  # threads may still be reading then
        self._image_shape, self._mask_shape = image_shape, (*image_shape[:2], mask_channels)
        self._mask_bytes = int(np.prod(self._mask_shape))
        self._bytes = self._mask_bytes + int(np.prod(image_shape))

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """See `Cache`."""
        os.pwrite(self._file.fileno(), mask.tobytes() + image.tobytes(), index * self._bytes)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Cache`."""
        content = np.frombuffer(os.pread(self._file.fileno(), self._bytes, index * self._bytes), np.uint8)
        mask, image = content[: self._mask_bytes], content[self._mask_bytes :]
        return image.reshape(self._image_shape), mask.reshape(self._mask_shape)


def open_cache(
    setting: CacheSetting,
    count: int,
    image_shape: tuple[int, int, int],
    mask_channels: int = 1,
    free: int | None = None,
) -> tuple[Cache | None, str]:
    """Return a cache, or None, and a note for the log that says which cache and why.

    Args:
        setting: as in `training_batches`.
        count: the number of examples.
        image_shape: `(H, W, C)`.
        mask_channels: channels of a mask, one, or one for each label.
        free: bytes of memory that are free; None: from `free_memory`.

    Raises:
        KsegError: there is no such setting, or not enough room on the disk.
    """
    if setting not in get_args(CacheSetting):
        raise KsegError(f"cache: {setting!r} is not allowed; expected {', '.join(get_args(CacheSetting))}.")
    needed = count * int(np.prod(image_shape[:2])) * (image_shape[2] + mask_channels)
    if setting == "none":
        return None, "decoded again in every epoch, as set"
    if setting == "disk":
        folder = tempfile.gettempdir()
        room = shutil.disk_usage(folder).free
        if needed > room:
            raise KsegError(
                f"cache: disk needs {needed / _GIB:.1f} GiB, and {folder} has {room / _GIB:.1f} free. Set TMPDIR to a "
                "folder with more room, or give --cache none."
            )
        note = f"decoded once, kept in a temporary file in {folder}: {needed / _GIB:.2f} GiB"
        return DiskCache(image_shape, mask_channels), note
    free = free_memory() if free is None else free
    if setting == "auto" and needed > _MAX_SHARE_OF_MEMORY * free:
        return None, (
            f"decoded again in every epoch: a cache would take {needed / _GIB:.1f} GiB, more than half of the "
            f"{free / _GIB:.1f} GiB of memory that are free. --cache disk keeps one in {tempfile.gettempdir()}"
        )
    return MemoryCache(count, image_shape, mask_channels), (
        f"decoded once, kept in memory: {needed / _GIB:.2f} of {free / _GIB:.1f} GiB that are free"
    )


def free_memory(container: Iterable[tuple[str, str]] = _CONTAINER) -> int:
    """Return the bytes of memory that this process can still use, within the limit of its container.

    Args:
        container: paths of a file with the memory limit and a file with the memory use, in bytes, for each way that a
            container may tell them.
    """
    free = psutil.virtual_memory().available
    for limit, used in container:
        # There may be no such file, or it holds "max".
        with contextlib.suppress(OSError, ValueError):
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)
