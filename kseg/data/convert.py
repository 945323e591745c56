"""Any data set as one of TFDS: shards of examples, each the file of an image and a PNG of its mask.

    <name>-train.array_record-00000-of-00004 …   whole, or not there
    conversion.json                              what they are made from, and how
    dataset_info.json, features.json             once all shards are there

A conversion that was killed goes on with the first shard that is missing. What is in a shard depends on the source and
its place alone, so that the same source gives the same bytes, however often it was killed.
"""

import contextlib
import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kseg import IGNORE
from kseg.data.foreground import stored_masks
from kseg.data.records import is_prepared
from kseg.data.sources import Source, in_python, open_sources, readable_errors
from kseg.disk import put
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tqdm import tqdm

Format = Literal["array_record", "tfrecord"]

_PLAN = "conversion.json"
_PART = ".part"  # what is being written
_SHARD_BYTES = 2**27
_EXAMPLES_WEIGHED = 32
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_KEPT = (b"\xff\xd8\xff", b"\x89PNG")  # JPEG and PNG: what everything that reads TFDS can decode


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
    made_from = _made_from(training, validation, settings)
    with _only_writer(destination):
        plan = _begun(destination, made_from)
        faults: list[str] = []
        sources = {"train": training, "validation": validation}
        if on_bad_example == "skip":
            for split, source in sources.items():
                sources[split], found = source.readable()
                faults += found
        _check_sources(sources)
        if not plan:
            plan = _plan(sources, made_from)
            _write_whole(destination / _PLAN, lambda part: part.write_text(json.dumps(asdict(plan), indent=2)))
        shards = {split: _shards(destination, plan, split, len(source)) for split, source in sources.items()}
        _write_shards(sources, shards, plan)
        if _made_from(training, validation, settings) != made_from:
            raise KsegError(f"{dataset} changed while it was converted. Remove {destination}, and convert it anew.")
        _describe(destination, plan, shards)
    return Converted(shards, faults)


def is_unfinished(folder: Path) -> bool:
    """Whether that is a conversion which has not come to its end."""
    return (folder / _PLAN).is_file() and not is_prepared(folder)


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


def _made_from(training: Source, validation: Source, settings: dict[str, Any]) -> dict[str, Any]:
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


def _begun(destination: Path, made_from: dict[str, Any]) -> Plan | None:
    """The plan of a conversion to go on with; None of one to begin."""
    held = sorted(path.name for path in destination.iterdir() if path.name != _PART)
    if not held:
        return None
    if _PLAN not in held:
        raise KsegError(
            f"{destination} holds {held[0]}; expected nothing, or a conversion to go on with. Give another."
        )
    try:
        plan = Plan(**json.loads((destination / _PLAN).read_text()))
    except (ValueError, TypeError) as error:
        raise KsegError(f"{destination / _PLAN} cannot be read: {error}. Remove {destination}.") from error
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


def _plan(sources: dict[str, Source], made_from: dict[str, Any]) -> Plan:
    from tqdm import tqdm

    largest = 0
    with tqdm(desc="Reading masks", total=sum(map(len, sources.values())), unit=" masks", delay=2, leave=False) as bar:
        for source in sources.values():
            for mask in stored_masks(source):
                largest = max(largest, int(mask.max()))
                bar.update()
    plan = Plan(made_from, "uint8" if largest < 256 else "uint16", examples_a_shard=1)
    weighed = [len(record) for record in islice(_packed(sources["train"], 0, plan), _EXAMPLES_WEIGHED)]
    return replace(plan, examples_a_shard=max(_SHARD_BYTES * len(weighed) // sum(weighed), 1))


# Shards


def _template(destination: Path, plan: Plan) -> "tfds.core.ShardedFileTemplate":
    import tensorflow_datasets as tfds

    name, _ = _name_and_version(destination)
    return tfds.core.ShardedFileTemplate(destination, dataset_name=name, filetype_suffix=plan.format.file_suffix)


def _name_and_version(destination: Path) -> tuple[str, str]:
    """What to call the data set, in the letters that TFDS allows.

    >>> _name_and_version(Path("packed/Road cracks")), _name_and_version(Path("packed/roads/2.0.0"))
    (('road_cracks', '1.0.0'), ('roads', '2.0.0'))
    """
    *_, outer, name = ("", *destination.resolve().parts)
    name, version = (outer, name) if _VERSION.fullmatch(name) else (name, "1.0.0")
    name = re.sub(r"\W+", "_", name.lower(), flags=re.ASCII).strip("_")
    return name if re.match("[a-z]", name) else f"set_{name}", version


def _shards(destination: Path, plan: Plan, split: str, count: int) -> list[Shard]:
    starts = range(0, count, plan.examples_a_shard)
    paths = _template(destination, plan).replace(split=split).sharded_filepaths(len(starts))
    return [
        Shard(Path(path), start, min(start + plan.examples_a_shard, count))
        for path, start in zip(paths, starts, strict=True)
    ]


def _write_shards(sources: dict[str, Source], shards: dict[str, list[Shard]], plan: Plan) -> None:
    """Write those that are missing, and what comes after them."""
    from tensorflow_datasets.core.file_adapters import ADAPTER_FOR_FORMAT
    from tqdm import tqdm

    write = ADAPTER_FOR_FORMAT[plan.format].write_examples
    done = {split: list(takewhile(lambda shard: shard.path.is_file(), those)) for split, those in shards.items()}
    first = {split: those[-1].stop if those else 0 for split, those in done.items()}
    total = sum(map(len, sources.values()))
    with tqdm(desc="Converting", total=total, initial=sum(first.values()), unit=" images", leave=False) as bar:
        for split, source in sources.items():
            packed = _packed(source, first[split], plan)
            for shard in shards[split][len(done[split]) :]:
                records = ((None, record) for record in islice(packed, shard.stop - shard.start))
                _write_whole(shard.path, lambda part, records=records: write(part, _counted(records, bar)))


def _packed(source: Source, first: int, plan: Plan) -> Iterator[bytes]:
    """The examples from that place on, as they are written."""
    import tensorflow as tf

    feature = plan.features["image"]

    def pack(index: int, *content: bytes) -> bytes:
        (image, mask), file = source.read(index, *content), source.encoded_image(index, *content)
        file = file if _gives(file, image, feature) else tf.io.encode_png(image).numpy()
        example = tf.train.Example()
        example.features.feature["image"].bytes_list.value.append(file)
        example.features.feature["mask"].bytes_list.value.append(tf.io.encode_png(mask.astype(plan.mask_dtype)).numpy())
        return example.SerializeToString(deterministic=True)

    packed = (
        source.examples()
        .skip(first)
        .map(lambda *example: in_python(pack, tf.string, *example), num_parallel_calls=tf.data.AUTOTUNE)
    )
    with readable_errors(source.name):
        yield from packed.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()


def _gives(file: bytes, image: np.ndarray, feature: "tfds.features.Image") -> bool:
    """Whether that file is smaller than the pixels, and gives them."""
    import tensorflow as tf

    if not file.startswith(_KEPT) or len(file) >= image.nbytes:
        return False
    try:
        return np.array_equal(_decode_picture(tf.constant(file), feature), image)
    except (tf.errors.OpError, ValueError):
        return False


def _decode_picture(encoded: "tf.Tensor", feature: "tfds.features.Image") -> "tf.Tensor":
    """The image of a TFDS feature, a JPEG with the values that Pillow gives; TensorFlow's own are off by a few."""
    import tensorflow as tf

    def jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, feature.shape[-1] or 0, dct_method="INTEGER_ACCURATE")

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, lambda: feature.decode_example(encoded))
    return tf.ensure_shape(image, feature.shape)


def _counted(records: Iterator[Any], bar: "tqdm") -> Iterator[Any]:
    for record in records:
        yield record
        bar.update()


def _describe(destination: Path, plan: Plan, shards: dict[str, list[Shard]]) -> None:
    """Write what TFDS knows a data set by."""
    import tensorflow_datasets as tfds

    template = _template(destination, plan)
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.stop - shard.start for shard in those],
            num_bytes=sum(shard.path.stat().st_size for shard in those),
            filename_template=template.replace(split=split),
        )
        for split, those in shards.items()
    ]
    with _disk_errors(destination):
        tfds.folder_dataset.write_metadata(
            data_dir=destination,
            features=plan.features,
            split_infos=splits,
            version=_name_and_version(destination)[1],
            filename_template=template,
            check_data=False,  # that reads TFRecord only
        )


# Files


def _write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """Have a file written that is whole, or not there."""
    part = path.parent / _PART
    with _disk_errors(path.parent):
        try:
            write(part)
            put(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _only_writer(destination: Path) -> Iterator[None]:
    """Make a folder if need be, and keep other processes from writing there. The lock ends with the process."""
    with _disk_errors(destination):
        destination.mkdir(parents=True, exist_ok=True)
        folder = os.open(destination, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise KsegError(f"Another process writes to {destination}. Wait for it, end it, or give another.") from error
    finally:
        os.close(folder)


@contextlib.contextmanager
def _disk_errors(destination: Path) -> Iterator[None]:
    """Turn what writers raise into what a person can do about it."""
    import tensorflow as tf

    try:
        yield
    except (OSError, RuntimeError, tf.errors.OpError) as error:
        raise KsegError(
            f"{destination} cannot be written: {str(error).splitlines()[0]}. Shards that are there are whole: make "
            "room, or see to its permissions, and give the same command again."
        ) from error
