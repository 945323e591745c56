"""From the name or the path of a data set to its training and validation source."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kseg.data.files.pair import MaskExif
from kseg.data.sources.base import Source
from kseg.errors import KsegError


def open_sources(
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    take: int | None = None,
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    multilabel: bool = False,
    mask_exif: MaskExif = "own",
) -> tuple[Source, Source]:
    """Return the training and the validation source of a data set.

    Args:
        dataset: one of

            - a folder of images and masks,
            - a folder that TFDS prepared, or that Hugging Face's `datasets` saved (`save_to_disk`, or parquet),
            - a parquet file,
            - the Python file of a TFDS builder, which is run,
            - the built-in `shapes`, `shapes/rare` or `shapes/classes`, or the name of a TFDS data set. If there is a
              folder of the same name, the folder is meant.
        data_dir: where TFDS keeps its data sets; None: `~/tensorflow_datasets`. For parquet: where `datasets` keeps its
            cache. For the built-in data sets: where their files are drawn; None: `~/.cache/kseg`.
        train_split: training split or slice of a TFDS or Hugging Face data set, as TFDS writes them: `train[:10%]`,
            `train+test`. None: `train`.
        val_split: validation split or slice; must not overlap `train_split`. None: the first of validation, val, valid
            and test that exists.
        val_fraction: share of the examples to validate on if there is no validation split, 0 to 1; at least one.
        seed: decides which examples those are, in a folder or a Hugging Face data set. TFDS: the last ones.
        take: use at most this many examples of each source; no others are read.
        bit_depth: for files with 16 bits a channel: `2**bit_depth - 1` becomes 255. `auto`: the smallest of 8, 10, 12,
            14 and 16 that holds the values of 64 training images. Not for TFDS.
        colours: the mask colours, such as `#ff0000`, in the order of the classes, and colours to ignore, such as
            `ignore=#ffffff`. `auto`: masks hold class indices; masks in colours are refused, with a list of their
            colours. Not for TFDS.
        multilabel: whether labels may overlap: each channel of a mask file is a label, and each class of annotations is
            drawn by itself. Folders of masks, `masks/<label>/`, are always read so.
        mask_exif: which EXIF tag turns a mask file upright. `own`: its own; `image`: that of its image, if it has none
            itself and fits the stored pixels. Not for TFDS.

    Raises:
        KsegError: there is no such data set, or it cannot be read as images with masks.

    Example::

        train, validation = open_sources("path/to/folder", val_fraction=0.1)
        print(train.name, len(train), len(validation))
    """
    from kseg.data.sources.folder import open_folder
    from kseg.data.sources.huggingface import is_huggingface, open_huggingface
    from kseg.data.sources.shapes import BUILT_IN, open_shapes
    from kseg.data.sources.tfds import find_builder, is_prepared, is_tfds, is_unfinished, open_tfds

    path = Path(dataset)
    built_in = dataset in BUILT_IN and not path.is_dir()
    if is_unfinished(path):
        raise KsegError(f"{dataset} is a conversion that was not finished. Give kseg convert the same command again.")
    is_record_set = is_prepared(path) or (not path.is_dir() and not built_in and is_tfds(dataset))
    if built_in:
        _refuse_without_labels(dataset, multilabel, ())
        refuse_splits(f"the built-in {dataset}", train_split, val_split)
        _refuse_file_rules(dataset, bit_depth, colours, mask_exif)
        return open_shapes(dataset, data_dir=data_dir, take=take)
    if is_record_set:
        _refuse_file_rules(dataset, bit_depth, colours, mask_exif)
        training, validation = open_tfds(
            dataset, data_dir=data_dir, val_fraction=val_fraction, train_split=train_split, val_split=val_split
        )
        _refuse_without_labels(dataset, multilabel, training.labels)
        return (training, validation) if take is None else (training.take(take), validation.take(take))
    if is_huggingface(path):
        rows, other_rows = open_huggingface(
            path,
            data_dir=data_dir,
            val_fraction=val_fraction,
            seed=seed,
            take=take,
            bit_depth=bit_depth,
            colours=colours,
            mask_exif=mask_exif,
            train_split=train_split,
            val_split=val_split,
        )
        _refuse_without_labels(dataset, multilabel, rows.labels)
        return rows, other_rows
    if not path.is_dir():
        raise _no_such_data_set(dataset)
    refuse_splits(f"the folder {dataset}", train_split, val_split)
    try:
        return open_folder(
            path,
            val_fraction=val_fraction,
            seed=seed,
            take=take,
            bit_depth=bit_depth,
            colours=colours,
            mask_exif=mask_exif,
            multilabel=multilabel,
        )
    except KsegError as error:
        if script := find_builder(path):
            raise KsegError(f"{error} Or give {script}, and TFDS runs the code in it to build a data set.") from error
        raise


def _refuse_without_labels(dataset: str, multilabel: bool, labels: Sequence[str]) -> None:
    """Refuse a data set with one mask an image where labels that may overlap are wanted."""
    if multilabel and not labels:
        raise KsegError(
            f"task: multilabel is not allowed for {dataset}: its masks have one channel. Expected a folder with a mask "
            "file for each label, masks of several channels, or annotations; such a folder packed by kseg convert; or "
            "a table of Hugging Face with columns such as mask_cat and mask_dog."
        )


def refuse_splits(dataset: str, train_split: str | None, val_split: str | None) -> None:
    """Refuse splits for a data set that is not of TFDS or Hugging Face.

    Args:
        dataset: what it is, for the message.
        train_split: as in `open_sources`.
        val_split: as in `open_sources`.

    Raises:
        KsegError: a split is given.
    """
    if train_split or val_split:
        raise KsegError(
            f"train_split {train_split} and val_split {val_split} are not allowed for {dataset}; they are for data "
            "sets of TFDS and Hugging Face. In a folder put the images in train/ and val/, or in a list."
        )


def _refuse_file_rules(
    dataset: str, bit_depth: int | Literal["auto"], colours: Sequence[str] | str, mask_exif: MaskExif
) -> None:
    if mask_exif != "own":
        raise KsegError(
            f"mask_exif {mask_exif} is not allowed for {dataset}: its masks fit its images, as all of TFDS and built "
            "in. Expected own."
        )
    if bit_depth not in ("auto", 8) or colours != "auto":
        raise KsegError(
            f"bit_depth {bit_depth} and colours {colours} are not allowed for {dataset}: its images have 8 bits, "
            "as all of TFDS and built in, and its masks hold values. Expected auto for both."
        )


def _no_such_data_set(dataset: str) -> KsegError:
    from kseg.data.sources.tfds import has_tfds

    if os.sep in dataset or dataset.startswith((".", "~")):
        return KsegError(
            f"There is no folder {dataset}. Expected one with images/ and masks/ in it, or another layout "
            "that kseg reads: split folders, lists, VOC, Cityscapes, nnU-Net, COCO, LabelMe, YOLO."
        )
    slices = " Slices are given as --train-split and --val-split." if "[" in dataset else ""
    tfds = "TFDS has none" if has_tfds() else "TFDS, which knows others by name, is not installed (kseg[tfds])"
    return KsegError(
        f"There is no data set {dataset!r}: no folder of that name here, and {tfds}. Expected a folder with images/ "
        "and masks/ in it, 'shapes', 'shapes/rare', 'shapes/classes', or a TFDS name such as 'oxford_iiit_pet'."
        + slices
    )
