"""Any data set as one of TFDS: shards of examples, each the file of an image and a PNG of its mask.

    <name>-train.array_record-00000-of-00004 …   whole, or not there
    conversion.json                              what they are made from, and how
    dataset_info.json, features.json             once all shards are there

A conversion that was killed goes on with the first shard that is missing. What is in a shard depends on the source and
its place alone, so that the same source gives the same bytes, however often it was killed.
"""

import json
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from kseg.data.conversion.plan import PART, Converted, Format, Plan, begun, made_from
from kseg.data.conversion.shards import describe, packed_examples, shards_of, write_shards
from kseg.data.labels import stored_masks
from kseg.data.sources.base import Source
from kseg.data.sources.open import open_sources
from kseg.data.sources.tfds import PLAN_FILE
from kseg.errors import KsegError
from kseg.storage.atomic import explain_write_errors, write_atomically
from kseg.storage.lock import only_writer

_SHARD_BYTES = 2**27
_EXAMPLES_WEIGHED = 32


def convert(
    dataset: str,
    destination: Path,
    *,
    shard_format: Format = "array_record",
    on_bad_example: Literal["error", "skip"] = "error",
    **opening: Any,
) -> Converted:
    """Write a data set as one that TFDS reads, or go on with that.

    From it come the same images and masks, bit for bit. The file of an image is kept if it is smaller than the pixels,
    and gives just these when TFDS's data sets are read; others become PNG.

    Args:
        dataset: as in `open_sources`.
        destination: the folder to write. The data set is called as it is; in one called `<name>/1.0.0` these are name
            and version, and `tfds.builder(name, data_dir=…)` finds it there.
        shard_format: of the files.
        on_bad_example: what to do about one that cannot be read. "error": stop and name it; "skip": read all once
            before, and leave those out.
        opening: other arguments of `open_sources`.

    Raises:
        KsegError: the data set cannot be read, or changed since this was begun; the destination cannot be written,
            holds something else, or is being written by another process.
    """
    _refuse_place(dataset, destination)
    training, validation = open_sources(dataset, **opening)
    settings = {"colours": opening.get("colours", "auto"), "on_bad_example": on_bad_example, "format": shard_format}
    origin = made_from(training, validation, settings)
    with only_writer(destination):
        plan = begun(destination, origin)
        faults: list[str] = []
        sources = {"train": training, "validation": validation}
        if on_bad_example == "skip":
            for split, source in sources.items():
                sources[split], found = source.readable()
                faults += found
        _check_sources(sources)
        if not plan:
            plan = _plan(sources, origin)
            text = json.dumps(asdict(plan), indent=2)
            with explain_write_errors(destination):
                write_atomically(destination / PLAN_FILE, lambda part: part.write_text(text), destination / PART)
        shards = {split: shards_of(destination, plan, split, len(source)) for split, source in sources.items()}
        write_shards(sources, shards, plan)
        if made_from(training, validation, settings) != origin:
            raise KsegError(f"{dataset} changed while it was converted. Remove {destination}, and convert it anew.")
        describe(destination, plan, shards)
    return Converted(shards, faults)


# What is converted, and where to


def _refuse_place(dataset: str, destination: Path) -> None:
    if "://" in str(destination) or ":/" in str(destination):
        raise KsegError(f"{destination} is not on this machine; expected a folder. Convert to one, and copy it there.")
    source = Path(dataset)
    if source.is_dir() and destination.resolve().is_relative_to(source.resolve()):
        raise KsegError(
            f"{destination} lies in the data set {dataset}, where kseg writes nothing. Give another folder."
        )


def _check_sources(sources: dict[str, Source]) -> None:
    for source in sources.values():
        if not len(source):
            raise KsegError(f"{source.name} is empty, or nothing in it can be read; expected at least one image.")
        if source.channels != 3:
            raise KsegError(
                f"{source.name} has images of {source.channels} channels; expected grey or colours, which is what TFDS "
                "holds. Train from the files."
            )


def _plan(sources: dict[str, Source], made_from: dict[str, Any]) -> Plan:
    from tqdm import tqdm

    largest = 0
    with tqdm(desc="Reading masks", total=sum(map(len, sources.values())), unit=" masks", delay=2, leave=False) as bar:
        for source in sources.values():
            for mask in stored_masks(source):
                largest = max(largest, int(mask.max()))
                bar.update()
    plan = Plan(made_from, "uint8" if largest < 256 else "uint16", examples_a_shard=1)
    weighed = [len(record) for record in islice(packed_examples(sources["train"], 0, plan), _EXAMPLES_WEIGHED)]
    return replace(plan, examples_a_shard=max(_SHARD_BYTES * len(weighed) // sum(weighed), 1))


# Shards


# Files
