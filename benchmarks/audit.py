"""Time of an audit over the time to decode every file once: python benchmarks/audit.py path/to/folder

Both run in turns, each with the same number of new processes: the whole audit with its pictures, and only decoding each
image and mask with Pillow. Prints the medians and their ratio.
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
from kseg.audit.entries import find_entries

_CHUNK = 32


def decode(path: Path) -> int:
    """Decode a file; return the number of bytes of its pixels."""
    with Image.open(path) as file:
        return np.asarray(file).nbytes


def decode_all(folder: Path, workers: int) -> float:
    """Decode every image and mask; return the seconds that it took."""
    start = time.perf_counter()
    files = [path for entry in find_entries(folder)[0] for path in (entry.image, entry.mask) if path]
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(decode, files, chunksize=_CHUNK))
    return time.perf_counter() - start


def main() -> None:
    """Run both in turns and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    pairs = len(find_entries(arguments.folder)[0])
    decoding, auditing = [], []
    for _ in range(arguments.rounds):
        decoding.append(decode_all(arguments.folder, arguments.workers))
        auditing.append(audit(f"{arguments.folder}/", workers=arguments.workers).seconds)
    ratios = [ours / theirs for ours, theirs in zip(auditing, decoding, strict=True)]
    for name, times in (("decoding alone", decoding), ("audit", auditing)):
        seconds = statistics.median(times)
        print(f"{name + ':':15} {seconds:.2f} s, {pairs / seconds:.0f} pairs a second")
    print(f"audit / decoding: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
