"""Turns an error into a message and an exit status."""

import io
import sys
from collections.abc import Callable

from kseg.errors import KsegError


def guard(command: Callable[[], int]) -> int:
    """Run a command and return its exit status.

    Args:
        command: returns an exit status.

    Returns:
        What the command returns; the status of a `KsegError`, after printing it; 2 after an error of the disk;
        130 after Ctrl-C.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files that are no UTF-8 are printed, not raised
    try:
        return command()
    except (KsegError, OSError) as error:
        print(f"kseg: {error}", file=sys.stderr)
        return error.status if isinstance(error, KsegError) else 2
    except KeyboardInterrupt:
        return 130
