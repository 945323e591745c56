"""Progress bars, where somebody sees them move."""

import sys
from collections.abc import Iterable
from typing import Any, TextIO, TypeVar

T = TypeVar("T")


def is_watched(stream: TextIO) -> bool:
    """Return whether a stream goes to a terminal or a notebook; into a file a bar would write line after line."""
    return stream.isatty() or type(stream).__module__.startswith("ipykernel.")


def progress(
    work: Iterable[T] | None = None, description: str = "", total: int | None = None, *, unit: str, **options: Any
) -> Any:
    """Return tqdm's bar, which appears after two seconds and disappears at its end; nothing where nobody watches.

    Args:
        work: what to go through; None: the bar is moved by its `update`.
        description: stands before the bar.
        total: the number of units.
        unit: what is counted.
        options: more of tqdm's.

    >>> sum(progress([1, 2, 3], "Adding", unit="numbers"))
    6
    """
    from tqdm.auto import tqdm

    settings = {"delay": 2, "leave": False} | options
    return tqdm(work, description, total, unit=f" {unit}", disable=not is_watched(sys.stderr), **settings)
