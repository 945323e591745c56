"""Write the shards of a conversion."""

from collections.abc import Iterator
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from kseg.data.conversion.plan import TEMPORARY_FILE, Plan, Shard, name_and_version
from kseg.data.sources.base import Source
from kseg.data.threads import map_in_threads
from kseg.progress import progress
from kseg.storage.atomic import explain_write_errors, write_atomically

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

T = TypeVar("T")

_COPIED = (b"\xff\xd8\xff", b"\x89PNG")  # JPEG and PNG, which every reader of TFDS data sets decodes
_SAMPLES = 32


def _template(destination: Path, plan: Plan) -> "tfds.core.ShardedFileTemplate":
    """Return the pattern of the shards' file names."""
    import tensorflow_datasets as tfds

    name, _ = name_and_version(destination)
    return tfds.core.ShardedFileTemplate(destination, dataset_name=name, filetype_suffix=plan.format.file_suffix)


def plan_shards(destination: Path, plan: Plan, split: str, count: int) -> list[Shard]:
    """Return the shards of a split of `count` examples, written or not yet written."""
    starts = range(0, count, plan.examples_a_shard)
    paths = _template(destination, plan).replace(split=split).sharded_filepaths(len(starts))
    return [
        Shard(Path(path), start, min(start + plan.examples_a_shard, count))
        for path, start in zip(paths, starts, strict=True)
    ]


def write_shards(sources: dict[str, Source], shards: dict[str, list[Shard]], plan: Plan) -> None:
    """Write the shards of each split from the first missing one on, behind a progress bar."""
    import tensorflow as tf
    from tensorflow_datasets.core.file_adapters import ADAPTER_FOR_FORMAT

    write = ADAPTER_FOR_FORMAT[plan.format].write_examples
    done = {split: list(takewhile(_is_written, planned)) for split, planned in shards.items()}
    first = {split: written[-1].stop if written else 0 for split, written in done.items()}
    total = sum(map(len, sources.values()))
    with progress(description="Converting", total=total, initial=sum(first.values()), unit="images") as bar:
        for split, source in sources.items():
            examples = pack_examples(source, first[split], plan)
            for shard in shards[split][len(done[split]) :]:
                keyed = _show_progress(((None, example) for example in islice(examples, len(shard))), bar)
                destination = shard.path.parent
                with explain_write_errors(destination, RuntimeError, tf.errors.OpError):  # ArrayRecord's, TensorFlow's
                    write_atomically(shard.path, partial(write, iterator=keyed), destination / TEMPORARY_FILE)


def _is_written(shard: Shard) -> bool:
    return shard.path.is_file()


def mean_example_size(source: Source, plan: Plan) -> float:
    """Return the mean size of the first 32 examples, in bytes."""
    sizes = [len(example) for example in islice(pack_examples(source, 0, plan), _SAMPLES)]
    return sum(sizes) / len(sizes)


def pack_examples(source: Source, first: int, plan: Plan) -> Iterator[bytes]:
    """Yield the serialised examples from index `first` on, in the source's order.

    Raises:
        KsegError: an example cannot be read.
    """
    import tensorflow as tf

    feature = plan.features["image"]

    def pack(index: int, *content: bytes) -> bytes:
        (image, mask), file = source.read(index, *content), source.encoded_image(index, *content)
        file = file if _decodes_to(file, image, feature) else tf.io.encode_png(image).numpy()
        example = tf.train.Example()
        example.features.feature["image"].bytes_list.value.append(file)
        masks = {f"masks/{label}": mask[..., channel, None] for channel, label in enumerate(plan.labels)}
        for name, values in (masks or {"mask": mask}).items():
            png = tf.io.encode_png(values.astype(plan.mask_dtype)).numpy()
            example.features.feature[name].bytes_list.value.append(png)
        return example.SerializeToString(deterministic=True)

    return map_in_threads(pack, source.examples(start=first))


def _decodes_to(file: bytes, image: np.ndarray, feature: "tfds.features.Image") -> bool:
    """Return whether a file is smaller than the pixels of an image, and TFDS decodes it to these pixels."""
    import tensorflow as tf

    if not file.startswith(_COPIED) or len(file) >= image.nbytes:
        return False
    try:
        return np.array_equal(_decode_picture(tf.constant(file), feature), image)
    except (tf.errors.OpError, ValueError):
        return False


def _decode_picture(encoded: "tf.Tensor", feature: "tfds.features.Image") -> "tf.Tensor":
    """Decode an image as TFDS does, but a JPEG to the values that Pillow gives; TensorFlow's differ a little."""
    import tensorflow as tf

    def jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, feature.shape[-1] or 0, dct_method="INTEGER_ACCURATE")

    image = tf.cond(tf.io.is_jpeg(encoded), jpeg, lambda: feature.decode_example(encoded))
    return tf.ensure_shape(image, feature.shape)


def _show_progress(items: Iterator[T], bar: Any) -> Iterator[T]:
    for item in items:
        yield item
        bar.update()


def write_metadata(destination: Path, plan: Plan, shards: dict[str, list[Shard]]) -> None:
    """Write the files that make TFDS recognise the folder as a data set."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    template = _template(destination, plan)
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(map(len, written)),
            num_bytes=sum(shard.path.stat().st_size for shard in written),
            filename_template=template.replace(split=split),
        )
        for split, written in shards.items()
    ]
    with explain_write_errors(destination, RuntimeError, tf.errors.OpError):
        tfds.folder_dataset.write_metadata(
            data_dir=destination,
            features=plan.features,
            split_infos=splits,
            version=name_and_version(destination)[1],
            filename_template=template,
            check_data=False,  # the check reads TFRecord only
        )
