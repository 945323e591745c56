"""Lists of images and masks: `train.txt`, VOC's `ImageSets/Segmentation/train.txt`, or a CSV."""

import csv
import functools
import io
import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TextIO

from kseg.data.layouts.pairing import (
    IMAGE_FOLDERS,
    MASK_FOLDERS,
    VALIDATION_NAMES,
    FilePair,
    Layout,
    SplitPairs,
    find_validation,
    refuse_repeats,
    refuse_two,
    stem,
)
from kseg.data.layouts.paths import find_file, folders_called, image_in_folder, name_alone
from kseg.data.layouts.text_files import read_text
from kseg.errors import KsegError

_PLACES = {"image": IMAGE_FOLDERS, "mask": MASK_FOLDERS}
"""The columns of a CSV, and the folders where files are that it names without a folder."""

_LISTS = ("train.txt", "ImageSets/Segmentation/train.txt")
_MAX_SAID = 200  # characters of column names
_MAX_LINE = 8192  # characters; enough for two paths

FolderPairs = Callable[[Path], Sequence[FilePair]]
"""Returns the images of a folder that have a mask, each with its mask."""


def find_lists(folder: Path, folder_pairs: FolderPairs) -> dict[Path, Callable[[Path], Layout]]:
    """Return the lists in a folder, and a function to read each.

    Args:
        folder: the folder of the data set.
        folder_pairs: finds the mask for a line that names only an image.
    """
    texts = {folder / name: _text_reader(folder / name, folder_pairs) for name in _LISTS if (folder / name).is_file()}
    return texts | {path: _csv_reader(path) for path in _tables(folder)}


def _tables(folder: Path) -> list[Path]:
    """Return the CSV files in a folder that have the columns image and mask."""
    return [path for path in sorted(folder.glob("*.csv")) if {"image", "mask"} <= {*_columns(path)}]


def describe_other_tables(folder: Path) -> str:
    """Return the columns of the first CSV in a folder, as a sentence; empty if there is none that can be parsed."""
    for path in sorted(folder.glob("*.csv")):
        if columns := _columns(path):
            return f" {path} has the columns {', '.join(columns)[:_MAX_SAID]}, not image and mask."
    return ""


def _text_reader(path: Path, folder_pairs: FolderPairs) -> Callable[[Path], Layout]:
    """Return the reader of `train.txt` and the `val.txt` beside it; a line is a stem, an image, or image and mask."""

    def read(folder: Path) -> Layout:
        val = find_validation(path.parent, ".txt")
        training = _read_split(folder, path, folder_pairs)
        validation = _read_split(folder, val, folder_pairs) if val else None
        refuse_repeats(training, validation)
        return Layout(f"listed in {path.relative_to(folder)}", training, validation)

    return read


def _read_split(folder: Path, path: Path, folder_pairs: FolderPairs) -> SplitPairs[Path]:
    @functools.cache
    def pair_of() -> Mapping[str | Path, FilePair]:
        """Return the pairs of the folders, by the stem and by the path of their image."""
        pairs = folder_pairs(folder)
        by_stem: dict[str | Path, FilePair] = {_listed_stem(pair[0], folder): pair for pair in pairs}
        return by_stem | {pair[0].resolve(): pair for pair in pairs}

    lines = enumerate(read_text(path).splitlines(), start=1)
    pairs = [_read_line(folder, line.strip(), f"{path}, line {n}", pair_of) for n, line in lines if line.strip()]
    return _refuse_empty(SplitPairs(str(path), pairs))


def _listed_stem(image: Path, folder: Path) -> str:
    """Return the stem by which a list names an image: its path in `images/`, without extension."""
    return stem(image, folder / image.relative_to(folder).parts[0])


def _read_line(folder: Path, line: str, where: str, pair_of: Callable[[], Mapping[str | Path, FilePair]]) -> FilePair:
    """Return the pair that a line names. Paths may have blanks, so the files in the folder decide where a path ends."""
    splits = _split_line(line)
    two_files = [names for names in splits if all(find_file(folder, name) for name in names)]
    is_image = find_file(folder, line) is not None
    if len(two_files) + is_image > 1:
        raise KsegError(f"{where}: {line!r} can be read in two ways; expected a tab between image and mask.")
    if not two_files:
        name = unicodedata.normalize("NFC", line.replace("\\", "/"))
        pair = pair_of().get(image_in_folder(folder, line, where).resolve() if is_image else name)
        if pair:
            return pair
    if len(splits) == 1 or two_files:
        image, mask = (two_files or splits)[0]
        return image_in_folder(folder, image, where), image_in_folder(folder, mask, where)
    raise KsegError(
        f"{where}: {line!r} is not the stem of an image with a mask in {folder}; expected such a stem, the path of "
        "such an image, or the paths of an image and its mask with a tab between them."
    )


def _split_line(line: str) -> list[tuple[str, str]]:
    """Return the texts before and after the tab, else each semicolon, else each gap between words."""
    separator = next((mark for mark in ("\t", ";") if mark in line), " ")
    gaps = re.finditer(f"{separator}+", line[:_MAX_LINE])
    return [(line[: gap.start()].strip(), line[gap.end() :].strip()) for gap in gaps]


def _csv_reader(path: Path) -> Callable[[Path], Layout]:
    """Return the reader of a CSV with the columns image, mask and, optionally, split."""

    def read(folder: Path) -> Layout:
        splits: dict[str, list[FilePair]] = {"train": [], "val": [], "test": []}
        for where, row in _rows(path):
            split = (row.get("split") or ("" if "split" in row else "train")).strip().lower()
            name = "val" if split in VALIDATION_NAMES else split
            if name not in splits:
                raise KsegError(f"{where}: split is {split!r}; expected train, val or test.")
            image, mask = (_file_of(folder, row[key], places, where) for key, places in _PLACES.items())
            splits[name].append((image, mask))
        training = _refuse_empty(SplitPairs(f"{path} (train)", splits["train"]))
        validation = SplitPairs(f"{path} (val)", splits["val"]) if splits["val"] else None
        refuse_repeats(training, validation)
        unused = f"; not read: {len(splits['test'])} of split test" if splits["test"] else ""
        return Layout(f"listed in {path.relative_to(folder)}{unused}", training, validation)

    return read


def _file_of(folder: Path, cell: str | None, places: Collection[str], where: str) -> Path:
    """Return the file that a cell names: a path in the folder, or a file name alone in one of the places in it.

    Of a path on another machine, or a URL, only the file name counts.
    """
    name = (cell or "").strip()
    if find_file(folder, name):
        return image_in_folder(folder, name, where)
    found = [file for place in folders_called(folder, places) if (file := find_file(place, name_alone(name)))]
    refuse_two(found)
    return image_in_folder(folder, str(found[0].relative_to(folder)) if found else name, where)


def _columns(path: Path) -> list[str]:
    """Return the column names of a CSV; none if the file cannot be opened or parsed: then it is no list."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            return [name.strip().lower() for name in next(csv.reader(file, delimiter=_delimiter(file)), [])]
    except (OSError, csv.Error):
        return []


def table_columns(folder: Path) -> dict[str, dict[Path, str]]:
    """Return the further columns of the CSV that lists a folder's images: the value of each image, by its real path.

    Raises:
        KsegError: the CSV cannot be read, or names an image that is not there.
    """
    columns: dict[str, dict[Path, str]] = {}
    for where, row in (row for path in _tables(folder)[:1] for row in _rows(path)):
        image = _file_of(folder, row["image"], IMAGE_FOLDERS, where).resolve()
        for name in filter(None, row.keys() - {"image", "mask"}):  # None: more cells than columns
            columns.setdefault(name, {})[image] = (row[name] or "").strip()
    return dict(sorted(columns.items()))


def _delimiter(file: TextIO) -> str:
    """Return what separates the columns of a CSV: spreadsheets write semicolons where the comma is a decimal mark."""
    names = file.readline(_MAX_LINE)
    file.seek(0)
    return ";" if ";" in names and "," not in names else ","


def _rows(path: Path) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Yield each row of a CSV, with its place for messages."""
    file = io.StringIO(read_text(path), newline="")
    reader = csv.DictReader(file, _columns(path), delimiter=_delimiter(file))
    next(reader)  # the column names
    try:
        for row in reader:
            yield f"{path}, line {reader.line_num}", row
    except csv.Error as error:
        raise KsegError(f"{path}, line {reader.line_num} is not CSV: {error}. Repair the line.") from error


def _refuse_empty(split: SplitPairs[Path]) -> SplitPairs[Path]:
    if not split.pairs:
        raise KsegError(f"{split.name} lists no images; expected at least one, with its mask.")
    return split
