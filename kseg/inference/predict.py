"""Predict the masks of many images, and write them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kseg.config.predict import PredictConfig
from kseg.errors import KsegError
from kseg.inference.annotations import write_annotations
from kseg.inference.inputs import Input, find_inputs
from kseg.inference.predictor import Predictor, load
from kseg.inference.results import Results
from kseg.progress import progress

_DECIDING = {"tile", "overlap", "tta", "threshold", "probabilities", "overlays"}
"""The settings on which the results depend."""


@dataclass
class Predicted:
    """What became of the images of a command."""

    done: int = 0
    """Images that were predicted now."""
    before: int = 0
    """Images whose results were there already."""
    faults: list[str] = field(default_factory=list)
    """A message for each image that could not be read."""


def predict(model: Path, given: Sequence[str], config: PredictConfig) -> Predicted:
    """Predict the masks of images, and write them into the folder `config.out`.

    Args:
        model: the `.keras` file.
        given: images, folders, patterns, or lists; see `find_inputs`.
        config: how to predict, and what to write.

    Raises:
        KsegError: the model cannot be opened, there are no images, or the folder holds something else.
    """
    inputs = find_inputs(given)
    predictor = load(model, *config.ensemble, **config.loading())
    results = Results(config.out, predictor.metadata, _settings(model, config), overwrite=config.overwrite)
    predicted = Predicted()
    waiting = [one for one in inputs if not results.is_done(one.name)]
    predicted.before = len(inputs) - len(waiting)
    try:
        for one in progress(waiting, "Predicting", unit="images"):
            try:
                _predict_one(predictor, one, results, config)
                predicted.done += 1
            except KsegError as error:
                predicted.faults.append(str(error))
    finally:
        results.finish([one.name for one in inputs])
    if config.polygons != "none":
        done = [one for one in inputs if all(file.exists() for file in results.mask_files(one.name))]
        names = predictor.metadata.task.foreground_classes
        masks = [(one.name, one.path, results.mask_files(one.name)) for one in done]
        write_annotations(
            config.out / "polygons", config.polygons, names, progress(masks, "Writing polygons", unit="masks")
        )
    return predicted


def _predict_one(predictor: Predictor, one: Input, results: Results, config: PredictConfig) -> None:
    rows = predictor.open(str(one.path))
    kept: list[np.ndarray] = []
    keep = kept.append if config.probabilities != "none" else lambda band: None
    with progress(description=one.path.name, total=predictor.count_tiles(rows), unit="tiles", position=1) as bar:
        mask = predictor.mask_of(rows, bar.update, keep)
    if kept:
        results.save_probabilities(one.name, np.concatenate(kept), config.probabilities)
    if config.overlays:
        results.save_overlay(one.name, rows, mask)
    results.save_mask(one.name, mask)


def _settings(model: Path, config: PredictConfig) -> dict[str, object]:
    """Return what decides the results, as plain values."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (model, *config.ensemble)]
    return {"models": digests} | config.model_dump(mode="json", include=_DECIDING)
