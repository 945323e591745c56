"""Write any data set as a TFDS data set: shards of examples, each an image file and a PNG of its mask.

Labels that may overlap have a PNG each.

    <name>-train.array_record-00000-of-00004 …   complete, or absent
    conversion.json                              the plan: what is converted, and how
    dataset_info.json, features.json             written last

A conversion that was killed continues with the first missing shard. The bytes of a shard depend on the source and the
shard's number alone, so a conversion that was killed gives the same files as one that was not.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from kseg.data.conversion.plan import TEMPORARY_FILE, Conversion, Plan, ShardFormat, describe_origin, read_plan
from kseg.data.conversion.shards import mean_example_size, plan_shards, write_metadata, write_shards
from kseg.data.sources.base import Source
from kseg.data.sources.open import open_sources
from kseg.data.sources.tfds import PLAN_FILE, has_tfds
from kseg.data.survey import stored_masks
from kseg.errors import KsegError
from kseg.progress import progress
from kseg.storage.atomic import explain_write_errors, write_atomically
from kseg.storage.lock import only_writer


def convert(
    dataset: str,
    destination: Path,
    *,
    shard_format: ShardFormat = "array_record",
    shard_bytes: int = 2**27,
    on_bad_example: Literal["error", "skip"] = "error",
    **opening: Any,
) -> Conversion:
    """Convert a data set to a TFDS data set, or continue a conversion.

    The new data set gives the same images and masks, bit for bit. An image file is copied if it is smaller than its
    pixels and TFDS decodes it to the same pixels; other images become PNG.

    Args:
        dataset: as in `open_sources`.
        destination: the folder to write; the data set gets its name. In a folder `<name>/1.0.0`, they are the data
            set's name and version, and `tfds.builder(name, data_dir=…)` finds it.
        shard_format: "array_record" or "tfrecord".
        shard_bytes: the size of a shard, roughly.
        on_bad_example: what to do if an example cannot be read. "error": stop and name it; "skip": read all examples
            first, and leave out those that cannot be read.
        opening: other arguments of `open_sources`.

    Returns:
        The shards of each split, and a message for each example that was left out.

    Raises:
        KsegError: TFDS is not installed; the data set cannot be read, or has changed since the conversion began; the
            destination cannot be written, holds something else, or is being written by another process.

    Example::

        convert("path/to/folder", Path("packed/cells"))
    """
    if not has_tfds():
        raise KsegError("kseg convert writes with TensorFlow Datasets, which is not installed. Install kseg[tfds].")
    _check_destination(dataset, destination)
    training, validation = open_sources(dataset, **opening)
    settings = {"colours": opening.get("colours", "auto"), "on_bad_example": on_bad_example, "format": shard_format}
    if opening.get("mask_exif", "own") != "own":  # else a conversion that an older kseg began can go on
        settings["mask_exif"] = opening["mask_exif"]
    origin = describe_origin(training, validation, settings)
    with only_writer(destination):
        plan = read_plan(destination, origin)
        faults: list[str] = []
        sources = {"train": training, "validation": validation}
        if on_bad_example == "skip":
            for split, source in sources.items():
                sources[split], messages = source.drop_unreadable()
                faults += messages
        _check_sources(sources)
        plan = plan or _write_plan(destination, sources, origin, shard_bytes)
        shards = {split: plan_shards(destination, plan, split, len(source)) for split, source in sources.items()}
        write_shards(sources, shards, plan)
        if describe_origin(training, validation, settings) != origin:
            raise KsegError(f"{dataset} changed while it was converted. Remove {destination}, and convert it again.")
        write_metadata(destination, plan, shards)
    return Conversion(shards, faults)


def _check_destination(dataset: str, destination: Path) -> None:
    if "://" in str(destination) or ":/" in str(destination):
        raise KsegError(f"{destination} is not on this machine; expected a folder. Convert to one, and copy it there.")
    source = Path(dataset)
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise KsegError(
            f"{destination} is inside the data set {dataset}, where kseg writes nothing. Give another folder."
        )


def _check_sources(sources: dict[str, Source]) -> None:
    for source in sources.values():
        if not len(source):
            raise KsegError(f"{source.name} is empty, or nothing in it can be read; expected at least one image.")
        if source.channels != 3:
            raise KsegError(
                f"{source.name} has images of {source.channels} channels; expected grey or colour images, since TFDS "
                "holds no others. Train from the files."
            )


def _write_plan(destination: Path, sources: dict[str, Source], origin: dict[str, Any], shard_bytes: int) -> Plan:
    mask_dtype = "uint8" if _largest_mask_value(sources) < 256 else "uint16"
    example_size = mean_example_size(sources["train"], Plan(origin, mask_dtype, examples_a_shard=1))
    plan = Plan(origin, mask_dtype, examples_a_shard=max(int(shard_bytes // example_size), 1))
    text = json.dumps(asdict(plan), indent=2)
    with explain_write_errors(destination):
        write_atomically(destination / PLAN_FILE, lambda path: path.write_text(text), destination / TEMPORARY_FILE)
    return plan


def _largest_mask_value(sources: dict[str, Source]) -> int:

    largest = 0
    with progress(description="Reading masks", total=sum(map(len, sources.values())), unit="masks") as bar:
        for source in sources.values():
            for mask in stored_masks(source):
                largest = max(largest, int(mask.max()))
                bar.update()
    return largest
