"""What an audit costs beside decoding every file once: python benchmarks/audit.py path/to/folder

Both in one run, taking turns, each with the same number of fresh processes: the whole audit, pictures included, and
nothing but Pillow's decoding of each image and mask. Prints medians, and their ratio.
"""

import argparse
import multiprocessing
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from kseg.audit import audit
from kseg.audit.entries import find_pairs

_CHUNK = 32


def decode(path: Path) -> int:
    """How many bytes the pixels of a file have."""
    with Image.open(path) as file:
        return np.asarray(file).nbytes


def decode_all(folder: Path, workers: int) -> float:
    """Seconds to decode every image and mask."""
    begin = time.perf_counter()
    files = [path for pair in find_pairs(folder) for path in (pair.image, pair.mask)]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decode, files, chunksize=_CHUNK))
    return time.perf_counter() - begin


def main() -> None:
    """Take turns, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    pairs = len(find_pairs(given.folder))
    decoding, auditing = [], []
    for _ in range(given.rounds):
        decoding.append(decode_all(given.folder, given.workers))
        auditing.append(audit(f"{given.folder}/", workers=given.workers).seconds)
    ratios = [one / other for one, other in zip(auditing, decoding, strict=True)]
    for name, taken in (("decoding alone", decoding), ("audit", auditing)):
        seconds = statistics.median(taken)
        print(f"{name + ':':15} {seconds:.2f} s, {pairs / seconds:.0f} pairs a second")
    print(f"audit / decoding: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
