"""What a conversion is made from, and the files that it writes."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kseg import IGNORE
from kseg.data.sources.base import Source
from kseg.data.sources.tfds import PLAN_FILE
from kseg.errors import KsegError
from kseg.storage.lock import LOCK_FILE

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

Format = Literal["array_record", "tfrecord"]

PART = ".part"  # what is being written

_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Plan:
    """What a conversion is made from, and what was found out before its first shard."""

    made_from: dict[str, Any]
    """What may not change before it is complete."""
    mask_dtype: str
    """uint8, or uint16 if a mask holds more."""
    examples_a_shard: int

    @property
    def format(self) -> "tfds.core.FileFormat":
        """Of the shards."""
        import tensorflow_datasets as tfds

        return tfds.core.FileFormat(self.made_from["format"])

    @property
    def features(self) -> "dict[str, tfds.features.Image]":
        """Of an example."""
        import tensorflow_datasets as tfds

        shape = {"shape": (None, None, 1), "dtype": np.dtype(self.mask_dtype).type, "encoding_format": "png"}
        names = self.made_from["classes"]
        mask = tfds.features.LabeledImage(labels=names, **shape) if names else tfds.features.Image(**shape)
        return {"image": tfds.features.Image(shape=(None, None, 3)), "mask": mask}


@dataclass(frozen=True)
class Shard:
    """The examples `start` to `stop` of a split, in a file."""

    path: Path
    start: int
    stop: int


@dataclass(frozen=True)
class Converted:
    """What a conversion gave."""

    shards: dict[str, list[Shard]]
    """By split."""
    faults: list[str]
    """What is wrong with the examples that were left out."""


def made_from(training: Source, validation: Source, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a conversion depends on: the examples of both splits, the class names, the settings."""
    said = {"train": training.contents(), "validation": validation.contents(), "bit_depth": training.bit_depth}
    said["classes"] = _names(training.classes)
    return json.loads(json.dumps(said | settings))


def _names(classes: Mapping[int, str]) -> list[str]:
    """What TFDS is to call each mask value up to the last class; nothing where classes have no names.

    >>> _names({1: "cat", 2: "dog"})
    ['background', 'cat', 'dog']
    """
    others = {0: "background", IGNORE: "ignored"}
    return [(classes | others)[value] for value in range(max(classes) + 1)] if classes else []


def begun(destination: Path, made_from: dict[str, Any]) -> Plan | None:
    """The plan of a conversion to go on with; None of one to begin."""
    held = sorted(path.name for path in destination.iterdir() if path.name not in (PART, LOCK_FILE))
    if not held:
        return None
    if PLAN_FILE not in held:
        raise KsegError(
            f"{destination} holds {held[0]}; expected nothing, or a conversion to go on with. Give another."
        )
    try:
        plan = Plan(**json.loads((destination / PLAN_FILE).read_text()))
    except (ValueError, TypeError) as error:
        raise KsegError(f"{destination / PLAN_FILE} cannot be read: {error}. Remove {destination}.") from error
    changes = [
        f"{key} {plan.made_from.get(key)} -> {value}"
        for key, value in made_from.items()
        if plan.made_from.get(key) != value
    ]
    if changes:
        raise KsegError(
            f"{destination} holds a conversion of something else: {', '.join(changes)}. Give another folder, or remove "
            "that one."
        )
    return plan


def name_and_version(destination: Path) -> tuple[str, str]:
    """What to call the data set, in the letters that TFDS allows.

    >>> name_and_version(Path("packed/Road cracks")), name_and_version(Path("packed/roads/2.0.0"))
    (('road_cracks', '1.0.0'), ('roads', '2.0.0'))
    """
    *_, outer, name = ("", *destination.resolve().parts)
    name, version = (outer, name) if _VERSION.fullmatch(name) else (name, "1.0.0")
    name = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    return name if re.match("[a-z]", name) else f"set_{name}", version
