"""A data set saved by Hugging Face's `datasets`, to disk or as parquet, as a source. Nothing is downloaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kseg.data.files.formats import EXTENSIONS, EmbeddedFile
from kseg.data.files.label_masks import LabelFiles
from kseg.data.files.pair import MaskExif
from kseg.data.sources.base import MASK_NAME, summarise
from kseg.data.sources.file_source import FileSource, set_reading_rules, split_by_seed
from kseg.data.sources.splits import SplitSlice, find_slices
from kseg.errors import KsegError

if TYPE_CHECKING:
    import datasets

_SAVED = ("state.json", "dataset_dict.json")
"""Files that `save_to_disk` writes for a data set, and for a data set with splits."""

_NO_LABELS = {"semantic", "instance", "instances", "panoptic"}
"""Columns of these names hold the same objects in two ways."""

Row = tuple[str, int]
"""The split of an example, and its row in the split."""


@dataclass(frozen=True, kw_only=True)
class HuggingFaceSource(FileSource):
    """Rows with an image and a mask, or one for each label, all bytes of files; its `pairs` are rows."""

    pairs: Sequence[Row]
    origin: Path
    """The folder or the file of the data set."""
    tables: Mapping[str, "datasets.Dataset"]
    """The table of each split."""
    image: str
    """The column of images."""
    masks: Sequence[str]
    """The column of masks, or of the masks of each label."""

    def files(self, index: int, *content: bytes) -> tuple[EmbeddedFile, EmbeddedFile | LabelFiles]:
        """See `PairReader`; a label whose column holds nothing is not in the image."""
        split, number = self.pairs[index]
        row = self.tables[split][int(number)]
        image, *masks = (self._file(index, column, row[column]) for column in (self.image, *self.masks))
        present = tuple(mask if row[column] else None for mask, column in zip(masks, self.masks, strict=True))
        if self.labels and any(present):
            return image, LabelFiles(self.labels, present)
        return image, masks[0]  # where no label has a mask, the first says so when it is read

    def summary(self) -> str:
        """See `kseg.data.Source`; the digest is of rows, file names and sizes."""
        return summarise(len(self), (*self.pairs, *((path.name, path.stat().st_size) for path in self.data_files())))

    def data_files(self) -> list[Path]:
        """See `kseg.data.Source`."""
        return [Path(file["filename"]) for table in self.tables.values() for file in table.cache_files]

    def _file(self, index: int, column: str, cell: dict[str, Any] | None) -> EmbeddedFile:
        split, number = self.pairs[index]
        name = f"{self.origin}, {split}, row {number}, {column}"

        def read() -> bytes:
            if cell is None or cell["bytes"] is None:
                content = f"the path {cell['path']} only" if cell else "nothing"
                is_of_label = cell is None and self.labels and column != self.image
                remedy = " An image without any label needs an empty mask of one of them." if is_of_label else ""
                raise KsegError(
                    f"{name} holds {content}; expected the bytes of an image file. Save the data set again.{remedy}"
                )
            return cell["bytes"]

        return EmbeddedFile(name, read)


def is_huggingface(path: Path) -> bool:
    """Return whether Hugging Face's `datasets` saved this: a folder by `save_to_disk`, or parquet.

    A folder with both parquet and image files counts as a folder of images.
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
    mask_exif: MaskExif,
    train_split: str | None,
    val_split: str | None,
) -> tuple[HuggingFaceSource, HuggingFaceSource]:
    """Return the training and the validation source of what `datasets` saved.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: `datasets` is not installed, or cannot read it; there is no such split; the columns are unclear, as
            from `find_columns`; as from `set_reading_rules`.
    """
    tables = _tables(path, data_dir)
    image, masks = find_columns(str(path), next(iter(tables.values())).features)
    sizes = {split: len(table) for split, table in tables.items()}
    training, validation = find_slices(
        str(path), sizes, train_split, val_split, lambda text: _instructions(sizes, text)
    )
    tables = {split: _undecoded(table, (image, *masks)) for split, table in tables.items()}

    def source(slices: Sequence[SplitSlice]) -> HuggingFaceSource:
        return HuggingFaceSource(
            name=f"{path} {'+'.join(part.split for part in slices)}",
            pairs=[(part.split, row) for part in slices for row in range(part.start, part.stop)],
            layout=f"Hugging Face, columns {image} and {', '.join(masks)}",
            origin=path,
            tables=tables,
            image=image,
            masks=masks,
            labels=label_names(masks) if len(masks) > 1 else (),
        )

    whole = source(training)
    both = (whole, source(validation)) if validation else split_by_seed(whole, val_fraction, seed)
    return set_reading_rules(str(path), *both, take=take, bit_depth=bit_depth, colours=colours, mask_exif=mask_exif)


def find_columns(name: str, features: "datasets.Features") -> tuple[str, list[str]]:
    """Return the column of images, and that of masks, or those of a mask for each label; by type, then by name.

    Raises:
        KsegError: there is not one column of images, or no mask, or several whose names are not those of labels.
    """
    import datasets

    pictures = [key for key, kind in features.items() if isinstance(kind, datasets.Image)]
    masks = [key for key in pictures if MASK_NAME.search(key.lower())]
    images = [key for key in pictures if key not in masks]
    if len(images) != 1 or not masks or (len(masks) > 1 and not label_names(masks)):
        raise KsegError(
            f"{name} has the columns {', '.join(f'{key} {kind!r}' for key, kind in features.items())}. Expected one of "
            "type Image for images and one for masks, with 'mask', 'label', 'annot' or 'seg' in its name; or one for "
            "the masks of each label, such as mask_cat and mask_dog."
        )
    return images[0], masks


def label_names(columns: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of columns such as `mask_cat`; none if the names share no word for a mask, or two labels agree.

    >>> label_names(["mask_cat", "mask_dog"]), label_names(["cat_mask", "dog_mask"]), label_names(["mask", "labels"])
    (('cat', 'dog'), ('cat', 'dog'), ())
    """
    words = [column.split("_") for column in columns]
    for place, kept in ((0, slice(1, None)), (-1, slice(None, -1))):
        names = tuple("_".join(word[kept]) for word in words)
        shared = {word[place] for word in words}
        if len(shared) == 1 and MASK_NAME.search(shared.pop().lower()) and all(names) and len(set(names)) == len(names):
            return () if _NO_LABELS & set(names) else names
    return ()


def _tables(path: Path, data_dir: str | Path | None) -> dict[str, "datasets.Dataset"]:
    """Return the table of each split; a table without a split is called train."""
    try:
        import datasets
    except ImportError as error:
        raise KsegError(f"{path} is read by the package datasets ({error}). Install kseg[huggingface].") from error

    try:
        if any((path / name).is_file() for name in _SAVED):
            loaded = datasets.load_from_disk(str(path))
            _refuse_outside(path, loaded)
        else:  # load_dataset would report its use to Hugging Face over the network
            loaded = datasets.DatasetDict.from_parquet(_parquet_files(path), cache_dir=data_dir)
    except KsegError:
        raise
    except Exception as error:  # on damaged files the parsers raise errors of many types
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise KsegError(f"{path} cannot be read as a data set of Hugging Face: {reason}. Save it again.") from error
    return dict(loaded) if isinstance(loaded, datasets.DatasetDict) else {"train": loaded}


def _parquet_files(path: Path) -> dict[str, list[str]]:
    """Return the files of each split; Hugging Face's rules find it in the names of files and folders."""
    from datasets.data_files import DataFilesDict, get_data_patterns

    if path.is_file():
        return {"train": [str(path)]}
    files = DataFilesDict.from_patterns(get_data_patterns(str(path)), str(path), allowed_extensions=[".parquet"])
    return {str(split): list(names) for split, names in files.items()}


def _refuse_outside(folder: Path, loaded: "datasets.Dataset | datasets.DatasetDict") -> None:
    """Refuse a data set that names files outside of its folder."""
    tables = loaded.values() if isinstance(loaded, dict) else [loaded]
    for path in (Path(file["filename"]) for table in tables for file in table.cache_files):
        if not path.resolve().is_relative_to(folder.resolve()):
            raise KsegError(
                f"{folder} names the file {path}, which is outside of it; expected files in it. Save it again."
            )


def _instructions(sizes: dict[str, int], text: str) -> Sequence[Any]:
    import datasets

    return datasets.ReadInstruction.from_spec(text).to_absolute(sizes)


def _undecoded(table: "datasets.Dataset", columns: Sequence[str]) -> "datasets.Dataset":
    """Return these columns alone, as the bytes of files."""
    import datasets

    table = table.with_format(None)
    for column in columns:
        table = table.cast_column(column, datasets.Image(decode=False))
    return table.select_columns(list(columns))
