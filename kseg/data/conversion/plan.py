"""The plan of a conversion, and the files that it writes."""

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

ShardFormat = Literal["array_record", "tfrecord"]

TEMPORARY_FILE = ".part"
"""The name of a file while it is being written."""

_VERSION = re.compile(r"\d+\.\d+\.\d+")


@dataclass(frozen=True)
class Plan:
    """What is converted, and how; written before the first shard."""

    made_from: dict[str, Any]
    """The data set and the settings, as from `describe_origin`; they must not change before the conversion is done."""
    mask_dtype: str
    """uint8, or uint16 if a mask has values above 255."""
    examples_a_shard: int

    @property
    def format(self) -> "tfds.core.FileFormat":
        """The format of the shards."""
        import tensorflow_datasets as tfds

        return tfds.core.FileFormat(self.made_from["format"])

    @property
    def features(self) -> "dict[str, tfds.features.FeatureConnector]":
        """The TFDS features of an example."""
        import tensorflow_datasets as tfds

        image = tfds.features.Image(shape=(None, None, 3))
        shape = {"shape": (None, None, 1), "dtype": np.dtype(self.mask_dtype).type, "encoding_format": "png"}

        def mask(names: list[str]) -> tfds.features.Image:
            return tfds.features.LabeledImage(labels=names, **shape) if names else tfds.features.Image(**shape)

        names = self.made_from["classes"]
        if not self.labels:
            return {"image": image, "mask": mask(names)}
        masks = {label: mask(["background", label] if names else []) for label in self.labels}
        return {"image": image, "masks": tfds.features.FeaturesDict(masks)}

    @property
    def labels(self) -> list[str]:
        """The labels that may overlap, each with a mask of its own; empty: one mask an image."""
        return self.made_from.get("labels", [])


@dataclass(frozen=True)
class Shard:
    """A file with the examples `start` to `stop` - 1 of a split."""

    path: Path
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


@dataclass(frozen=True)
class Conversion:
    """The result of a conversion."""

    shards: dict[str, list[Shard]]
    """The shards of each split."""
    faults: list[str]
    """A message for each example that was left out."""


def describe_origin(training: Source, validation: Source, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what a conversion depends on: the examples of both splits, the class names, the settings."""
    origin = {
        "train": training.summary(),
        "validation": validation.summary(),
        "bit_depth": training.bit_depth,
        "classes": _value_names(training.classes),
        **({"labels": list(training.labels)} if training.labels else {}),  # older conversions can go on without
        **settings,
    }
    return json.loads(json.dumps(origin))


def _value_names(classes: Mapping[int, str]) -> list[str]:
    """Return a name for each mask value up to the last class, for TFDS; empty if the classes have no names.

    >>> _value_names({1: "cat", 2: "dog"})
    ['background', 'cat', 'dog']
    """
    names = {**classes, 0: "background", IGNORE: "ignored"}
    return [names[value] for value in range(max(classes) + 1)] if classes else []


def read_plan(destination: Path, origin: dict[str, Any]) -> Plan | None:
    """Return the plan of the conversion in a folder; None if the folder is empty.

    Raises:
        KsegError: the folder holds something else, a plan that cannot be read, or a conversion of another origin.
    """
    names = sorted(path.name for path in destination.iterdir() if path.name not in (TEMPORARY_FILE, LOCK_FILE))
    if not names:
        return None
    if PLAN_FILE not in names:
        raise KsegError(
            f"{destination} holds {names[0]}; expected an empty folder, or a conversion to continue. Give another."
        )
    try:
        plan = Plan(**json.loads((destination / PLAN_FILE).read_text()))
    except (ValueError, TypeError) as error:
        raise KsegError(f"{destination / PLAN_FILE} cannot be read: {error}. Remove {destination}.") from error
    changes = [
        f"{key} {plan.made_from.get(key)} -> {value}"
        for key, value in origin.items()
        if plan.made_from.get(key) != value
    ]
    if changes:
        raise KsegError(
            f"{destination} holds a conversion of another data set, or with other settings: {', '.join(changes)}. Give "
            "another folder, or remove that one."
        )
    return plan


def name_and_version(destination: Path) -> tuple[str, str]:
    """Return the name and the version of the data set, in the letters that TFDS allows.

    >>> name_and_version(Path("packed/Road cracks")), name_and_version(Path("packed/roads/2.0.0"))
    (('road_cracks', '1.0.0'), ('roads', '2.0.0'))
    """
    *_, outer, name = ("", *destination.resolve().parts)
    name, version = (outer, name) if _VERSION.fullmatch(name) else (name, "1.0.0")
    name = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    return name if re.match("[a-z]", name) else f"set_{name}", version
