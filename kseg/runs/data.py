"""The training and validation data of a run, and their batches."""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kseg.config.train import DataOptions
from kseg.data import Batches, open_sources, training_batches, validation_batches
from kseg.data.mask_reading import MaskReading, read_masks_of_splits
from kseg.data.sources.base import Source
from kseg.data.sources.file_source import FileSource
from kseg.data.sources.tfds import TFRecordSource
from kseg.data.transforms.strengths import find_augmentation
from kseg.errors import KsegError
from kseg.inference.scores import trivial_scores
from kseg.processes import process_count
from kseg.runs.directory import RunDirectory, warn_if_inside
from kseg.task import Task

_log = logging.getLogger("kseg")

# Masks that fit the stored pixels by chance are few: from so many turned images on, more than this share is none.
_FEWEST_TURNED, _MOST_STORED = 3, 0.75
_MOSTLY_FOREGROUND = 0.5


@dataclass(frozen=True)
class RunData:
    """Two opened sources, and how their masks are read."""

    training: Source
    validation: Source
    masks: MaskReading
    faults: list[str]
    """One message for each example that was left out."""

    @property
    def summary(self) -> str:
        """Number and digest of the examples; a run that is resumed must have the same."""
        return f"training on {self.training.summary()}, validating on {self.validation.summary()}"

    def data_files(self) -> list[Path]:
        """Return the files that both sources read, each once."""
        return list(dict.fromkeys([*self.training.data_files(), *self.validation.data_files()]))

    def resolved_settings(self) -> dict[str, object]:
        """Return the settings that the data decides where they are `auto`."""
        return {**self.masks.rule.settings(), "bit_depth": self.training.bit_depth}

    @property
    def task(self) -> Task:
        """What the model tells apart."""
        return self.masks.rule.task


def open_data(options: DataOptions) -> RunData:
    """Open the data set; with `on_bad_example: skip`, read all of it once and leave out what cannot be read.

    Raises:
        KsegError: there is no such data set, it cannot be read, or nothing in it can be.
    """
    training, validation = open_sources(
        options.dataset, take=options.dev_samples if options.dev_mode else None, **options.opening()
    )
    faults: list[str] = []
    if options.on_bad_example == "skip":
        (training, faults), (validation, more) = training.drop_unreadable(), validation.drop_unreadable()
        faults = faults + more
        if not (len(training) and len(validation)):
            raise KsegError(
                f"Too much of {options.dataset} cannot be read; nothing is left. The first fault: {faults[0]}"
            )
    masks = read_masks_of_splits(training, validation, **options.reading())
    for source in (training, validation):
        _refuse_masks_of_stored_pixels(source)
    return RunData(training, validation, masks, faults)


def _refuse_masks_of_stored_pixels(source: Source) -> None:
    """Refuse photographs that EXIF turns, whose masks were made for the stored pixels; warn where it is not clear.

    Raises:
        KsegError: the edges of most such masks fit the stored pixels.
    """
    if not isinstance(source, FileSource) or source.mask_exif == "image":
        return
    turned, stored = source.count_masks_of_stored_pixels()
    if not stored:
        return
    said = (
        f"An EXIF tag turns {turned} images of {source.name}, but not their masks. By their edges {stored} of these "
        f"masks fit the stored pixels, and {turned - stored} the turned picture, which is what kseg reads."
    )
    remedy = "--mask-exif image turns all of them as their images. kseg audit names the files."
    if turned >= _FEWEST_TURNED and stored > _MOST_STORED * turned:
        raise KsegError(f"{said} {remedy}")
    _log.warning(f"⚠️  {said} If it is wrong for some: {remedy}")


def log_data(data: RunData, options: DataOptions, run: RunDirectory) -> None:
    """Log what is trained on and how it is read; list the examples that were left out in `skipped.txt`."""
    training, validation = data.training, data.validation
    warn_if_inside(options.dataset, run.path)
    _log.info(f"Training on {len(training)} images of {training.name}")
    _log.info(f"Validating on {len(validation)} images of {validation.name}")
    _log.info(f"Layout: {training.layout}")
    if data.faults:
        run.skipped.write_text("\n".join(data.faults) + "\n", encoding="utf-8", errors="backslashreplace")
        _log.warning(
            f"⚠️  {len(data.faults)} images are left out of every epoch: they cannot be read. See {run.skipped}"
        )
    if training.channels != 3:
        _log.info(f"Images: {training.channels} channels")
    if training.bit_depth > 8:
        _log.info(f"Images: 16 bits a channel, where 0 to {2**training.bit_depth - 1} become 0 to 255")
    several = data.task.kind != "binary"
    _log.info(f"Task: {data.task}{'; 255 ignored' if several else ''}")
    _log.info(f"{'Mask values' if several else 'Foreground'}: {data.masks.rule}")
    _log.info(f"Masks, {data.masks.described}")
    _log_trivial_score(data)
    for warning in data.masks.warnings:
        _log.warning(f"⚠️  {warning}")
    if process_count() > 1 and isinstance(training, TFRecordSource):
        _log.warning(
            f"⚠️  Each of the {process_count()} processes reads all bytes of {training.name}: TFRecord shards can only "
            "be read from their beginning. Of array_record, which kseg convert writes, each reads its share."
        )
    _log.info(f"Augmentation: {options.augment}: {find_augmentation(options.augment)}")


def _log_trivial_score(data: RunData) -> None:
    """Log which F1 the same answer for every pixel has: a score near it means that nothing was learned."""
    shares = np.array(data.masks.rule.foreground_shares)
    names = data.task.foreground_classes
    counts = np.stack([0 * shares, 0 * shares, shares, 1 - shares], axis=-1)
    f1, answer = trivial_scores(counts, names, overlap=data.task.kind == "multilabel")["f1"]
    _log.info(f"The same answer for every pixel has F1 {f1:.3f} ({answer})")
    if data.task.kind == "binary" and shares[0] > _MOSTLY_FOREGROUND:
        _log.warning(
            f"⚠️  {shares[0]:.0%} of the pixels are foreground, so F1 is high whatever is learned. If the rest is what "
            "you look for, make it foreground: --foreground 0."
        )


def make_batches(data: RunData, options: DataOptions, start: tuple[int, int]) -> tuple[Batches, Batches]:
    """Return the training batches from `start`, the epochs and batches that are done, and the validation batches.

    Several processes read each image when they need it, each its share, unless a cache was asked for.
    """
    cache = "none" if options.cache == "auto" and process_count() > 1 else options.cache
    batches = training_batches(
        data.training,
        data.masks.rule,
        image_size=options.image_shape,
        resize=options.resize,
        batch_size=options.batch_size,
        cache=cache,
        seed=options.seed,
        augment=options.augment,
        start=start,
        foreground_crops=options.foreground_crops,
        steps_per_execution=options.steps_per_execution,
    )
    validation = validation_batches(
        data.validation,
        data.masks.rule,
        image_size=options.image_shape,
        resize=options.resize,
        batch_size=options.batch_size,
        cache=cache,
    )
    among = ", by the process that needs them" if cache == "none" and process_count() > 1 else ""
    _log.info(f"Training images are {batches.cache_note}{among}")
    _log.info(f"Validation images are {validation.cache_note}{among}")
    return batches, validation
