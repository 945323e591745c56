"""A TFDS data set as a source: its TFRecord shards, read in a seeded order and mixed a buffer at a time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from kseg.data.folder import shuffled
from kseg.data.sources import Example, contents
from kseg.errors import KsegError

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

_SHUFFLE_BUFFER = 1000  # undecoded examples
_SHARDS_AT_ONCE = 16
_VALIDATION_NAMES = ("validation", "val", "valid", "test")
_MASK_NAME = re.compile("mask|seg|label|annot|gt|truth")


@dataclass(frozen=True)
class RecordSource:
    """The examples `start` to `stop` of a split of a prepared TFDS data set; see `kseg.data.Source`."""

    builder: "tfds.core.DatasetBuilder"
    split: str
    start: int
    stop: int
    image_feature: str
    mask_feature: str
    bit_depth: ClassVar[int] = 8
    classes: ClassVar[Mapping[int, str]] = {}

    @property
    def name(self) -> str:
        return f"{self.builder.info.full_name} {self._spec}"

    @property
    def layout(self) -> str:
        return f"TFDS, features {self.image_feature} and {self.mask_feature}"

    @property
    def _spec(self) -> str:
        return f"{self.split}[{self.start}:{self.stop}]"

    def __len__(self) -> int:
        return self.stop - self.start

    def contents(self) -> str:
        split = self.builder.info.splits[self.split]
        return contents(len(self), (self.name, split.num_bytes, *split.shard_lengths))

    def readable(self) -> tuple["RecordSource", list[str]]:
        return self, []  # TFDS checked its examples when it wrote them

    def take(self, count: int) -> "RecordSource":
        return replace(self, stop=min(self.start + count, self.stop))

    def examples(self, key: "tf.Tensor | None" = None) -> "tf.data.Dataset":
        import numpy as np
        import tensorflow as tf
        import tensorflow_datasets as tfds

        shards = self.builder.info.splits[self._spec].file_instructions
        files = tf.constant([str(shard.filename) for shard in shards])
        skips = tf.constant([shard.skip for shard in shards], tf.int64)
        takes = tf.constant([shard.take for shard in shards], tf.int64)
        firsts = tf.constant(np.cumsum([0] + [shard.take for shard in shards[:-1]]), tf.int64)

        wanted = (self.image_feature, self.mask_feature)
        features = tfds.features.FeaturesDict({key: self.builder.info.features[key] for key in wanted})
        undecoded = dict.fromkeys(wanted, tfds.decode.SkipDecoding())

        def read(shard: tf.Tensor) -> tf.data.Dataset:
            records = tf.data.TFRecordDataset(files[shard]).skip(skips[shard]).take(takes[shard])
            return records.enumerate(firsts[shard])

        def mix(indices: tf.Tensor, records: tf.Tensor) -> tf.data.Dataset:
            # Dataset.shuffle takes no seed that is a tensor, so a whole buffer is permuted at a time.
            size, own_key = tf.size(indices, tf.int64), tf.random.experimental.stateless_fold_in(key, indices[0])
            order = tf.data.Dataset.range(size).map(lambda position: shuffled(position, own_key, size))
            return order.map(lambda position: (indices[position], records[position]))

        order = tf.data.Dataset.range(len(shards))
        if key is None:
            records = order.flat_map(read)
        else:
            order = order.map(lambda position: shuffled(position, key, len(shards)))
            records = order.interleave(
                read, cycle_length=_SHARDS_AT_ONCE, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
            )
            records = records.batch(_SHUFFLE_BUFFER).flat_map(mix)
        return records.map(lambda index, record: (index, features.deserialize_example(record, decoders=undecoded)))

    def decode(self, example: Example) -> tuple["tf.Tensor", "tf.Tensor"]:
        import tensorflow as tf

        image = self.builder.info.features[self.image_feature].decode_example(example[self.image_feature])
        if image.dtype != tf.uint8:
            raise KsegError(f"The images of {self.name} are {image.dtype.name}; expected uint8.")
        if image.shape[-1] == 1:
            image = tf.image.grayscale_to_rgb(image)
        mask = self.decode_mask(example)
        sizes = f"KsegError: An image of {self.name} and its mask differ in size; expected one size for both.\n"
        tf.debugging.assert_equal(tf.shape(image)[:2], tf.shape(mask)[:2], message=sizes)
        return image[..., :3], mask

    def decode_mask(self, example: Example) -> "tf.Tensor":
        import tensorflow as tf

        mask = self.builder.info.features[self.mask_feature].decode_example(example[self.mask_feature])
        return tf.cast(mask, tf.uint16)


def is_record_set(name: str) -> bool:
    """Whether TFDS, or kseg, has a data set of that name."""
    import tensorflow_datasets as tfds

    import kseg.data.shapes  # noqa: F401  (registers itself with TFDS)

    try:
        tfds.builder_cls(name.split("/")[0])
    except (tfds.core.DatasetNotFoundError, ValueError):
        return False
    return True


def open_records(name: str, *, data_dir: str | Path | None, val_fraction: float) -> tuple[RecordSource, RecordSource]:
    """The training and the validation source of a TFDS data set, which is downloaded or generated first.

    Raises:
        KsegError: it cannot be prepared, has no training split, or its image and mask cannot be told.
    """
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except ValueError as error:
        raise KsegError(f"{name}: {error}") from error
    try:
        builder.download_and_prepare(file_format=tfds.core.FileFormat.TFRECORD)
    except OSError as error:
        raise KsegError(f"The TFDS data set {name} could not be prepared in {builder.data_dir}: {error}") from error
    if builder.info.file_format != tfds.core.FileFormat.TFRECORD:
        raise KsegError(
            f"{builder.data_dir} holds {builder.info.file_format.value}; expected tfrecord. Give "
            "another --data-dir, and kseg prepares the data set there."
        )
    image, mask = find_features(builder.info.full_name, builder.info.features)
    splits = {split: info.num_examples for split, info in builder.info.splits.items()}
    if "train" not in splits:
        raise KsegError(f"{name} has the splits {', '.join(splits)}; expected one called train.")

    def source(split: str, start: int, stop: int) -> RecordSource:
        return RecordSource(builder, split, start, stop, image, mask)

    for split in _VALIDATION_NAMES:
        if split in splits:
            return source("train", 0, splits["train"]), source(split, 0, splits[split])
    kept = splits["train"] - max(round(splits["train"] * val_fraction), 1)
    return source("train", 0, kept), source("train", kept, splits["train"])


def find_features(name: str, features: "tfds.features.FeaturesDict") -> tuple[str, str]:
    """Which feature is the image and which the mask: by type, then by name.

    A `LabeledImage` is a mask; so is the one-channel image whose name says so, or the only one there is.

    Raises:
        KsegError: they cannot be told.
    """
    import tensorflow_datasets as tfds

    pictures = {key: kind for key, kind in features.items() if isinstance(kind, tfds.features.Image)}
    labelled = [key for key, kind in pictures.items() if isinstance(kind, tfds.features.LabeledImage)]
    grey = [key for key, kind in pictures.items() if kind.shape[-1] == 1]
    named = [key for key in grey if _MASK_NAME.search(key.lower())]
    masks = next((found for found in (labelled, named, grey) if len(found) == 1), [])
    others = [key for key in pictures if key not in masks and not _MASK_NAME.search(key.lower())]
    images = [key for key in others if key not in grey] or others
    if len(masks) != 1 or len(images) != 1:
        raise KsegError(
            f"{name} has the features {', '.join(f'{key} {kind!r}' for key, kind in features.items())}. "
            "Expected one image and one mask of a single channel, with 'mask' or 'seg' in its name."
        )
    return images[0], masks[0]
