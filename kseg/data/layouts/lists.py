"""Lists that say which mask is whose: `train.txt`, VOC's `ImageSets/Segmentation/train.txt`, a CSV."""

import csv
import functools
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from kseg.data.layouts.pairing import (
    VALIDATION_NAMES,
    Layout,
    Pair,
    Part,
    inside,
    is_file,
    read_text,
    refuse_repeats,
    validation_of,
)
from kseg.errors import KsegError

_LISTS = ("train.txt", "ImageSets/Segmentation/train.txt")
_LONGEST = 8192  # characters of two paths

FolderPairs = Callable[[Path], list[Pair]]
"""The images of a folder that have a mask."""


def find_lists(folder: Path, folder_pairs: FolderPairs) -> dict[Path, Callable[[Path], Layout]]:
    """The lists in a folder, and what reads each.

    Args:
        folder: the data set's.
        folder_pairs: what a list of stems takes its pairs from.
    """
    texts = {folder / name: _read_list(folder / name, folder_pairs) for name in _LISTS if (folder / name).is_file()}
    tables = {path: _read_csv(path) for path in sorted(folder.glob("*.csv")) if {"image", "mask"} <= {*_columns(path)}}
    return texts | tables


def _read_list(path: Path, folder_pairs: FolderPairs) -> Callable[[Path], Layout]:
    """What reads `train.txt`, and `val.txt` beside it: a stem, an image, or an image and a mask, a line."""

    def read(folder: Path) -> Layout:
        val = validation_of(path.parent, ".txt")
        training, validation = (list_ and _listed(folder, list_, folder_pairs) for list_ in (path, val))
        refuse_repeats(training, validation)
        return Layout(f"listed in {path.relative_to(folder)}", training, validation)

    return read


def _listed(folder: Path, path: Path, folder_pairs: FolderPairs) -> Part:
    @functools.cache
    def pair_of() -> dict[str | Path, Pair]:
        """The pairs of the folders, by the stem of their image and by its path."""
        pairs = folder_pairs(folder)
        return {_stem(pair[0], folder): pair for pair in pairs} | {pair[0].resolve(): pair for pair in pairs}

    lines = enumerate(read_text(path).splitlines(), start=1)
    pairs = [_pair(folder, line.strip(), f"{path}, line {number}", pair_of) for number, line in lines if line.strip()]
    return _not_empty(Part(str(path), pairs))


def _stem(image: Path, folder: Path) -> str:
    """What a list calls an image: its path in `images/`, without the extension."""
    return Path(*image.relative_to(folder).parts[1:]).with_suffix("").as_posix()


def _pair(folder: Path, entry: str, where: str, pair_of: Callable[[], dict[str | Path, Pair]]) -> Pair:
    """The one pair that a line stands for. There may be blanks in a path, so what there is decides where one ends."""
    halves = _halves(entry)
    two_files = [names for names in halves if all(is_file(folder / name) for name in names)]
    is_image = is_file(folder / entry)
    if len(two_files) + is_image > 1:
        raise KsegError(f"{where}: {entry!r} can be read in two ways; expected a tab between image and mask.")
    alone = None if two_files else pair_of().get(inside(folder, entry, where).resolve() if is_image else entry)
    if alone:
        return alone
    if len(halves) == 1 or two_files:
        image, mask = (two_files or halves)[0]
        return inside(folder, image, where), inside(folder, mask, where)
    raise KsegError(
        f"{where}: {entry!r} is not the stem of an image with a mask in {folder}; expected one, or the path of such "
        "an image, or those of an image and a mask, with a tab between them."
    )


def _halves(entry: str) -> list[tuple[str, str]]:
    """What lies before and behind the tab, or else each gap between words."""
    gaps = re.finditer(r"\t+" if "\t" in entry else " +", entry[:_LONGEST])
    return [(entry[: gap.start()].strip(), entry[gap.end() :].strip()) for gap in gaps]


def _read_csv(path: Path) -> Callable[[Path], Layout]:
    """What reads a CSV with the columns image, mask and, if it likes, split."""

    def read(folder: Path) -> Layout:
        parts: dict[str, list[Pair]] = {"train": [], "val": [], "test": []}
        for where, row in _rows(path):
            split = (row.get("split") or ("" if "split" in row else "train")).strip().lower()
            name = "val" if split in VALIDATION_NAMES else split
            if name not in parts:
                raise KsegError(f"{where}: split is {split!r}; expected train, val or test.")
            parts[name].append(tuple(inside(folder, row[kind] or "", where) for kind in ("image", "mask")))
        training = _not_empty(Part(f"{path} (train)", parts["train"]))
        validation = Part(f"{path} (val)", parts["val"]) if parts["val"] else None
        refuse_repeats(training, validation)
        unused = f" but for {len(parts['test'])} of the split test" if parts["test"] else ""
        return Layout(f"listed in {path.relative_to(folder)}{unused}", training, validation)

    return read


def _columns(path: Path) -> list[str]:
    """The columns of a CSV; none of what cannot be opened, or begins otherwise, and is no list."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return [name.strip().lower() for name in next(csv.reader(file), [])]
    except (OSError, csv.Error):
        return []


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), _columns(path))
    next(reader)  # the names of the columns
    try:
        for row in reader:
            yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise KsegError(f"{path}, line {reader.line_num} is not CSV: {error}.") from error


def _not_empty(part: Part) -> Part:
    if not part.pairs:
        raise KsegError(f"{part.name} lists no images; expected at least one, with its mask.")
    return part
