"""The model of a run: the network, its initial bias, its loss."""

import logging
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kseg import IGNORE, __version__, losses
from kseg.config.train import ModelOptions, TrainConfig, is_own_model
from kseg.data import Batches
from kseg.errors import KsegError
from kseg.inference.predictor import UNKNOWN_MULTIPLE, open_model
from kseg.metadata import Metadata
from kseg.models import encoded, set_output_bias, transfer_weights, unet
from kseg.runs.data import RunData
from kseg.runs.own_model import make_own_model
from kseg.task import Task

_log = logging.getLogger("kseg")

_BATCHES_FOR_PRIOR, _IMAGES_FOR_PRIOR = 25, 1000  # whatever is reached first
# Below this share of foreground a run starts sooner, and ends higher, with its output bias there; above it neither
# start is always better (benchmarks/start.py).
_RARE = 0.02


def make_loss(options: ModelOptions, shares: Sequence[float] = ()) -> keras.losses.Loss:
    """Return the loss with its arguments.

    Args:
        options: the settings of the model.
        shares: the share of background and each class, or of each label, in the training masks, for balanced class
            weights.

    Raises:
        KsegError: the loss does not take an argument, or not that value.
    """
    arguments: dict[str, Any] = dict(options.loss_arguments)
    if options.class_weight == "balanced":
        arguments["class_weight"] = balance(shares) if shares else None
    elif options.class_weight != "none":
        arguments["class_weight"] = list(options.class_weight)
    try:
        return losses.get(options.loss, **arguments)
    except ValueError as error:
        given = arguments | ({"class_weight": options.class_weight} if "class_weight" in arguments else {})
        raise KsegError(f"loss {options.loss} with {given}: {error}") from error


def balance(shares: Sequence[float]) -> list[float]:
    """Return class weights, 1 / square root of the share of a class, scaled to a mean of 1 over the pixels.

    Shares of labels, which may overlap, are treated alike.

    A class without a pixel has the weight of the rarest that has one.

    >>> [round(weight, 3) for weight in balance([0.81, 0.09, 0.09, 0.01])]
    [0.694, 2.083, 2.083, 6.25]
    """
    rarest = min(share for share in shares if share > 0)
    weights = [max(share, rarest) ** -0.5 for share in shares]
    mean = sum(share * weight for share, weight in zip(shares, weights, strict=True)) / sum(shares)
    return [weight / mean for weight in weights]


def check_task(task: Task, options: ModelOptions) -> None:
    """Refuse settings that fit no model of several classes, and class weights for another number of classes.

    Raises:
        KsegError: a setting does not fit.
    """
    number = 2 if task.kind == "binary" else task.outputs
    weights = options.class_weight
    if not isinstance(weights, str) and len(weights) != number:
        raise KsegError(
            f"class_weight: {len(weights)} weights are not allowed; expected {number}, for "
            f"{', '.join(task.classes if task.kind != 'binary' else ('background', *task.classes))}."
        )
    if task.kind == "multilabel" and options.threshold == "auto":
        raise KsegError(
            "threshold: auto is not allowed for several labels; expected a number, which all of them share."
        )
    if task.kind != "multiclass":
        return
    if options.loss == "bce":
        raise KsegError(f"loss: bce is for one class; expected cross_entropy for {task}.")
    if options.threshold != 0.5:
        raise KsegError(
            f"threshold: {options.threshold} is not allowed for several classes, of which the most probable one is "
            "predicted; expected 0.5."
        )


def make_model(channels: int, task: Task, options: ModelOptions, *, fresh: bool = True) -> keras.Model:
    """Return the network for images of so many channels.

    Args:
        channels: of the images.
        task: what it tells apart.
        options: the settings of the model.
        fresh: whether the run starts now; else a checkpoint brings all weights, and those that it started with are not
            looked for.
    """
    dtype = "float32" if options.mixed_precision == "none" else f"mixed_{options.mixed_precision}"
    if is_own_model(options.model):
        return make_own_model(channels, task, options, dtype)
    if options.encoder == "none":
        return unet(channels, options.filters, outputs=task.outputs, dtype=dtype)
    pretrained = options.encoder_weights != "none"
    return encoded(
        channels,
        task.outputs,
        decoder=options.model,
        encoder=options.encoder,
        encoder_weights=options.encoder_weights if pretrained and fresh else None,
        keep_statistics=pretrained,
        dtype=dtype,
    )


def start_model(data: RunData, options: ModelOptions, batches: Batches) -> keras.Model:
    """Return the network as a run starts with it: with the weights and the output bias that the settings ask for.

    Raises:
        KsegError: as from `make_model`; or the file to start from is no model, or nothing in it fits.
    """
    model = make_model(data.training.channels, data.task, options)
    if options.start_from:
        start_from(model, options.start_from, data.task)
    start_at_prior(model, data.task, options, batches)
    return model


def start_from(model: keras.Model, path: Path, task: Task) -> None:
    """Give a model for a task the weights of a file where they fit, those of classes by name; log what did not.

    Raises:
        KsegError: the file is no model, or nothing in it fits.
    """
    other, metadata = open_model(path)
    classes = metadata.task.classes, task.classes
    named = metadata.version and "binary" not in (metadata.task.kind, task.kind) and not any(map(_are_numbers, classes))
    transfer = transfer_weights(other, model, classes if named else None)
    if not transfer.taken:
        raise KsegError(
            f"start_from: no layer of {path} fits this model; its first ones differ as {'; '.join(transfer.left[:3])}. "
            "Give the --model, --encoder and --filters of that file."
        )
    number, others = len(transfer.taken) + len(transfer.left), "; the others:" if transfer.left else ""
    _log.info(f"Started from {path}: {len(transfer.taken)} of {number} layers{others}")
    for line in transfer.left:
        _log.info(f"  {line}")


def _are_numbers(classes: Sequence[str]) -> bool:
    """Return whether classes are mask values, without a name."""
    return all(name.isdecimal() for name in classes if name != "background")


def make_metadata(data: RunData, config: TrainConfig) -> Metadata:
    """Return what the files of the model say about its use."""
    return Metadata(
        task=data.task,
        threshold=config.fixed_threshold,
        image_size=config.image_shape,
        resize=config.resize,
        native_size=data.masks.native_size,
        size_multiple=UNKNOWN_MULTIPLE if is_own_model(config.model) else config.size_multiple,
        channels=data.training.channels,
        bit_depth=data.training.bit_depth,
        colours=() if config.colours == "auto" else config.colours,
        mask_exif=config.mask_exif,
        rule=data.masks.rule,
        version=__version__,
    )


def start_at_prior(model: keras.Model, task: Task, options: ModelOptions, batches: Batches) -> None:
    """Set the output bias to the share of each class, if that was asked for, or if there is little foreground."""
    if options.output_bias == "zero":
        return
    seen: list[np.ndarray] = []
    for _, masks in islice(batches, _BATCHES_FOR_PRIOR):
        seen.append(masks)
        if len(seen) * len(masks) >= _IMAGES_FOR_PRIOR:
            break
    counts = _count_values(np.stack(seen), task)
    share = counts[..., 1:].sum() / max(counts.sum(), 1)
    if not 0 < share < (_RARE if options.output_bias == "auto" else 1):
        return
    counts = np.maximum(counts, 1)  # a class that is in none of these masks
    shares = counts / counts.sum(-1, keepdims=True)
    if task.kind == "multiclass":
        set_output_bias(model, shares.tolist(), activation="softmax")
    else:
        set_output_bias(model, share if task.kind == "binary" else shares[:, 1].tolist())
    _log.info(f"Output bias at {share:.4g} foreground")


def _count_values(masks: np.ndarray, task: Task) -> np.ndarray:
    """Return the number of pixels of each value, float64: `(classes,)`, or of labels `(K, 2)`."""
    if task.kind == "multilabel":
        channels = masks.reshape(-1, task.outputs).T
        return np.stack([(channels == 0).sum(-1), (channels == 1).sum(-1)], axis=-1).astype(np.float64)
    return np.bincount(masks[masks != IGNORE], minlength=max(task.outputs, 2)).astype(np.float64)
