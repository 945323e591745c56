"""Write the shards of a conversion."""

from collections.abc import Iterator
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kseg.data.bridge import call_python, explain_read_errors
from kseg.data.conversion.plan import PART, Plan, Shard, name_and_version
from kseg.data.sources.base import Source
from kseg.storage.atomic import explain_write_errors, write_atomically

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds
    from tqdm import tqdm

_KEPT = (b"\xff\xd8\xff", b"\x89PNG")  # JPEG and PNG: what everything that reads TFDS can decode


def _template(destination: Path, plan: Plan) -> "tfds.core.ShardedFileTemplate":
    import tensorflow_datasets as tfds

    name, _ = name_and_version(destination)
    return tfds.core.ShardedFileTemplate(destination, dataset_name=name, filetype_suffix=plan.format.file_suffix)


def shards_of(destination: Path, plan: Plan, split: str, count: int) -> list[Shard]:
    """Return the shards of a split of `count` examples, written or not."""
    starts = range(0, count, plan.examples_a_shard)
    paths = _template(destination, plan).replace(split=split).sharded_filepaths(len(starts))
    return [
        Shard(Path(path), start, min(start + plan.examples_a_shard, count))
        for path, start in zip(paths, starts, strict=True)
    ]


def write_shards(sources: dict[str, Source], shards: dict[str, list[Shard]], plan: Plan) -> None:
    """Write those that are missing, and what comes after them."""
    import tensorflow as tf
    from tensorflow_datasets.core.file_adapters import ADAPTER_FOR_FORMAT
    from tqdm import tqdm

    write = ADAPTER_FOR_FORMAT[plan.format].write_examples
    done = {split: list(takewhile(lambda shard: shard.path.is_file(), those)) for split, those in shards.items()}
    first = {split: those[-1].stop if those else 0 for split, those in done.items()}
    total = sum(map(len, sources.values()))
    with tqdm(desc="Converting", total=total, initial=sum(first.values()), unit=" images", leave=False) as bar:
        for split, source in sources.items():
            records_left = packed_examples(source, first[split], plan)
            for shard in shards[split][len(done[split]) :]:
                records = ((None, record) for record in islice(records_left, shard.stop - shard.start))
                counted, destination = _counted(records, bar), shard.path.parent
                with explain_write_errors(destination, RuntimeError, tf.errors.OpError):  # ArrayRecord's, TensorFlow's
                    write_atomically(shard.path, lambda part, records=counted: write(part, records), destination / PART)


def packed_examples(source: Source, first: int, plan: Plan) -> Iterator[bytes]:
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
        .map(lambda *example: call_python(pack, tf.string, *example), num_parallel_calls=tf.data.AUTOTUNE)
    )
    with explain_read_errors(source.name):
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


def describe(destination: Path, plan: Plan, shards: dict[str, list[Shard]]) -> None:
    """Write what TFDS knows a data set by."""
    import tensorflow as tf
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
    with explain_write_errors(destination, RuntimeError, tf.errors.OpError):
        tfds.folder_dataset.write_metadata(
            data_dir=destination,
            features=plan.features,
            split_infos=splits,
            version=name_and_version(destination)[1],
            filename_template=template,
            check_data=False,  # that reads TFRecord only
        )
