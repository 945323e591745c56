"""Export a model for other programs, and compare what they compute with it."""

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np

from kseg.config.export import ExportConfig
from kseg.data import open_sources
from kseg.data.mask_reading import mask_reader
from kseg.errors import KsegError
from kseg.inference.evaluate import as_in_training, examples, find_rule
from kseg.inference.predictor import Predictor, open_model
from kseg.inference.runtimes import FORMATS, ExportFormat, Logits
from kseg.inference.scores import mean_of_classes, ratios, score_image
from kseg.metadata import Metadata

_log = logging.getLogger("kseg")

_MAX_F1, _MAX_LOGIT = 1e-4, 1e-2
"""How far F1, and a logit, may be off."""


@dataclass(frozen=True)
class Exported:
    """An exported model, and how far it is from the Keras one."""

    path: Path
    size: str
    """What images it takes, in words."""
    images: int
    """Number of images that were compared."""
    f1: tuple[float, float]
    """Mean F1 of the Keras model and of the exported one."""
    largest: float
    """The largest difference of logits."""


class _Compared:
    """A model that predicts by an exported file, and notes how far its logits are from those of the Keras model."""

    def __init__(self, model: keras.Model, exported: Logits) -> None:
        self._model, self._exported = model, exported
        self.largest = 0.0

    def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
        logits = self._exported(images)
        difference = np.abs(logits - self._model.predict_on_batch(images))
        self.largest = max(self.largest, float(np.nan_to_num(difference, nan=np.inf).max()))
        return logits


def export(model: Path, config: ExportConfig, dataset: str | None) -> Exported:
    """Export a model, and compare the result, run by the format's own runtime, on real images.

    Args:
        model: the `.keras` file.
        config: the format, the size of images, and where to.
        dataset: on whose validation images to compare; None: images of shapes.

    Raises:
        KsegError: the format cannot be made here, or not with this size; the result is there already; it predicts
            something else than the model; then nothing is left.
    """
    how = FORMATS[config.format]
    loaded, metadata = open_model(model)
    shape = _shape(config, how, metadata)
    path = config.out or model.with_name(f"{model.stem}{how.suffix}")
    _check(path, config, how)
    _log.info(
        f"Converting to {config.format}, which takes some seconds, then comparing on up to {config.images} images"
    )
    temporary = path.with_name(f"{path.stem}-unchecked{path.suffix}")
    try:
        _convert(model, temporary, config.format, shape, metadata)
        size = metadata.image_size if shape[1] is None or shape[2] is None else (shape[1], shape[2])
        exported = _compare(
            loaded, replace(metadata, image_size=size), how.open(temporary), _pairs(dataset, metadata, config.images)
        )
    except BaseException:
        _remove(temporary)
        raise
    _remove(path)
    for part in _parts(temporary):
        part.replace(part.with_name(part.name.replace(f"{temporary.stem}", path.stem)))
    taken = "images of any size" if shape[1] is None else f"images of {shape[2]} x {shape[1]} (width x height)"
    return Exported(path, taken, *exported)


def _shape(config: ExportConfig, how: ExportFormat, metadata: Metadata) -> tuple[int | None, int | None, int | None]:
    """Return batch, height and width of the input, None for any."""
    size = (config.size, config.size) if isinstance(config.size, int) else config.size
    if size is None and how.any_size:
        return None, None, None
    size = size or metadata.image_size
    if size is None:
        raise KsegError(
            f"format {config.format} takes images of one size, and the model does not say which. Give --size."
        )
    wrong = [side for side in size if side % metadata.size_multiple]
    if wrong:
        raise KsegError(f"size: {wrong[0]} is not a multiple of {metadata.size_multiple}, as the model needs it.")
    return (None if how.any_size else 1), *size


def _check(path: Path, config: ExportConfig, how: ExportFormat) -> None:
    missing = how.missing()
    if missing:
        possible = [name for name, other in FORMATS.items() if not other.missing()]
        raise KsegError(
            f"format {config.format} needs {', '.join(missing)}, which is not installed: pip install 'kseg[export]'"
            + (" and kseg[torch]" if "torch" in missing else "")
            + f". Possible here: {', '.join(possible)}."
        )
    if path.suffix != Path(f"x{how.suffix}").suffix:
        raise KsegError(f"out: {path} is not allowed for {config.format}; expected a name that ends in {how.suffix}.")
    if path.exists() and not config.overwrite:
        raise KsegError(f"{path} is there already. Give another --out, or --overwrite.")
    path.parent.mkdir(parents=True, exist_ok=True)


def _convert(model: Path, path: Path, name: str, shape: tuple[int | None, ...], metadata: Metadata) -> None:
    command = [sys.executable, "-m", "kseg.inference.converter", str(model), str(path), name, json.dumps(shape)]
    command.append(json.dumps(metadata.as_data()))
    environment = os.environ | {
        "KERAS_BACKEND": FORMATS[name].backend,
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "CUDA_VISIBLE_DEVICES": "",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise KsegError(f"{model} cannot be converted to {name}: {reason}")


def _compare(
    model: keras.Model, metadata: Metadata, exported: Logits, pairs: Iterable[tuple[np.ndarray, np.ndarray | None]]
) -> tuple[int, tuple[float, float], float]:
    """Return the number of images compared, both F1, and the largest difference of logits.

    Args:
        model: the Keras model.
        metadata: of it, with the size that the exported one takes.
        exported: the other.
        pairs: images, and their masks; without one the mask is what the Keras model predicts.

    Raises:
        KsegError: they differ too much.
    """
    compared = _Compared(model, exported)
    ours, theirs = (Predictor([one], metadata) for one in (model, compared))
    task, counts = metadata.task, []
    for image, mask in pairs:
        predicted, other = ours(image), theirs(image)
        truth = predicted if mask is None else mask
        layers, valid = task.layers(truth), task.judged(truth)
        counts.append([score_image("", "", layers, task.layers(one), valid).counts for one in (predicted, other)])
    f1, its = (float(value) for value in mean_of_classes(ratios(np.sum(counts, axis=0))["f1"]))
    if not (abs(f1 - its) <= _MAX_F1 and compared.largest <= _MAX_LOGIT):
        raise KsegError(
            f"The exported model differs from the Keras model on {len(counts)} images: F1 {its:.6f} instead of "
            f"{f1:.6f}, logits by up to {compared.largest:.2g}; expected at most {_MAX_F1:g} and {_MAX_LOGIT:g}. It "
            "was not kept."
        )
    return len(counts), (f1, its), compared.largest


def _pairs(dataset: str | None, metadata: Metadata, number: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
    """Yield images with their masks; without a data set those of shapes, without masks."""
    if dataset is None:
        from kseg.data.sources.shapes import draw

        for index in range(number):
            image, _ = draw("standard", "validation", index)
            yield np.resize(image, (*image.shape[:2], metadata.channels)), None
        return
    training, validation = open_sources(dataset, take=number, **as_in_training(metadata))
    rule = find_rule(metadata, training, validation)
    read_mask = mask_reader(rule, validation.name)
    for _, image, stored in examples(validation):
        yield image, metadata.task.as_predicted(read_mask(stored))


def _parts(path: Path) -> list[Path]:
    """Return the files of an exported model: the metadata of LiteRT lie beside it."""
    return [part for part in (path, path.with_name(f"{path.name}.json")) if part.exists()]


def _remove(path: Path) -> None:
    for part in _parts(path):
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink()
