"""What all settings share: checks with one readable message, YAML, and which of them may change in mid-run."""

import difflib
import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_origin

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from kseg.errors import KsegError
from kseg.storage.strict_yaml import load_yaml

# Given to a field as `json_schema_extra`. A field without either must keep its value for the whole run.
MAY_CHANGE: dict[str, Any] = {"mid_run": "may change"}
"""Marks a setting that a resumed run may change."""
PLACE: dict[str, Any] = {"mid_run": "place"}
"""Marks a setting that says where something lies; it may differ from machine to machine."""


class Settings(BaseModel):
    """Settings that are checked when they are made, and then never change.

    Raises:
        KsegError: a value is not allowed, or a name is unknown; names each of them, one a line.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            names = list(type(self).model_fields)
            faults: dict[object, list[ErrorDetails]] = {}
            for fault in error.errors(include_url=False):
                faults.setdefault(fault["loc"][:1], []).append(fault)
            lines = dict.fromkeys(_explain(of_setting, names) for of_setting in faults.values())
            raise KsegError("\n".join(lines)) from None

    @model_validator(mode="before")
    @classmethod
    def _refuse_empty_text_and_true_as_a_number(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name, value in values.items():
            if value == "":
                raise ValueError(f"{name}: '' is not allowed; expected some text.")
            field = cls.model_fields.get(name)
            entries = value if isinstance(value, list | tuple) else [value]
            is_number = field and field.annotation is not bool and get_origin(field.annotation) is not Literal
            if is_number and any(isinstance(entry, bool) for entry in entries):
                raise ValueError(f"{name}: {value!r:.80} is not allowed; expected no true or false here.")
        return values

    @classmethod
    def of(cls, settings: "Settings") -> Self:
        """Return the part of `settings` that this class has; the values were checked when `settings` was made.

        >>> from kseg.config.train import OptimizerOptions, TrainConfig
        >>> OptimizerOptions.of(TrainConfig(epochs=5)).epochs
        5
        """
        return cls.model_construct(**{name: getattr(settings, name) for name in cls.model_fields})

    def settings(self) -> dict[str, Any]:
        """Return all settings as plain values, for YAML and JSON."""
        return self.model_dump(mode="json")

    def changes(self, before: dict[str, Any]) -> list[str]:
        """Return what differs from the settings of a checkpoint, as `lr 0.003 -> 0.001`. Places are not compared.

        Raises:
            KsegError: a setting differs that must not change in mid-run; names each, with both values.
        """
        different = {
            name: f"{name} {before[name]} -> {value}"
            for name, value in self.settings().items()
            if name in before and before[name] != value and not is_marked(type(self).model_fields[name], PLACE)
        }
        refused = [
            change for name, change in different.items() if not is_marked(type(self).model_fields[name], MAY_CHANGE)
        ]
        if refused:
            raise KsegError(
                f"These settings cannot be changed in mid-run: {', '.join(refused)}. Keep those of the checkpoint, or "
                "start another run."
            )
        return list(different.values())


def refuse_long_names(place: Any) -> Any:
    """Return a path, unless it is one that no file system has.

    Raises:
        ValueError: a part of it is longer than 255 bytes, or the whole longer than 4095.
    """
    parts = str(place).encode(errors="surrogateescape").split(b"/")
    if max(map(len, parts)) > 255 or len(b"/".join(parts)) > 4095:
        raise ValueError(f"{str(place)[:40]!r} … of {len(str(place))} characters is too long for a path.")
    return place


def refuse_file(place: Path) -> Path:
    """Return the path of a folder to write to, unless it is a file, or is named like one.

    Raises:
        ValueError: it is.
    """
    kind = mimetypes.guess_type(place.name)[0] or ""
    if place.is_file() or (not place.exists() and kind.startswith(("image/", "text/", "application/json"))):
        raise ValueError(f"{place} is a file, or is named like one; expected a folder.")
    return place


OutputFolder = Annotated[Path, AfterValidator(refuse_file)]
"""A folder to write to, made if needed."""

_RECIPES = Path(__file__).parents[1] / "configs"


def find_recipe(path: Path) -> Path:
    """Return a file of settings; where there is none of this name, the recipe of kseg that has it.

    Raises:
        KsegError: there is neither.

    >>> find_recipe(Path("nuclei")).name
    'nuclei.yaml'
    """
    if path.exists():
        return path
    recipes = {recipe.stem: recipe for recipe in sorted(_RECIPES.glob("*.yaml"))}
    if str(path) not in recipes:
        raise KsegError(f"There is no file {path}; expected one, or a recipe of kseg: {', '.join(recipes)}.")
    return recipes[str(path)]


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the settings in a YAML file, not yet checked.

    Raises:
        KsegError: the file cannot be read, or does not hold names and values.
    """
    try:
        settings = load_yaml(path.read_text())
    except OSError as error:
        raise KsegError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:  # also UnicodeDecodeError
        raise KsegError(f"{path} is not YAML: {error}") from error
    if not isinstance(settings, dict):
        raise KsegError(f"{path} holds {settings!r:.200}; expected lines such as 'epochs: 50'.")
    unnamed = [key for key in settings if not isinstance(key, str)]
    if unnamed:
        raise KsegError(
            f"{path} has {unnamed[0]!r:.200} as the name of a setting; expected text, such as 'epochs: 50'."
        )
    return settings


def write_yaml(settings: Settings, path: Path) -> None:
    """Write all settings to a YAML file, in their own order."""
    path.write_text(yaml.safe_dump(settings.settings(), sort_keys=False))


def is_marked(field: FieldInfo, mark: dict[str, Any]) -> bool:
    """Return whether a field has `MAY_CHANGE` or `PLACE`."""
    extra = field.json_schema_extra
    return isinstance(extra, dict) and extra.get("mid_run") == mark["mid_run"]


# What pydantic's own message does not say in words that fit the flag.
_ALLOWED = {
    "foreground": "auto, any, classes, white, or whole numbers from 0 to 65535",
    "colours": "auto, or colours such as '#000000' '#ff0000'",
    "image_size": "a whole number of pixels, or two",
    "size": "a whole number of pixels, or two",
    "tile": "a whole number of pixels, or two",
    "threshold": "auto, or a probability above 0 and below 1",
    "classes": "at least one name or value",
    "class_names": "at least one name",
}

# By pydantic's type of a fault, without its last word: int_type, int_parsing, int_from_float, int_parsing_size, …
_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "path": "a path",
    "tuple": "a list",
    "dict": "names with values",
}


def _explain(faults: Sequence[ErrorDetails], names: list[str]) -> str:
    """Return one line about a setting: its name, its value, what is allowed.

    Args:
        faults: of the setting: one for each kind of value that it may have.
        names: of all settings.
    """
    fault = min(faults, key=lambda fault: len(fault["loc"]))
    key = ".".join(str(part) for part in fault["loc"][:1])
    if fault["type"] == "missing":
        return f"{key} is missing; expected a value."
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key, names, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(names)}."
        return f"{key}: there is no such setting; {hint}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    allowed = _ALLOWED.get(key, " or ".join(dict.fromkeys(map(_expected, faults))))
    return f"{key}: {fault['input']!r:.200} is not allowed; expected {allowed}."


def _expected(fault: ErrorDetails) -> str:
    kind = fault["type"].partition("_")[0]
    return _KINDS.get(kind, fault["msg"].removeprefix("Input should be "))
