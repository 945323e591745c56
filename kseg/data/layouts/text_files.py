"""Text and JSON files, read whole; a fault is a `KsegError` that names the file."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kseg.errors import KsegError


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        KsegError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise KsegError(f"{path} cannot be read: {error}. Expected text in UTF-8.") from error


def read_json(path: Path, convert: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Return the content of a JSON file.

    Args:
        path: a file in UTF-8, with or without a byte order mark.
        convert: replaces each JSON object as soon as it is parsed; saves memory in large files.

    Raises:
        KsegError: the file cannot be read, or is not JSON.
    """
    text = read_text(path)
    try:
        return json.loads(text, object_hook=convert)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise KsegError(f"{path} is not JSON: {reason}. Export it again.") from error


def as_number(value: Any) -> Any:
    """Return a whole number that some tools write as text as a number; other values unchanged.

    >>> as_number("640"), as_number(640), as_number("wide")
    (640, 640, 'wide')
    """
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value
