"""How the C library gets memory from the system."""

import contextlib
import ctypes
import os

# What mallopt calls M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in glibc's malloc.h.
_SETTINGS = {
    -3: 2**30,  # bytes from which a block is asked of the system alone, and given back when it is freed
    -1: 2**31 - 1,  # free bytes at the end of the heap that are given back
    -2: 2**26,  # bytes that are asked for beyond what is needed
}


def keep_freed_memory() -> bool:
    """Have glibc keep what a training step frees for the next one. For a command, which owns its process.

    Otherwise it gives large blocks back to the system, which hands them out again page by page, each filled with zeros.
    On torch that takes up to a fifth of a step on the CPU; see benchmarks/allocator.py. It holds for the first thread,
    in which torch works. JAX works in other threads, whose heaps stay as they are. With one heap for all threads
    (M_ARENA_MAX) its steps took 0.89 to 0.96 of the time; but a first run took 1.2 times as long, because the threads
    of its compiler then wait for each other.

    Returns:
        Whether it was done: not where the environment has settings for malloc, nor with another C library.
    """
    chosen = "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", "")
    if chosen or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    # Windows has no such way to open the C library, and those of macOS and Alpine have no mallopt.
    with contextlib.suppress(AttributeError, TypeError):
        mallopt = ctypes.CDLL(None).mallopt
        accepted = [mallopt(setting, value) for setting, value in _SETTINGS.items()]
        return all(accepted)
    return False
