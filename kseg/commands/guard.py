"""Turns an error into a message and an exit status."""

import io
import os
import sys
from collections.abc import Callable
from typing import IO

from kseg.errors import KsegError


def guard(command: Callable[[], int]) -> int:
    """Run a command and return its exit status.

    Args:
        command: returns an exit status.

    Returns:
        What the command returns; the status of a `KsegError`, after printing it; 2 after an error of the disk;
        130 after Ctrl-C; 141, as shells have it, where whatever read the output has ended, such as `| head`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names of files that are no UTF-8 are printed, not raised
    try:
        _refuse_empty_arguments()
        return command()
    except (KsegError, OSError) as error:
        if isinstance(error, BrokenPipeError) and _is_cut_off(sys.stdout):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at its end
            print("kseg: stopped, because nothing reads the output any more.", file=sys.stderr)
            return 141
        print(f"kseg: {error}", file=sys.stderr)
        return error.status if isinstance(error, KsegError) else 2
    except KeyboardInterrupt:
        return 130


def _refuse_empty_arguments() -> None:
    """Refuse `--run-dir "$UNSET"`, which would be the current folder."""
    if "" in sys.argv[1:]:
        before = sys.argv[sys.argv.index("", 1) - 1]
        raise KsegError(f"The argument after {before} is empty; expected some text. Is a variable of the shell unset?")


def _is_cut_off(stream: IO[str]) -> bool:
    """Return whether a stream is a pipe that nothing reads: an empty line cannot be written."""
    try:
        print(file=stream, flush=True)
    except BrokenPipeError:
        return True
    return False
