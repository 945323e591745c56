"""Score a model at the images' own size, image by image."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseg.config.evaluate import EvaluateConfig
from kseg.data import open_sources, read_masks_of_splits
from kseg.data.classes import Classes
from kseg.data.files.rows import Rows
from kseg.data.layouts.lists import table_columns
from kseg.data.mask_reading import Rule, mask_reader
from kseg.data.multilabel import Labels, find_labels
from kseg.data.sources.base import Source
from kseg.data.sources.file_source import FileSource
from kseg.data.threads import map_in_threads
from kseg.errors import KsegError
from kseg.inference.calibration import Calibration
from kseg.inference.gallery import Gallery
from kseg.inference.predictor import Predictor, load
from kseg.inference.scores import ImageScores, image_f1, score_image, summarise
from kseg.metadata import Metadata
from kseg.progress import progress
from kseg.task import Task

_LARGEST_IMAGE = 2**31  # bytes of probabilities


@dataclass(frozen=True)
class Evaluation:
    """The scores of a model on a data set."""

    dataset: str
    task: Task
    images: list[ImageScores]
    calibration: Calibration
    confusion: np.ndarray | None
    """Pixels of each class, a row, by what they were taken for, a column, background first; int64 `(K + 1, K + 1)`.
    None of labels, which are not taken for each other."""
    gallery: Gallery

    @property
    def names(self) -> tuple[str, ...]:
        """The foreground classes."""
        return self.task.foreground_classes

    def summary(self) -> dict[str, Any]:
        """Return all scores as plain values, for JSON."""
        groups = sorted({image.group for image in self.images})
        overlap = self.task.kind == "multilabel"
        by_group = {
            group: summarise([image for image in self.images if image.group == group], self.names, overlap=overlap)
            for group in groups
        }
        return {
            "dataset": self.dataset,
            **summarise(self.images, self.names, overlap=overlap),
            **self.calibration.summary(self.names),
            "groups": by_group if groups != [""] else {},
        }


def evaluate(model: Path, config: EvaluateConfig) -> Evaluation:
    """Score a model on a data set, at the images' own size.

    Args:
        model: the `.keras` file.
        config: the data set, the part of it, and how the model is used.

    Raises:
        KsegError: the model or the data cannot be read, or do not fit each other.
    """
    group_of = _grouping(config.group_by, config.dataset)
    predictor = load(model, *config.ensemble, **config.loading())
    metadata, task = predictor.metadata, predictor.metadata.task
    opening = config.opening()
    own = as_in_training(metadata)
    opening |= {name: value for name, value in own.items() if opening[name] == "auto"}
    opening["multilabel"] |= config.task == "auto" and own.get("multilabel", False)
    training, validation = open_sources(config.dataset, **opening)
    sources = {"training": [training], "validation": [validation], "all": [training, validation]}[config.split]
    rule = find_rule(metadata, training, validation, config)
    number = len(task.foreground_classes)
    calibration = Calibration(number, task.kind == "multiclass")
    images, gallery = [], Gallery(number)
    confusion = None if task.kind == "multilabel" else np.zeros((number + 1, number + 1), np.int64)
    with progress(description="Evaluating", total=sum(map(len, sources)), unit="images") as bar:
        for source in sources:
            read_mask = mask_reader(rule, source.name)
            for name, image, stored in examples(source):
                truth = task.as_predicted(read_mask(stored))
                probabilities = _predict(predictor, name, image)
                predicted = predictor.decide(probabilities)
                right, found, valid = task.layers(truth), task.layers(predicted), task.judged(truth)
                calibration.add(right, valid, probabilities)
                images.append(score_image(name, group_of(name), right, found, valid))
                gallery.add(name, image, right, found, valid, image_f1(images[-1]))
                if confusion is not None:
                    np.add.at(confusion, (truth[valid[..., 0]], predicted[valid[..., 0]]), 1)
                bar.update()
    return Evaluation(config.dataset, task, images, calibration, confusion, gallery)


def _predict(predictor: Predictor, name: str, image: np.ndarray) -> np.ndarray:
    metadata = predictor.metadata
    if image.shape[2] != metadata.channels:
        raise KsegError(f"{name} has {image.shape[2]} channels; the model takes {metadata.channels}.")
    if image.shape[0] * image.shape[1] * metadata.task.outputs * 4 > _LARGEST_IMAGE:
        raise KsegError(f"{name} is {image.shape[1]} x {image.shape[0]}, too large to evaluate. Cut it into parts.")
    return np.concatenate(list(predictor.bands(Rows.of(image))))


def as_in_training(metadata: Metadata) -> dict[str, Any]:
    """Return the arguments of `open_sources` that read files as in training; none if the model does not say how."""
    if metadata.rule is None:
        return {}
    return {
        "bit_depth": metadata.bit_depth,
        "colours": metadata.colours or "auto",
        "multilabel": isinstance(metadata.rule, Labels),
        "mask_exif": metadata.mask_exif,
    }


def find_rule(metadata: Metadata, training: Source, validation: Source, config: EvaluateConfig | None = None) -> Rule:
    """Return how masks are read: as the settings say, or as in training, by the names of classes where there are any.

    Raises:
        KsegError: the masks of this data set are of another task or other classes.
    """
    settings = config.reading() if config else {}
    chosen = {name for name, value in settings.items() if value != EvaluateConfig.model_fields[name].default}
    rule = metadata.rule
    if chosen or rule is None:
        rule = read_masks_of_splits(training, validation, **settings).rule
    elif isinstance(rule, Classes) and training.classes:
        value_of = {name: value for value, name in training.classes.items()}
        missing = [name for name in rule.names if name not in value_of]
        if missing:
            raise KsegError(
                f"{training.name} has no class {', '.join(missing)}, which the model tells apart; its classes are "
                f"{', '.join(value_of)}. Say with --classes which of them are the model's, in its order."
            )
        rule = Classes(rule.names, tuple(value_of[name] for name in rule.names), dict(training.classes), rule.rest)
    elif isinstance(rule, Labels):
        names, channels = find_labels(training.name, training.labels, rule.names, None)
        rule = Labels(names, channels, rule.foreground)
    if rule.task.kind != metadata.task.kind or rule.task.outputs != metadata.task.outputs:
        raise KsegError(
            f"The masks of {training.name} are read as {rule.task}, and the model is for {metadata.task}. Set "
            "--foreground, or --classes, so that they agree."
        )
    return rule


def examples(source: Source) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, image and stored mask of each example."""

    def read(index: int, *content: bytes) -> tuple[str, np.ndarray, np.ndarray]:
        return _name(source, index), *source.read(index, *content)

    return map_in_threads(read, source.examples(), threads=2)  # images may be large


def _name(source: Source, index: int) -> str:
    return str(source.files(index)[0]) if isinstance(source, FileSource) else f"{source.name}, example {index}"


def _grouping(group_by: str | None, dataset: str) -> Callable[[str], str]:
    """Return the function from the name of an image to its group.

    Raises:
        KsegError: `group_by` is no folder, no column of the data set's table, and no such regular expression.
    """
    if group_by is None:
        return lambda name: ""
    columns = table_columns(Path(dataset)) if Path(dataset).is_dir() else {}
    if group_by in columns:
        groups = columns[group_by]
        return lambda name: groups.get(Path(name).resolve()) or "no group"
    try:
        pattern = re.compile(r"([^/]+)/[^/]+$" if group_by == "folder" else group_by)
    except re.error as error:
        raise KsegError(f"group_by: {group_by!r} is no regular expression: {error}.") from error
    if pattern.groups != 1:
        named = f"a column of the table ({', '.join(columns)}), " if columns else ""
        raise KsegError(
            f"group_by: {group_by!r} has {pattern.groups} groups in brackets; expected folder, {named}or a regular "
            "expression with one, such as '(site[0-9]+)'."
        )
    return lambda name: found[1] if (found := pattern.search(name)) else "no group"
