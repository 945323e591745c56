"""Predict the masks of many images, and write them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from kseg.config.predict import PredictConfig
from kseg.errors import KsegError
from kseg.inference.inputs import Input, find_inputs
from kseg.inference.predictor import Predictor, load
from kseg.inference.results import Results

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
    predictor = load(
        model,
        *config.ensemble,
        tile=config.tile,
        overlap=config.overlap,
        tta=config.tta,
        threshold=config.threshold,
        batch_size=config.batch_size,
    )
    results = Results(config.out, predictor.metadata, _settings(model, config), overwrite=config.overwrite)
    predicted = Predicted()
    waiting = [one for one in inputs if not results.is_done(one.name)]
    predicted.before = len(inputs) - len(waiting)
    try:
        with tqdm(waiting, "Predicting", unit=" images", delay=2, leave=False) as progress:
            for one in progress:
                try:
                    _predict_one(predictor, one, results, config)
                    predicted.done += 1
                except KsegError as error:
                    predicted.faults.append(str(error))
    finally:
        results.finish([one.name for one in inputs])
    return predicted


def _predict_one(predictor: Predictor, one: Input, results: Results, config: PredictConfig) -> None:
    rows = predictor.open(str(one.path))
    height, width = rows.shape[:2]
    mask = np.empty((height, width), np.uint8)
    kept = []
    row = 0
    with tqdm(
        total=predictor.count_tiles(rows), desc=one.path.name, unit=" tiles", delay=2, leave=False, position=1
    ) as progress:
        for band in predictor.bands(rows, progress.update):
            mask[row : row + len(band)] = predictor.decide(band)
            row += len(band)
            if config.probabilities != "none":
                kept.append(band)
    if kept:
        results.save_probabilities(one.name, np.concatenate(kept), config.probabilities)
    if config.overlays:
        results.save_overlay(one.name, rows, mask)
    results.save_mask(one.name, mask)


def _settings(model: Path, config: PredictConfig) -> dict[str, object]:
    """Return what decides the results, as plain values."""
    digests = [hashlib.sha256(path.read_bytes()).hexdigest()[:16] for path in (model, *config.ensemble)]
    return {"models": digests} | config.model_dump(mode="json", include=_DECIDING)
