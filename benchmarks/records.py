"""How fast images and masks are read from what `kseg convert` writes, over how fast they are read from the folder.

    python benchmarks/records.py --dataset path/to/nuclei

All are read in the order of an epoch and decoded, in one process, in turns; a ratio is one turn over the turn of the
folder beside it, its median is printed with the quartiles. The files lie in the disk's cache, so that this says nothing
of a slow disk or a network, where a few large files are read sooner than many small ones.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import statistics
import tempfile
import time
from pathlib import Path

import tyro

from kseg.data import Source, open_sources
from kseg.data.bridge import in_python
from kseg.data.conversion.convert import convert


def main(dataset: Path, turns: int = 9) -> None:
    """Print the rates and their ratios.

    Args:
        dataset: A folder with images/ and masks/, or train/ and val/ with those.
        turns: How often each is measured, after a turn to warm up.
    """
    kseg.data.quiet_tensorflow()
    with tempfile.TemporaryDirectory() as folder:
        sources = {"folder": open_sources(str(dataset))[0]}
        for form in ("array_record", "tfrecord"):
            convert(str(dataset), Path(folder, form), shard_format=form)
            sources[form] = open_sources(str(Path(folder, form)))[0]
        rates: dict[str, list[float]] = {name: [] for name in sources}
        for turn in range(turns + 1):
            for name, source in sources.items():
                rates[name].append(_rate(source, turn))
    for name, measured in rates.items():
        ratios = [one / other for one, other in zip(measured[1:], rates["folder"][1:], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:12} {statistics.median(measured[1:]):5.0f} images a second, {median:.2f} ({low:.2f} to {high:.2f})"
        )


def _rate(source: Source, epoch: int) -> float:
    import tensorflow as tf

    examples = source.examples(tf.constant([0, epoch], tf.int64))
    decoded = examples.map(
        lambda *example: in_python(source.read, [tf.uint8, tf.uint16], *example), num_parallel_calls=tf.data.AUTOTUNE
    )
    start = time.perf_counter()
    count = sum(1 for _ in decoded.prefetch(tf.data.AUTOTUNE))
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    tyro.cli(main)
