"""Losses for segmentation: one value per image, computed from logits in float32; 255 is ignored.

Each is a pure function (`cross_entropy`, `bce`, `focal`, `tversky`, `dice`, `iou`, `lovasz`, `combined`) and a Keras
loss class around it; `boundary` takes distances in place of masks. The shapes decide the task: class indices for
several logits are softmax, as many mask channels as logits are sigmoid, each by itself.
"""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)

# isort: split

import inspect
from typing import Any

import keras

from kseg.losses.boundary_loss import BoundaryLoss, boundary
from kseg.losses.combined_loss import CombinedSegmentationLoss, combined
from kseg.losses.lovasz_loss import LovaszLoss, lovasz
from kseg.losses.pixel import BCELoss, CrossEntropyLoss, FocalLoss, bce, cross_entropy, focal
from kseg.losses.region import DiceLoss, IoULoss, TverskyLoss, dice, iou, tversky

__all__ = [
    "BY_NAME",
    "BCELoss",
    "BoundaryLoss",
    "CombinedSegmentationLoss",
    "CrossEntropyLoss",
    "DiceLoss",
    "FocalLoss",
    "IoULoss",
    "LovaszLoss",
    "TverskyLoss",
    "bce",
    "boundary",
    "combined",
    "cross_entropy",
    "dice",
    "focal",
    "get",
    "iou",
    "lovasz",
    "tversky",
]

BY_NAME: dict[str, type[keras.losses.Loss]] = {
    "bce": BCELoss,
    "combined": CombinedSegmentationLoss,
    "cross_entropy": CrossEntropyLoss,
    "dice": DiceLoss,
    "focal": FocalLoss,
    "iou": IoULoss,
    "lovasz": LovaszLoss,
    "tversky": TverskyLoss,
}
"""The names that `get` and the setting `loss` take; `BoundaryLoss` is not among them, as it takes no masks."""


def get(name: str, **arguments: Any) -> keras.losses.Loss:
    """Return the loss of that name, made with these arguments.

    Raises:
        ValueError: there is no such loss, or it does not take an argument or a value.

    >>> get("tversky", alpha=0.2, beta=0.8).get_config()["beta"]
    0.8
    """
    if name not in BY_NAME:
        raise ValueError(f"There is no loss {name!r}; expected one of {', '.join(BY_NAME)}.")
    accepted = inspect.signature(BY_NAME[name]).parameters
    for argument in arguments:
        if argument not in accepted:
            raise ValueError(f"The loss {name!r} takes no {argument!r}; it takes {', '.join(accepted)}.")
    return BY_NAME[name](**arguments)
