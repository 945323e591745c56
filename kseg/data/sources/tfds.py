"""A TFDS data set as a source: by its name, by the script that builds it, or as a prepared folder.

TFRecord shards can only be read from the beginning: the seed decides the order of the shards, and examples are shuffled
within a buffer. ArrayRecord shards are read in any order, as files are.
"""

import contextlib
import importlib.util
import json
import re
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from kseg import IGNORE
from kseg.data.files.formats import EmbeddedFile
from kseg.data.files.label_masks import LabelFiles
from kseg.data.sources.base import MASK_NAME, summarise
from kseg.data.sources.file_source import PairReader
from kseg.data.sources.order import Key, index_order
from kseg.data.sources.splits import SplitSlice, find_slices, select_range
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

PLAN_FILE = "conversion.json"
"""The file in which `kseg convert` keeps its plan."""

_SHUFFLE_BUFFER = 1000  # undecoded examples
_SHARDS_AT_ONCE = 16


@dataclass(frozen=True)
class TFDSSource(PairReader):
    """A `kseg.data.Source` of some slices of a prepared TFDS data set."""

    builder: "tfds.core.DatasetBuilder"
    slices: Sequence[SplitSlice]
    image_feature: str
    mask_feature: str
    bit_depth: int = field(default=8, init=False)
    channels: int = field(default=3, init=False)
    colours: tuple[str, ...] = field(default=(), init=False)

    @abstractmethod
    def examples(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[Any, ...]]:
        """See `kseg.data.Source`."""

    @abstractmethod
    def indices(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int]]:
        """See `kseg.data.Source`."""

    @abstractmethod
    def record(self, index: int, *content: bytes) -> bytes:
        """Return an example as it was written."""

    @property
    def name(self) -> str:
        """See `kseg.data.Source`."""
        return f"{self.builder.info.full_name} {self._spec}"

    @property
    def layout(self) -> str:
        """See `kseg.data.Source`."""
        return f"TFDS, {self.builder.info.file_format.value}, features {self.image_feature} and {self.mask_feature}"

    @property
    def classes(self) -> Mapping[int, str]:
        """See `kseg.data.Source`."""
        import tensorflow_datasets as tfds

        feature = self.builder.info.features[self.mask_feature]
        if self.labels:
            named = all(isinstance(kind, tfds.features.LabeledImage) for kind in feature.values())
            return dict(enumerate(self.labels, start=1)) if named else {}
        names = feature.names if isinstance(feature, tfds.features.LabeledImage) else []
        return {value: name for value, name in enumerate(names) if value not in (0, IGNORE)}

    @cached_property
    def labels(self) -> tuple[str, ...]:
        """See `kseg.data.Source`; in the order of the data set that was converted, or else sorted."""
        feature = self.builder.info.features[self.mask_feature]
        if not _is_of_labels(feature):
            return ()
        # TFDS does not keep the order of features; the plan of a conversion does.
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            planned = json.loads((self.builder.data_path / PLAN_FILE).read_text())["made_from"]["labels"]
            if sorted(planned) == sorted(feature):
                return tuple(planned)
        return tuple(sorted(feature))

    @property
    def _spec(self) -> str:
        return "+".join(map(str, self.slices))

    @property
    def _shards(self) -> list[Any]:
        """For each shard: its filename, how many of its examples to skip, and how many to take."""
        return self.builder.info.splits[self._spec].file_instructions

    def __len__(self) -> int:
        return sum(map(len, self.slices))

    def summary(self) -> str:
        """See `kseg.data.Source`; the digest is of the slices, and of the sizes of splits and shards."""
        splits = [self.builder.info.splits[split] for split in dict.fromkeys(part.split for part in self.slices)]
        sizes = [size for split in splits for size in (split.num_bytes, *split.shard_lengths)]
        return summarise(len(self), (self.name, *sizes))

    def data_files(self) -> list[Path]:
        """See `kseg.data.Source`."""
        splits = dict.fromkeys(part.split for part in self.slices)
        return [Path(path) for split in splits for path in self.builder.info.splits[split].filepaths]

    def drop_unreadable(self) -> tuple[Self, list[str]]:
        """Return all examples, unread: TFDS checked them when it wrote them."""
        return self, []

    def take(self, count: int) -> Self:
        """See `kseg.data.Source`."""
        return replace(self, slices=select_range(self.slices, 0, count))

    def check_headers(self) -> None:
        """Do nothing: TFDS checked its examples when it wrote them."""

    def files(self, index: int, *content: bytes) -> tuple[EmbeddedFile, EmbeddedFile | LabelFiles]:
        """See `PairReader`."""
        import tensorflow as tf

        features = tf.train.Example.FromString(self.record(index, *content)).features.feature

        def file(name: str) -> EmbeddedFile:
            # TFDS ignores the orientation in EXIF tags, so its masks fit the rows as they are stored.
            return EmbeddedFile(
                f"{self.name}, example {index}, {name}", lambda: features[name].bytes_list.value[0], True
            )

        image = file(self.image_feature)
        if self.labels:
            return image, LabelFiles(self.labels, tuple(file(f"{self.mask_feature}/{label}") for label in self.labels))
        return image, file(self.mask_feature)


@dataclass(frozen=True)
class TFRecordSource(TFDSSource):
    """TFRecord shards, which can only be read from the beginning."""

    def examples(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int, bytes]]:
        """See `kseg.data.Source`."""
        import tensorflow as tf

        shards = self._shards
        files = tf.constant([str(shard.filename) for shard in shards])
        skips = tf.constant([shard.skip for shard in shards], tf.int64)

        def read(shard: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
            return tf.data.TFRecordDataset(files[shard]).skip(skips[shard]).take(count).enumerate(first)

        with self._read_errors():
            for index, example in self._shuffle(key, read).skip(start).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
                yield int(index), example

    def indices(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int]]:
        """See `kseg.data.Source`."""
        import tensorflow as tf

        def count(shard: tf.Tensor, first: tf.Tensor, size: tf.Tensor) -> tf.data.Dataset:
            return tf.data.Dataset.range(first, first + size).map(lambda index: (index,))

        for (index,) in self._shuffle(key, count).skip(start).as_numpy_iterator():
            yield (int(index),)

    @contextlib.contextmanager
    def _read_errors(self) -> Iterator[None]:
        """Turn an error of TensorFlow into a `KsegError`."""
        from tensorflow.errors import OpError  # now: when Python ends, modules may be gone

        try:
            yield
        except OpError as error:
            raise KsegError(f"{self.name} cannot be read: {error.message}") from error

    def _shuffle(self, key: Key | None, read: Callable[..., "tf.data.Dataset"]) -> "tf.data.Dataset":
        """Return the examples of all shards in the order of a key.

        Args:
            key: seed and epoch; None: the stored order.
            read: from the number of a shard, the index of its first example and its size to a data set of examples,
                tuples that begin with the index.
        """
        import tensorflow as tf

        sizes = [shard.take for shard in self._shards]
        firsts, counts = tf.constant(np.cumsum([0, *sizes[:-1]]), tf.int64), tf.constant(sizes, tf.int64)

        def read_shard(shard: "tf.Tensor") -> "tf.data.Dataset":  # quoted: AutoGraph does not find the name tf here
            return read(shard, firsts[shard], counts[shard])

        def permute(position: "tf.Tensor", key: "tf.Tensor", size: "tf.Tensor") -> "tf.Tensor":
            return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)

        def mix(indices: tf.Tensor, *content: tf.Tensor) -> tf.data.Dataset:
            # We permute one whole buffer at a time, so that an order can be had again from its key alone.
            own_key = tf.random.experimental.stateless_fold_in(tf.constant(key, tf.int64), indices[0])
            size = tf.size(indices, tf.int64)
            order = tf.data.Dataset.range(size).map(lambda position: permute(position, own_key, size))
            return order.map(lambda position: (indices[position], *(part[position] for part in content)))

        shards, count = tf.data.Dataset.range(len(sizes)), tf.data.experimental.assert_cardinality(len(self))
        if key is None:
            return shards.flat_map(read_shard).apply(count)
        records = shards.map(lambda position: permute(position, key, len(sizes))).interleave(
            read_shard, cycle_length=_SHARDS_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return records.batch(_SHUFFLE_BUFFER).flat_map(mix).apply(count)

    def record(self, index: int, *content: bytes) -> bytes:
        """See `TFDSSource`; the example comes with its index."""
        (example,) = content
        return example


@dataclass(frozen=True)
class ArrayRecordSource(TFDSSource):
    """ArrayRecord shards, which give each example by its index."""

    @cached_property
    def _reader(self) -> Any:
        from array_record.python.array_record_data_source import ArrayRecordDataSource

        return ArrayRecordDataSource(self._shards)

    def examples(self, key: Key | None = None, start: int = 0) -> Iterator[tuple[int]]:
        """See `kseg.data.Source`."""
        return index_order(len(self), key, start)

    indices = examples

    def record(self, index: int, *content: bytes) -> bytes:
        """See `TFDSSource`."""
        try:
            return self._reader[index]
        except (RuntimeError, IndexError) as error:
            raise KsegError(f"Example {index} of {self.name} cannot be read: {error}. Replace the shard.") from error


def is_prepared(folder: Path) -> bool:
    """Return whether TFDS prepared this folder, such as `~/tensorflow_datasets/shapes/standard/1.0.0`."""
    return (folder / "features.json").is_file() and (folder / "dataset_info.json").is_file()


def find_builder(folder: Path) -> Path | None:
    """Return the Python file of a TFDS builder in a folder, if one has a name by TFDS's conventions."""
    name = folder.resolve().name
    scripts = (folder / f"{name}_dataset_builder.py", folder / f"{name}.py")
    return next((script for script in scripts if script.is_file()), None)


def has_tfds() -> bool:
    """Return whether the packages of `kseg[tfds]` are installed."""
    return all(importlib.util.find_spec(package) for package in ("tensorflow", "tensorflow_datasets"))


def is_tfds(dataset: str) -> bool:
    """Return whether this is a TFDS data set: a prepared folder, a Python file, or a name that TFDS knows."""
    if is_prepared(Path(dataset)) or dataset.endswith(".py"):
        return True
    if not has_tfds():
        return False
    import tensorflow_datasets as tfds

    try:
        tfds.builder_cls(re.split("[/:]", dataset)[0])
    except (tfds.core.DatasetNotFoundError, ValueError):
        return False
    return True


def open_tfds(
    dataset: str,
    *,
    data_dir: str | Path | None,
    val_fraction: float,
    train_split: str | None = None,
    val_split: str | None = None,
) -> tuple[TFDSSource, TFDSSource]:
    """Return the training and the validation source of a TFDS data set, which TFDS downloads or generates if needed.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: it cannot be prepared or read; there is no such split; the features are unclear, as from
            `find_features`; TFDS is not installed.
    """
    if not has_tfds():
        raise KsegError(f"{dataset} is read by TensorFlow Datasets, which is not installed. Install kseg[tfds].")
    _keep_tensorflow_off_gpu()
    builder = _prepare(dataset, data_dir)
    source = _source_class(builder)
    features = find_features(builder.info.full_name, builder.info.features)
    sizes = {name: split.num_examples for name, split in builder.info.splits.items()}
    training, validation = find_slices(
        builder.info.full_name, sizes, train_split, val_split, lambda text: _instructions(builder, text)
    )
    if validation is None:
        count = sum(map(len, training))
        if count < 2:
            raise KsegError(f"{dataset} has one example; expected two or more, to train and to validate on.")
        first = count - min(max(round(count * val_fraction), 1), count - 1)
        training, validation = select_range(training, 0, first), select_range(training, first, count)
    return source(builder, training, *features), source(builder, validation, *features)


def _keep_tensorflow_off_gpu() -> None:
    """Keep TensorFlow, which only reads data here, off the GPU, unless it uses the GPU already.

    It would take all memory of the GPU, and leave none for training.
    """
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):
        tf.config.set_visible_devices([], "GPU")


def _instructions(builder: "tfds.core.DatasetBuilder", text: str) -> Sequence[Any]:
    import tensorflow_datasets as tfds

    return tfds.core.ReadInstruction.from_spec(text).to_absolute(dict(builder.info.splits))


def _prepare(dataset: str, data_dir: str | Path | None) -> "tfds.core.DatasetBuilder":
    """Return the builder of a data set, once the data set is prepared."""
    import tensorflow_datasets as tfds

    if is_prepared(Path(dataset)):
        try:
            return tfds.builder_from_directory(dataset)
        except Exception as error:  # TFDS's parsers raise errors of many types
            raise KsegError(
                f"{dataset} cannot be read as a data set of TFDS: {_first_line(error)} Prepare it again."
            ) from error
    if dataset.endswith(".py"):
        builder = _run_builder_script(Path(dataset), data_dir)
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


def _run_builder_script(script: Path, data_dir: str | Path | None) -> "tfds.core.DatasetBuilder":
    """Run a script and return the builder in it. As in TFDS, a script in a package may import its neighbours."""
    import tensorflow_datasets as tfds

    if not script.is_file():
        raise KsegError(f"There is no file {script}. Expected a script with a TFDS builder in it.")
    script = script.resolve()
    in_package = (script.parent / "__init__.py").is_file()
    module = f"{script.parent.name}.{script.stem}" if in_package else script.stem
    try:
        with tfds.core.utils.add_sys_path(script.parent.parent if in_package else script.parent):
            return tfds.core.community.builder_cls_from_module(module)(data_dir=data_dir)
    except Exception as error:  # the user's code may raise anything
        raise KsegError(
            f"{script} gives no builder: {type(error).__name__}: {_first_line(error)} Expected a script with one "
            "subclass of tfds.core.GeneratorBasedBuilder, such as `tfds new` makes."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removesuffix(".") + "."


def _source_class(builder: "tfds.core.DatasetBuilder") -> type[TFDSSource]:
    """Return the class that reads the shards of a data set."""
    import tensorflow_datasets as tfds

    file_format = builder.info.file_format
    if file_format == tfds.core.FileFormat.TFRECORD:
        return TFRecordSource
    if file_format != tfds.core.FileFormat.ARRAY_RECORD:
        raise KsegError(
            f"{builder.data_dir} holds {file_format.value}; expected tfrecord or array_record. Give another "
            "--data-dir, and kseg prepares the data set there."
        )
    try:
        import array_record.python.array_record_data_source  # noqa: F401
    except ImportError as error:
        raise KsegError(
            f"{builder.data_dir} holds array_record, and the package array_record is not installed ({error}); there is "
            "one for Linux and for macOS. On such a machine, run kseg convert --format tfrecord."
        ) from error
    return ArrayRecordSource


def find_features(name: str, features: "tfds.features.FeaturesDict") -> tuple[str, str]:
    """Return the feature of images and the feature of masks, found by type, then by name.

    A `LabeledImage` is a mask. Otherwise the mask is the one-channel image named like a mask, the only one-channel
    image, or a `FeaturesDict` of one-channel images, each the mask of a label.

    Raises:
        KsegError: there is not exactly one of each; images are not uint8, or masks not uint8 or uint16.
    """
    import tensorflow_datasets as tfds

    pictures = {key: kind for key, kind in features.items() if isinstance(kind, tfds.features.Image)}
    labelled = [key for key, kind in pictures.items() if isinstance(kind, tfds.features.LabeledImage)]
    grey = [key for key, kind in pictures.items() if kind.shape[-1] == 1]
    named = [key for key in grey if MASK_NAME.search(key.lower())]
    of_labels = [key for key, kind in features.items() if _is_of_labels(kind)]
    # The image may be the only one of a single channel.
    masks = next((keys for keys in (labelled, named, grey, of_labels) if len(keys) == 1 and pictures.keys() - keys), [])
    others = [key for key in pictures if key not in masks and not MASK_NAME.search(key.lower())]
    images = [key for key in others if key not in grey] or others
    if len(masks) != 1 or len(images) != 1:
        raise KsegError(
            f"{name} has the features {', '.join(f'{key} {kind!r}' for key, kind in features.items())}. "
            "Expected one image and one mask of a single channel, with 'mask' or 'seg' in its name."
        )
    (image,), (mask,) = images, masks
    stored = pictures[image].np_dtype, *(kind.np_dtype for kind in _masks_in(features[mask]))
    if stored[0] != np.uint8 or any(kind not in (np.uint8, np.uint16) for kind in stored[1:]):
        kinds = f"{image} of {np.dtype(stored[0])} and {mask} of {', '.join(map(str, map(np.dtype, stored[1:])))}"
        raise KsegError(f"{name} has {kinds}; expected images of uint8, and masks of uint8 or uint16.")
    return image, mask


def _is_of_labels(feature: Any) -> bool:
    """Return whether a feature holds labels: a mask of one channel for each."""
    import tensorflow_datasets as tfds

    kinds = list(feature.values()) if isinstance(feature, tfds.features.FeaturesDict) else []
    return bool(kinds) and all(isinstance(kind, tfds.features.Image) and kind.shape[-1] == 1 for kind in kinds)


def _masks_in(feature: Any) -> list[Any]:
    """Return the feature of the mask alone, or those of all labels."""
    return list(feature.values()) if _is_of_labels(feature) else [feature]


def is_unfinished(folder: Path) -> bool:
    """Return whether `kseg convert` began to write this folder and did not finish."""
    return (folder / PLAN_FILE).is_file() and not is_prepared(folder)
