"""A name or a path to a source: what hands out examples, undecoded, each with its index."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

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
) -> tuple[Source, Source]:
    """The training and the validation source of a data set.

    Args:
        dataset: a folder of images and masks, of a data set that TFDS prepared or that Hugging Face's `datasets` saved
            (to disk or as parquet), or a parquet file; the script of a TFDS builder, which is run; the built-in
            `shapes` or `shapes/rare`, or the name of a TFDS data set. A name that stands for both is the data set;
            `./shapes` is the folder.
        data_dir: where TFDS keeps its data sets; None is `~/tensorflow_datasets`. Of parquet, where `datasets` keeps
            what it makes of it.
        train_split: the split or slice to train on, of TFDS or Hugging Face, in the words of TFDS: `train[:10%]`,
            `train+test`. None is `train`.
        val_split: likewise, to validate on; None is the first of validation, val, valid and test that is there.
        val_fraction: the share of the examples to validate on where the data set has no split for it.
        seed: decides which they are, in a folder and of Hugging Face; of TFDS they are the last.
        take: at most so many examples of each; no others are read.
        bit_depth: of images of 16 bits a channel, but in TFDS, `2**bit_depth - 1` becomes 255. `auto`: the smallest of
            8, 10, 12, 14, 16 with room for the values of 64 training images, evenly spread.
        colours: of the masks, but in TFDS, such as `#ff0000`, in the order of the classes, and those to ignore, such as
            `ignore=#ffffff`. `auto`: there are none; masks in colours are refused, and the colours in them listed.

    Raises:
        KsegError: there is no such data set, or it cannot be read as images with masks.
    """

    from kseg.data.sources.folder import open_folder
    from kseg.data.sources.huggingface import is_huggingface, open_huggingface
    from kseg.data.sources.tfds import builder_in, is_record_set, is_unfinished, open_records

    path = Path(dataset)
    splits = {"val_fraction": val_fraction, "train_split": train_split, "val_split": val_split}
    reading = {"bit_depth": bit_depth, "colours": colours}
    if is_unfinished(path):
        raise KsegError(f"{dataset} is a conversion that was not finished. Give kseg convert the same command again.")
    if is_record_set(dataset):
        if bit_depth not in ("auto", 8) or colours != "auto":
            raise KsegError(
                f"bit_depth {bit_depth} and colours {colours} are not allowed for {dataset}: images of TFDS have 8 "
                "bits, and masks hold values. Expected auto for both."
            )
        training, validation = open_records(dataset, data_dir=data_dir, **splits)
        return (training, validation) if take is None else (training.take(take), validation.take(take))
    if is_huggingface(path):
        return open_huggingface(path, data_dir=data_dir, seed=seed, take=take, **splits, **reading)
    if not path.is_dir():
        raise _no_such_data_set(dataset)
    refuse_splits(dataset, train_split, val_split)
    try:
        return open_folder(path, val_fraction=val_fraction, seed=seed, take=take, **reading)
    except KsegError as error:
        if script := builder_in(path):
            raise KsegError(f"{error} Or give {script}, and TFDS runs the code in it to build a data set.") from error
        raise


def refuse_splits(dataset: str, train_split: str | None, val_split: str | None) -> None:
    """Refuse splits of a folder of files, which has none.

    Raises:
        KsegError: one is given.
    """
    if train_split or val_split:
        raise KsegError(
            f"train_split {train_split} and val_split {val_split} are not allowed for the folder {dataset}; they are "
            "for data sets of TFDS and Hugging Face. Put the images in train/ and val/, or in a list."
        )


def _no_such_data_set(dataset: str) -> KsegError:
    if os.sep in dataset or dataset.startswith((".", "~")):
        return KsegError(
            f"There is no folder {dataset}. Expected one with images/ and masks/ in it, or another layout of README."
        )
    slices = " Slices are given as --train-split and --val-split." if "[" in dataset else ""
    return KsegError(
        f"There is no data set {dataset!r}: no folder of that name here, and TFDS has none. Expected a "
        "folder with images/ and masks/ in it, 'shapes', 'shapes/rare', or a TFDS name such as 'oxford_iiit_pet'."
        + slices
    )
