"""A TFDS data set as a source: by its name, by the script that builds it, or as a folder that was prepared.

TFRecord shards are read in a seeded order and mixed a buffer at a time; in ArrayRecord shards each example has its
place, so that they are read in any order, as files are.
"""

import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from kseg import IGNORE
from kseg.data.files.formats import EmbeddedFile
from kseg.data.sources.base import MASK_NAME, contents
from kseg.data.sources.file_source import PairReader
from kseg.data.sources.order import by_place, shuffled
from kseg.data.sources.splits import Part, cut, find_parts
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

_SHUFFLE_BUFFER = 1000  # undecoded examples
_SHARDS_AT_ONCE = 16


@dataclass(frozen=True)
class RecordSource(PairReader):
    """Parts of a prepared TFDS data set; see `kseg.data.Source`."""

    builder: "tfds.core.DatasetBuilder"
    parts: Sequence[Part]
    image_feature: str
    mask_feature: str
    bit_depth: ClassVar[int] = 8
    channels: ClassVar[int] = 3
    colours: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def record(self, index: int, *content: bytes) -> bytes:
        """An example as it was written."""

    @property
    def name(self) -> str:
        return f"{self.builder.info.full_name} {self._spec}"

    @property
    def layout(self) -> str:
        return f"TFDS, {self.builder.info.file_format.value}, features {self.image_feature} and {self.mask_feature}"

    @property
    def classes(self) -> Mapping[int, str]:
        import tensorflow_datasets as tfds

        feature = self.builder.info.features[self.mask_feature]
        names = feature.names if isinstance(feature, tfds.features.LabeledImage) else []
        return {value: name for value, name in enumerate(names) if value not in (0, IGNORE)}

    @property
    def _spec(self) -> str:
        return "+".join(map(str, self.parts))

    @property
    def _shards(self) -> list[Any]:
        """For each shard its filename, how many of its examples to skip, and how many to take."""
        return self.builder.info.splits[self._spec].file_instructions

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def contents(self) -> str:
        splits = [self.builder.info.splits[split] for split in dict.fromkeys(part.split for part in self.parts)]
        sizes = [size for split in splits for size in (split.num_bytes, *split.shard_lengths)]
        return contents(len(self), (self.name, *sizes))

    def readable(self) -> tuple[Self, list[str]]:
        return self, []  # TFDS checked its examples when it wrote them

    def take(self, count: int) -> Self:
        return replace(self, parts=cut(self.parts, 0, count))

    def check_headers(self) -> None:
        """TFDS checked its examples when it wrote them."""

    def files(self, index: int, *content: bytes) -> tuple[EmbeddedFile, EmbeddedFile]:
        import tensorflow as tf

        features = tf.train.Example.FromString(self.record(index, *content)).features.feature

        def held(name: str) -> EmbeddedFile:
            # TFDS knows no EXIF tags: it hands out rows as they are stored, and its masks belong to those.
            return EmbeddedFile(
                f"{self.name}, example {index}, {name}", lambda: features[name].bytes_list.value[0], True
            )

        return held(self.image_feature), held(self.mask_feature)


@dataclass(frozen=True)
class TFRecordSource(RecordSource):
    """Shards that can only be read from their beginning."""

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        import tensorflow as tf

        shards = self._shards
        files = tf.constant([str(shard.filename) for shard in shards])
        skips = tf.constant([shard.skip for shard in shards], tf.int64)

        def read(shard: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(files[shard]).skip(skips[shard]).take(count).enumerate(first)

        return self._mixed(key, read)

    def order(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        import tensorflow as tf

        def count_on(shard: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.range(first, first + count).map(lambda index: (index,))

        return self._mixed(key, count_on)

    def _mixed(self, key: "tf.Tensor | None", read: Callable) -> "tf.data.Dataset":
        """What `read` gives of each shard, from its number, its first index and its size, in the order of a key."""
        import tensorflow as tf

        sizes = [shard.take for shard in self._shards]
        firsts, counts = tf.constant(np.cumsum([0, *sizes[:-1]]), tf.int64), tf.constant(sizes, tf.int64)

        def read_shard(shard: "tf.Tensor") -> "tf.data.Dataset":  # AutoGraph does not find the name in here
            return read(shard, firsts[shard], counts[shard])

        def mix(indices: tf.Tensor, *content: tf.Tensor) -> tf.data.Dataset:
            # Dataset.shuffle takes no seed that is a tensor, so a whole buffer is permuted at a time.
            size, own_key = tf.size(indices, tf.int64), tf.random.experimental.stateless_fold_in(key, indices[0])
            order = tf.data.Dataset.range(size).map(lambda position: shuffled(position, own_key, size))
            return order.map(lambda position: (indices[position], *(part[position] for part in content)))

        shards, count = tf.data.Dataset.range(len(sizes)), tf.data.experimental.assert_cardinality(len(self))
        if key is None:
            return shards.flat_map(read_shard).apply(count)
        records = shards.map(lambda position: shuffled(position, key, len(sizes))).interleave(
            read_shard, cycle_length=_SHARDS_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return records.batch(_SHUFFLE_BUFFER).flat_map(mix).apply(count)

    def record(self, index: int, content: bytes) -> bytes:
        return content


@dataclass(frozen=True)
class ArrayRecordSource(RecordSource):
    """Shards of which every example can be read by its place."""

    @cached_property
    def _reader(self) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(self._shards)

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        return by_place(len(self), key)

    order = examples

    def record(self, index: int) -> bytes:
        try:
            return self._reader[index]
        except (RuntimeError, IndexError) as error:
            raise KsegError(f"Example {index} of {self.name} cannot be read: {error}. Replace the shard.") from error


def is_prepared(folder: Path) -> bool:
    """Whether a folder holds a data set as TFDS prepares it, such as `~/tensorflow_datasets/shapes/standard/1.0.0`."""
    return (folder / "features.json").is_file() and (folder / "dataset_info.json").is_file()


def builder_in(folder: Path) -> Path | None:
    """The script of a TFDS builder in a folder, called by TFDS's conventions."""
    name = folder.resolve().name
    scripts = (folder / f"{name}_dataset_builder.py", folder / f"{name}.py")
    return next((script for script in scripts if script.is_file()), None)


def is_record_set(dataset: str) -> bool:
    """Whether that is a data set of TFDS: a folder it prepared, a script, or a name that TFDS, or kseg, knows."""
    if is_prepared(Path(dataset)) or dataset.endswith(".py"):
        return True
    import tensorflow_datasets as tfds

    import kseg.data.sources.shapes  # noqa: F401  (registers itself with TFDS)

    try:
        tfds.builder_cls(re.split("[/:]", dataset)[0])
    except (tfds.core.DatasetNotFoundError, ValueError):
        return False
    return True


def open_records(
    dataset: str,
    *,
    data_dir: str | Path | None,
    val_fraction: float,
    train_split: str | None = None,
    val_split: str | None = None,
) -> tuple[RecordSource, RecordSource]:
    """The training and the validation source of a TFDS data set, which is downloaded or generated if need be.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: it cannot be prepared or read, has no such split, or its image and mask cannot be told.
    """
    builder = _prepared(dataset, data_dir)
    kind = _kind(builder)
    features = find_features(builder.info.full_name, builder.info.features)
    training, validation = find_parts(builder.info.full_name, builder.info.splits, train_split, val_split)
    if validation is None:
        count = sum(map(len, training))
        if count < 2:
            raise KsegError(f"{dataset} has one example; expected two or more, to train and to validate on.")
        kept = count - min(max(round(count * val_fraction), 1), count - 1)
        training, validation = cut(training, 0, kept), cut(training, kept, count)
    return kind(builder, training, *features), kind(builder, validation, *features)


def _prepared(dataset: str, data_dir: str | Path | None) -> "tfds.core.DatasetBuilder":
    """The builder of a data set that is there."""
    import tensorflow_datasets as tfds

    if is_prepared(Path(dataset)):
        try:
            return tfds.builder_from_directory(dataset)
        except Exception as error:  # whatever its parsers come across
            raise KsegError(
                f"{dataset} cannot be read as a data set of TFDS: {_first_line(error)} Prepare it again."
            ) from error
    if dataset.endswith(".py"):
        builder = _built_by(Path(dataset), data_dir)
    else:
        try:
            builder = tfds.builder(dataset, data_dir=data_dir)
        except ValueError as error:
            raise KsegError(f"{dataset}: {error}") from error
    try:
        if not builder.is_prepared():
            builder.download_and_prepare(file_format=tfds.core.FileFormat.TFRECORD)
    except OSError as error:
        raise KsegError(f"The TFDS data set {dataset} could not be prepared in {builder.data_dir}: {error}") from error
    return builder


def _built_by(script: Path, data_dir: str | Path | None) -> "tfds.core.DatasetBuilder":
    """The builder in a script, which is run; in a package it may import its neighbours, as TFDS has it."""
    import tensorflow_datasets as tfds

    if not script.is_file():
        raise KsegError(f"There is no file {script}. Expected a script with a TFDS builder in it.")
    script = script.resolve()
    in_package = (script.parent / "__init__.py").is_file()
    module = f"{script.parent.name}.{script.stem}" if in_package else script.stem
    try:
        with tfds.core.utils.add_sys_path(script.parent.parent if in_package else script.parent):
            return tfds.core.community.builder_cls_from_module(module)(data_dir=data_dir)
    except Exception as error:  # it is somebody's code
        raise KsegError(
            f"{script} gives no builder: {type(error).__name__}: {_first_line(error)} Expected a script with one "
            "subclass of tfds.core.GeneratorBasedBuilder, such as `tfds new` makes."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removesuffix(".") + "."


def _kind(builder: "tfds.core.DatasetBuilder") -> type[RecordSource]:
    """What reads the shards of a data set."""
    import tensorflow_datasets as tfds

    form = builder.info.file_format
    if form == tfds.core.FileFormat.TFRECORD:
        return TFRecordSource
    if form != tfds.core.FileFormat.ARRAY_RECORD:
        raise KsegError(
            f"{builder.data_dir} holds {form.value}; expected tfrecord or array_record. Give another --data-dir, and "
            "kseg prepares the data set there."
        )
    try:
        import array_record.python.array_record_data_source  # noqa: F401
    except ImportError as error:
        raise KsegError(
            f"{builder.data_dir} holds array_record, and the package of that name is not here ({error}); it is made "
            "for Linux and macOS. Convert the data set there: kseg convert --format tfrecord."
        ) from error
    return ArrayRecordSource


def find_features(name: str, features: "tfds.features.FeaturesDict") -> tuple[str, str]:
    """Which feature is the image and which the mask: by type, then by name.

    A `LabeledImage` is a mask; so is the one-channel image whose name says so, or the only one there is.

    Raises:
        KsegError: they cannot be told, or do not hold whole numbers of 8 bits, or 16 of a mask.
    """
    import tensorflow_datasets as tfds

    pictures = {key: kind for key, kind in features.items() if isinstance(kind, tfds.features.Image)}
    labelled = [key for key, kind in pictures.items() if isinstance(kind, tfds.features.LabeledImage)]
    grey = [key for key, kind in pictures.items() if kind.shape[-1] == 1]
    named = [key for key in grey if MASK_NAME.search(key.lower())]
    masks = next((found for found in (labelled, named, grey) if len(found) == 1), [])
    others = [key for key in pictures if key not in masks and not MASK_NAME.search(key.lower())]
    images = [key for key in others if key not in grey] or others
    if len(masks) != 1 or len(images) != 1:
        raise KsegError(
            f"{name} has the features {', '.join(f'{key} {kind!r}' for key, kind in features.items())}. "
            "Expected one image and one mask of a single channel, with 'mask' or 'seg' in its name."
        )
    (image,), (mask,) = images, masks
    if pictures[image].np_dtype != np.uint8 or pictures[mask].np_dtype not in (np.uint8, np.uint16):
        kinds = " and ".join(f"{key} of {np.dtype(pictures[key].np_dtype)}" for key in (image, mask))
        raise KsegError(f"{name} has {kinds}; expected images of uint8, and masks of uint8 or uint16.")
    return image, mask


PLAN_FILE = "conversion.json"


def is_unfinished(folder: Path) -> bool:
    """Whether that is a conversion which has not come to its end."""
    return (folder / PLAN_FILE).is_file() and not is_prepared(folder)
