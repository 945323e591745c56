"""Calls of a function in threads, with the results in order."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

_MOST_THREADS = 16  # more wait for each other: part of the work holds Python's lock


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_threads(
    function: Callable[..., T], arguments: Iterable[tuple[Any, ...]], threads: int | None = None
) -> Iterator[T]:
    """Yield `function(*one)` for each of the arguments, in their order.

    The threads work ahead of whoever takes the results, by two results more than there are threads; Pillow, OpenCV and
    NumPy let others run while they work. What a call raises is raised where its result is due.

    Args:
        function: must be thread-safe, and depend on nothing but its arguments.
        arguments: the arguments of each call; taken as they are needed, so they may be endless.
        threads: how many; None: one for each core, at most 16.

    >>> list(map_in_threads(pow, [(2, 3), (3, 2)]))
    [8, 9]
    """
    threads = threads or min(available_cores(), _MOST_THREADS)
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for one in arguments:
                waiting.append(pool.submit(function, *one))
                if len(waiting) > threads + 2:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
