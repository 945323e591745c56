"""The model of a run: the network, its initial bias, its loss."""

import logging

import keras
import numpy as np

from kseg import IGNORE, losses
from kseg.config.train import ModelOptions
from kseg.data import Batches
from kseg.errors import KsegError
from kseg.models import set_output_bias, unet

_log = logging.getLogger("kseg")

_BATCHES_FOR_PRIOR = 25
# Below this share of foreground a run starts sooner, and ends higher, with its output bias there; above it neither
# start is always better (benchmarks/start.py).
_RARE = 0.02


def make_loss(options: ModelOptions) -> keras.losses.Loss:
    """Return the loss with its arguments.

    Raises:
        KsegError: the loss does not take an argument, or not that value.
    """
    try:
        return losses.get(options.loss, **options.loss_arguments)
    except ValueError as error:
        raise KsegError(f"loss_arguments: {error}") from error


def make_model(channels: int, options: ModelOptions) -> keras.Model:
    """Return the network for images of so many channels, with random weights."""
    return unet(channels, options.filters, dtype="mixed_bfloat16" if options.mixed_precision else "float32")


def start_at_prior(model: keras.Model, options: ModelOptions, batches: Batches) -> None:
    """Set the output bias to the share of foreground, if that was asked for, or if the share is low."""
    if options.output_bias == "zero":
        return
    masks = np.stack([mask for _, mask in batches.dataset.take(_BATCHES_FOR_PRIOR).as_numpy_iterator()])
    share = (masks == 1).sum() / max((masks != IGNORE).sum(), 1)
    if 0 < share < (_RARE if options.output_bias == "auto" else 1):
        set_output_bias(model, share)
        _log.info(f"Output bias at {share:.4g} foreground")
