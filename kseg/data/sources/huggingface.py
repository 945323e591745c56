"""A data set that Hugging Face's `datasets` saved, to disk or as parquet, as a source. Nothing is ever downloaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kseg.data.files.formats import EXTENSIONS, EmbeddedFile
from kseg.data.sources.base import MASK_NAME, contents
from kseg.data.sources.file_source import FileSource, hold_out, read_alike
from kseg.data.sources.splits import Part, find_parts
from kseg.errors import KsegError

if TYPE_CHECKING:
    import datasets
    import tensorflow_datasets as tfds

_SAVED = ("state.json", "dataset_dict.json")
"""What `save_to_disk` leaves in the folder of a data set, and of one in splits."""

Row = tuple[str, int]
"""The split of an example, and its row there."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceSource(FileSource):
    """Rows with an image and a mask, each the bytes of a file; what it calls pairs are rows."""

    pairs: Sequence[Row]
    origin: Path
    """Where they were saved."""
    tables: Mapping[str, "datasets.Dataset"]
    """The splits."""
    columns: tuple[str, str]
    """Of images, and of masks."""

    def files(self, index: int) -> tuple[EmbeddedFile, EmbeddedFile]:
        image, mask = self.columns
        return self._file(index, image), self._file(index, mask)

    def contents(self) -> str:
        files = [Path(file["filename"]) for table in self.tables.values() for file in table.cache_files]
        return contents(len(self), (*self.pairs, *((path.name, path.stat().st_size) for path in files)))

    def _file(self, index: int, column: str) -> EmbeddedFile:
        split, row = self.pairs[index]
        name = f"{self.origin}, {split}, row {row}, {column}"

        def read() -> bytes:
            held = self.tables[split][int(row)][column]
            if held is None or held["bytes"] is None:
                there = f"the path {held['path']} only" if held else "nothing"
                raise KsegError(f"{name} holds {there}; expected the bytes of an image file. Save the data set anew.")
            return held["bytes"]

        return EmbeddedFile(name, read)


def is_huggingface(path: Path) -> bool:
    """Whether that was saved by Hugging Face's `datasets`: a folder by `save_to_disk`, or parquet.

    A folder with parquet and image files is one of files.
    """
    if not path.is_dir():
        return path.suffix == ".parquet" and path.is_file()
    if any((path / name).is_file() for name in _SAVED):
        return True
    kinds = {file.suffix.lower() for pattern in ("*", "*/*") for file in path.glob(pattern)}
    return ".parquet" in kinds and not kinds & EXTENSIONS


def open_huggingface(
    path: Path,
    *,
    data_dir: str | Path | None,
    val_fraction: float,
    seed: int,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
    train_split: str | None,
    val_split: str | None,
) -> tuple[HuggingFaceSource, HuggingFaceSource]:
    """The training and the validation source of what `datasets` saved.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: `datasets` is not installed, or cannot read it; it has no such split, or its image and mask cannot be
            told; `colours` is `auto`, and masks are in colours.
    """
    tables = _tables(path, data_dir)
    columns = find_columns(str(path), next(iter(tables.values())).features)
    training, validation = find_parts(str(path), _splits(tables), train_split, val_split)
    tables = {split: _undecoded(table, columns) for split, table in tables.items()}

    def source(parts: Sequence[Part]) -> HuggingFaceSource:
        return HuggingFaceSource(
            name=f"{path} {'+'.join(part.split for part in parts)}",
            pairs=[(part.split, row) for part in parts for row in range(part.start, part.stop)],
            layout=f"Hugging Face, columns {columns[0]} and {columns[1]}",
            origin=path,
            tables=tables,
            columns=columns,
        )

    ours = source(training)
    pair = (ours, source(validation)) if validation else hold_out(ours, val_fraction, seed)
    return read_alike(str(path), *pair, take=take, bit_depth=bit_depth, colours=colours)


def find_columns(name: str, features: "datasets.Features") -> tuple[str, str]:
    """Which column is the image and which the mask: by type, then by name.

    Raises:
        KsegError: they cannot be told.
    """
    import datasets

    pictures = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    masks = [key for key in pictures if MASK_NAME.search(key.lower())]
    images = [key for key in pictures if key not in masks]
    if len(masks) != 1 or len(images) != 1:
        raise KsegError(
            f"{name} has the columns {', '.join(f'{key} {kind!r}' for key, kind in features.items())}. Expected one of "
            "type Image for images and one for masks, with 'mask', 'label', 'annot' or 'seg' in its name."
        )
    return images[0], masks[0]


def _tables(path: Path, data_dir: str | Path | None) -> dict[str, "datasets.Dataset"]:
    """The splits of a data set; what comes without any is called train."""
    try:
        import datasets
    except ImportError as error:
        raise KsegError(f"{path} is read by the package datasets ({error}). Install kseg[huggingface].") from error

    try:
        if any((path / name).is_file() for name in _SAVED):
            found = datasets.load_from_disk(str(path))
            _refuse_outside(path, found)
        else:  # load_dataset would be counted by Hugging Face, over the network
            found = datasets.DatasetDict.from_parquet(_parquet_files(path), cache_dir=data_dir)
    except KsegError:
        raise
    except Exception as error:  # on damaged files parsers raise whatever they come across
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise KsegError(f"{path} cannot be read as a data set of Hugging Face: {reason}. Save it anew.") from error
    return dict(found) if isinstance(found, datasets.DatasetDict) else {"train": found}


def _parquet_files(path: Path) -> dict[str, list[str]]:
    """By split, which Hugging Face's own rules read from the names of files and folders."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    if path.is_file():
        return {"train": [str(path)]}
    found = DataFilesDict.from_patterns(get_data_patterns(str(path)), str(path), allowed_extensions=[".parquet"])
    return {str(split): list(files) for split, files in found.items()}


def _refuse_outside(folder: Path, found: "datasets.Dataset | datasets.DatasetDict") -> None:
    """See that the files that a data set names lie in its folder."""
    tables = found.values() if isinstance(found, dict) else [found]
    for path in (Path(file["filename"]) for table in tables for file in table.cache_files):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise KsegError(
                f"{folder} names the file {path}, which leads out of it; expected files in it. Save it anew."
            )


def _splits(tables: Mapping[str, "datasets.Dataset"]) -> dict[str, "tfds.core.SplitInfo"]:
    """Their sizes, as TFDS says them."""
    import tensorflow_datasets as tfds

    return {
        split: tfds.core.SplitInfo(name=split, shard_lengths=[len(table)], num_bytes=0)
        for split, table in tables.items()
    }


def _undecoded(table: "datasets.Dataset", columns: tuple[str, str]) -> "datasets.Dataset":
    import datasets

    table = table.with_format(None)
    for column in columns:
        table = table.cast_column(column, datasets.Image(decode=False))
    return table.select_columns(list(columns))
