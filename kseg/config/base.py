"""Reading a YAML file of settings, and messages about settings that are not allowed."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from kseg.errors import KsegError


def read_yaml(path: Path) -> dict[str, Any]:
    """The settings in a YAML file, not yet checked.

    Raises:
        KsegError: the file cannot be read, or does not hold a mapping.
    """
    try:
        settings = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KsegError(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise KsegError(f"{path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise KsegError(f"{path} holds {settings!r}; expected lines such as 'epochs: 50'.")
    return settings


def readable(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for each thing that is wrong: the key, the value, what is allowed."""
    lines = dict.fromkeys(_line(fault, list(model.model_fields)) for fault in error.errors(include_url=False))
    return "\n".join(lines)


def _line(fault: Any, known: list[str]) -> str:
    key = ".".join(str(part) for part in fault["loc"][:1])
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}."
        return f"{key}: there is no such setting; {hint}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    allowed = fault["msg"].removeprefix("Input should be ")
    if key == "foreground":
        allowed = "auto, any, classes, or whole numbers"
    if key == "colours":
        allowed = "auto, or colours such as '#000000' '#ff0000'"
    if key == "image_size":
        allowed = "a whole number of pixels, or two"
    if key == "threshold":
        allowed = "auto, or a probability above 0 and below 1"
    return f"{key}: {fault['input']!r} is not allowed; expected {allowed}."
