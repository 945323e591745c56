"""Losses of single pixels, averaged over each image: binary cross-entropy and focal.

Both are linear in the mask: foreground times the cost of a foreground pixel, plus background times the cost of a
background pixel. With x the logit,

    -log(p)     = softplus(-x)        -log(1 - p) = softplus(x)

Nothing is clipped, so a wrong pixel keeps its gradient at any logit.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss, Pixels, pixels


def bce(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Binary cross-entropy of each image, the mean over its pixels that are not ignored.

    The cost of a pixel is `y * softplus(-x) + (1 - y) * softplus(x)`, its gradient `sigmoid(x) - y`.
    An image with only ignored pixels costs 0.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        from_logits: whether `y_pred` is logits.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0. It multiplies the cost of the
            pixel; 0 ignores it.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(bce(mask, logits)[0]), 4))  # log(2)
    0.6931
    """
    return bce_of_pixels(pixels(y_true, y_pred, from_logits, pixel_weight))


def focal(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Focal loss of each image: cross-entropy that weighs well-predicted pixels less.

    The cost of a foreground pixel is `alpha * (1 - p)^gamma * -log(p)`, of a background pixel
    `(1 - alpha) * p^gamma * -log(1 - p)`. As in BCE, the mean is over the pixels that are not ignored.
    Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        alpha: the weight of foreground, in [0, 1]; background has `1 - alpha`. None: both have 1.
        gamma: at least 0; 0 is weighted cross-entropy.
        from_logits: whether `y_pred` is logits.
        pixel_weight: see `bce`.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(focal(mask, logits)[0]), 4))  # 0.25 * 0.5^2 * log(2)
    0.0433
    """
    return focal_of_pixels(pixels(y_true, y_pred, from_logits, pixel_weight), alpha, gamma)


def bce_of_pixels(batch: Pixels) -> KerasTensor:
    """Return `bce` of a prepared batch."""
    foreground_cost = ops.softplus(-batch.logits)
    background_cost = ops.softplus(batch.logits)
    return _mean(batch.foreground * foreground_cost + (1.0 - batch.foreground) * background_cost, batch)


def focal_of_pixels(batch: Pixels, alpha: float | None, gamma: float) -> KerasTensor:
    """Return `focal` of a prepared batch."""
    minus_log_p = ops.softplus(-batch.logits)
    minus_log_1_p = ops.softplus(batch.logits)
    weights = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    # (1 - p)^gamma = exp(-gamma * softplus(x)): unlike a power, its gradient is finite at 0 for every gamma.
    foreground_cost = weights[0] * ops.exp(-gamma * minus_log_1_p) * minus_log_p
    background_cost = weights[1] * ops.exp(-gamma * minus_log_p) * minus_log_1_p
    return _mean(batch.foreground * foreground_cost + (1.0 - batch.foreground) * background_cost, batch)


def _mean(cost: KerasTensor, batch: Pixels) -> KerasTensor:
    """Return the weighted cost of each image over the number of its pixels that are not ignored, `(B,)`, or 0."""
    axes = tuple(range(1, len(cost.shape)))
    number = ops.sum(batch.not_ignored, axis=axes)
    return ops.sum(batch.weighted(cost), axis=axes) / ops.maximum(number, 1.0)


def check_focal(alpha: float | None, gamma: float) -> None:
    """Raise ValueError unless `alpha` and `gamma` are in range."""
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"Focal alpha, the weight of foreground, is {alpha}; expected 0 to 1, or None.")
    if not gamma >= 0:
        raise ValueError(f"Focal gamma is {gamma}; expected 0 or more.")


@keras.saving.register_keras_serializable("kseg")
class BCELoss(FunctionLoss):
    """Binary cross-entropy as a Keras loss; see `bce`.

    An empty mask costs the mean of `-log(1 - p)`: almost nothing if nothing is predicted. Where foreground is rare, a
    model may stay below the threshold everywhere for a whole run; `CombinedSegmentationLoss` avoids that.

    >>> import numpy as np
    >>> print(round(float(BCELoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.6931
    """

    def __init__(
        self,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "bce",
        dtype: Any = None,
    ) -> None:
        super().__init__(bce, {"from_logits": from_logits}, reduction=reduction, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("kseg")
class FocalLoss(FunctionLoss):
    """Focal loss as a Keras loss; see `focal`.

    An empty mask costs the mean of `(1 - alpha) * p^gamma * -log(1 - p)`: almost nothing if nothing is predicted.

    Raises:
        ValueError: `alpha` is outside [0, 1] or `gamma` is below 0.

    >>> import numpy as np
    >>> print(round(float(FocalLoss(alpha=0.5, gamma=0)(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.3466
    """

    def __init__(
        self,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "focal",
        dtype: Any = None,
    ) -> None:
        check_focal(alpha, gamma)
        arguments = {"alpha": alpha, "gamma": gamma, "from_logits": from_logits}
        super().__init__(focal, arguments, reduction=reduction, name=name, dtype=dtype)
