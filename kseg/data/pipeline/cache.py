"""Where decoded and resized examples are kept, so that they are decoded once and not in every epoch."""

import contextlib
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
import psutil

from kseg.errors import KsegError

CacheSetting = Literal["auto", "memory", "disk", "none"]

_MOST_OF_MEMORY = 0.5  # the share of what is free that "auto" takes; a model and its batches need the rest
_GIB = 2**30

# What a container may use, and uses: of cgroups in their second and first version. psutil tells the machine's memory.
_CONTAINER = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


class Cache(Protocol):
    """Examples of one shape, reached by index."""

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """Keep an example: uint8 `(H, W, C)` and uint8 `(H, W, 1)`."""

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """The example that was kept, not to be written to."""


class MemoryCache:
    """A `Cache` in two arrays."""

    def __init__(self, count: int, image_shape: tuple[int, int, int]) -> None:
        self._images = np.empty((count, *image_shape), np.uint8)
        self._masks = np.empty((count, *image_shape[:2], 1), np.uint8)

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """See `Cache`."""
        self._images[index], self._masks[index] = image, mask

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Cache`."""
        return self._images[index], self._masks[index]


class DiskCache:
    """A `Cache` in a temporary file without a name, which is gone with the process, however that ends.

    It is read, not mapped: mapped pages would count as memory of the process.
    """

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        self._file = tempfile.TemporaryFile(prefix="kseg-", buffering=0)  # noqa: SIM115  (open as long as this is)
        weakref.finalize(self, self._file.close).atexit = False  # where threads may still be reading
        self._image_shape, self._mask_shape = image_shape, (*image_shape[:2], 1)
        self._pixels = int(np.prod(image_shape[:2]))
        self._bytes = self._pixels * (image_shape[2] + 1)

    def write(self, index: int, image: np.ndarray, mask: np.ndarray) -> None:
        """See `Cache`."""
        os.pwrite(self._file.fileno(), mask.tobytes() + image.tobytes(), index * self._bytes)

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """See `Cache`."""
        content = np.frombuffer(os.pread(self._file.fileno(), self._bytes, index * self._bytes), np.uint8)
        mask, image = content[: self._pixels], content[self._pixels :]
        return image.reshape(self._image_shape), mask.reshape(self._mask_shape)


def open_cache(setting: CacheSetting, count: int, image_shape: tuple[int, int, int]) -> tuple[Cache | None, str]:
    """A cache for so many examples of one shape, or None, and why it is that one, in words.

    `auto` takes the memory if at most half of what is free is needed, and else keeps nothing.

    Raises:
        KsegError: there is no such setting, or no room on the disk.
    """
    if setting not in get_args(CacheSetting):
        raise KsegError(f"cache: {setting!r} is not allowed; expected {', '.join(get_args(CacheSetting))}.")
    needed = count * int(np.prod(image_shape[:2])) * (image_shape[2] + 1)
    if setting == "none":
        return None, "decoded anew in every epoch, as set"
    if setting == "disk":
        folder = tempfile.gettempdir()
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise KsegError(
                f"cache: disk needs {needed / _GIB:.1f} GiB, and {folder} has {free / _GIB:.1f} free. Point TMPDIR to "
                "a folder with more room, or give --cache none."
            )
        return DiskCache(image_shape), f"decoded once, kept in a temporary file in {folder}: {needed / _GIB:.2f} GiB"
    free = free_memory()
    if setting == "auto" and needed > _MOST_OF_MEMORY * free:
        return None, (
            f"decoded anew in every epoch: kept they would take {needed / _GIB:.1f} GiB, more than half of the "
            f"{free / _GIB:.1f} GiB of memory that are free. --cache disk keeps them in {tempfile.gettempdir()}"
        )
    return MemoryCache(count, image_shape), (
        f"decoded once, kept in memory: {needed / _GIB:.2f} of {free / _GIB:.1f} GiB that are free"
    )


def free_memory() -> int:
    """Bytes of memory that this process can take, its container's limit observed."""
    free = psutil.virtual_memory().available
    for limit, used in _CONTAINER:
        # There is no such file, or it says "max".
        with contextlib.suppress(OSError, ValueError):
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)
