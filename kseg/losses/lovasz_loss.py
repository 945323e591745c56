"""The Lovász loss: a convex loss of a whole region that is exactly 1 - IoU where every error is 0 or 1."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss, Pixels, check_class_weight, pixels
from kseg.losses.region import mean_of_classes
from kseg.targets import Activation

# Pixels that are ignored are sorted behind all others, and cost nothing.
_LAST = -1e30


def lovasz(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    from_logits: bool = True,
    include_background: bool = False,
    class_weight: Sequence[float] | None = None,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Lovász loss of each image: the Lovász extension of `1 - IoU` to errors of any size.

    The errors of the pixels are sorted, the largest first, and each is weighted by how much `1 - IoU` grows when its
    pixel becomes wrong too. By sigmoid the error is the hinge `1 - x * sign`, with sign 1 in foreground and -1 in
    background, and negative errors cost nothing (Lovász hinge). By softmax it is `1 - p` in the class and p outside
    (Lovász-Softmax). Source: Berman et al., "The Lovász-Softmax loss", 2018, algorithm 1. It is exact: every pixel of
    an image is sorted, in each class.

    The mean over classes and channels is that of `kseg.losses.tversky`. An empty mask costs the largest error.

    Args:
        y_true, y_pred, from_logits, include_background, class_weight, activation: as in `kseg.losses.tversky`.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0: intersection and union are
            weighted sums; 0 ignores a pixel.

    Returns:
        float32 `(B,)`, at least 0; by softmax at most 1.

    Raises:
        ValueError: the shapes do not match, or do not fit the activation; `class_weight` has another length.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(float(lovasz(mask, logits)[0]))
    1.0
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    losses = _lovasz_of_channels(batch)
    return mean_of_classes(losses, batch, include_background, class_weight)


def _lovasz_of_channels(batch: Pixels) -> KerasTensor:
    """Return the loss of each image and channel, `(B, C)`."""
    if batch.activation == "softmax":
        errors = ops.abs(batch.foreground - batch.probability)
    else:
        errors = ops.relu(1.0 - batch.logits * (2.0 * batch.foreground - 1.0))
    kept = batch.not_ignored if batch.weight is None else batch.not_ignored * batch.weight
    kept, foreground, errors = (_by_channel(values, batch) for values in (kept, kept * batch.foreground, errors))
    order = ops.argsort(ops.where(ops.greater(kept, 0.0), -errors, -_LAST), axis=-1)
    errors, foreground, kept = (ops.take_along_axis(values, order, axis=-1) for values in (errors, foreground, kept))
    total = ops.sum(foreground, axis=-1, keepdims=True)
    intersection = total - ops.cumsum(foreground, axis=-1)
    union = total + ops.cumsum(kept - foreground, axis=-1)
    # Without foreground the first wrong pixel makes 1 - IoU jump from 0 to 1.
    lost = 1.0 - ops.divide_no_nan(intersection, union)
    lost = ops.where(ops.greater(union, 0.0), lost, 0.0)
    growth = ops.concatenate([lost[..., :1], lost[..., 1:] - lost[..., :-1]], axis=-1)
    return ops.sum(ops.where(ops.greater(kept, 0.0), errors * growth, 0.0), axis=-1)


def _by_channel(values: KerasTensor, batch: Pixels) -> KerasTensor:
    """Return values of all pixels as `(B, C, N)`."""
    values = ops.broadcast_to(values, ops.shape(batch.logits))
    values = ops.reshape(values, (ops.shape(values)[0], -1, batch.channels))
    return ops.transpose(values, (0, 2, 1))


@keras.saving.register_keras_serializable("kseg")
class LovaszLoss(FunctionLoss):
    """Lovász loss as a Keras loss, hinge by sigmoid and Lovász-Softmax by softmax; see `lovasz`.

    An empty mask costs the largest error: nothing if all logits are below -1, or no probability above 0. By softmax its
    gradient vanishes where a model is confidently wrong; `CombinedSegmentationLoss` keeps it.

    Raises:
        ValueError: a class weight is below 0, or all are 0.

    >>> import numpy as np
    >>> print(float(LovaszLoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))))
    1.0
    """

    def __init__(
        self,
        from_logits: bool = True,
        include_background: bool = False,
        class_weight: Sequence[float] | None = None,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "lovasz",
        dtype: Any = None,
    ) -> None:
        check_class_weight(class_weight)
        arguments = {
            "from_logits": from_logits,
            "include_background": include_background,
            "class_weight": class_weight,
            "activation": activation,
        }
        super().__init__(lovasz, arguments, reduction=reduction, name=name, dtype=dtype)
