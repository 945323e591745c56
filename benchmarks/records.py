"""Speed of reading images and masks from the files of `kseg convert` over the speed of reading their folder.

    python benchmarks/records.py --dataset path/to/nuclei

One process reads and decodes all of them in the order of an epoch, in turns. A ratio compares a turn with the folder's
turn beside it; the median is printed with the quartiles. The files are in the disk's cache. On a slow disk or a network
a few large files are faster than many small ones; this benchmark does not show it.
"""

import kseg  # isort: skip  (before keras: makes JAX the default)

import statistics
import tempfile
import time
from pathlib import Path

import tyro

from kseg.data import Source, open_sources
from kseg.data.conversion.convert import convert
from kseg.data.threads import map_in_threads


def main(dataset: Path, turns: int = 9) -> None:
    """Print the rates and their ratios.

    Args:
        dataset: A folder with images/ and masks/, or train/ and val/ with those.
        turns: Measurements of each, after one turn to warm up.
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
        ratios = [ours / theirs for ours, theirs in zip(measured[1:], rates["folder"][1:], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        print(
            f"{name:12} {statistics.median(measured[1:]):5.0f} images a second, {median:.2f} ({low:.2f} to {high:.2f})"
        )


def _rate(source: Source, epoch: int) -> float:
    """Read one epoch; return the examples per second."""
    start = time.perf_counter()
    count = sum(1 for _ in map_in_threads(source.read, source.examples((0, epoch))))
    return count / (time.perf_counter() - start)


if __name__ == "__main__":
    tyro.cli(main)
