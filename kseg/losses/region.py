"""Losses of whole regions: Tversky, and its two special cases Dice and IoU.

With soft counts of an image, TP = sum(y * p), FP = sum((1 - y) * p), FN = sum(y * (1 - p)),

    score = (TP + smooth) / (TP + alpha * FP + beta * FN + smooth)

is Dice at alpha = beta = 0.5 and IoU at alpha = beta = 1. The loss 1 - score is computed as

    (alpha * FP + beta * FN) / (TP + alpha * FP + beta * FN + smooth)

which is the same number without subtracting two nearly equal ones. `smooth`, in pixels, is part of the score and
avoids 0/0 on an empty mask, where the loss is alpha * FP / (alpha * FP + smooth): a false positive costs something
and has a gradient; a correct empty prediction costs almost nothing.
(In the other common form of Dice, (2 TP + s) / (2 TP + FP + FN + s), s is 2 * smooth.)

A region loss cannot correct a model that is confidently wrong. Its gradient has the factor p * (1 - p): 4e-18 at a
logit of -40, and practically 0 at -80. BCE, focal and the combined loss keep their gradient.
"""

from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss, Pixels, pixels


def tversky(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Tversky loss of each image: `alpha` weighs false positives, `beta` false negatives.

    The formula is in the docstring of this module. The loss of an image is the mean over its channels. Source: Salehi
    et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", 2017,
    equation 3; the default is its best setting.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        smooth: added to the true positives, in pixels, above 0.
        from_logits: whether `y_pred` is logits.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0. TP, FP and FN are weighted
            sums; 0 ignores a pixel.

    Returns:
        float32 `(B,)` in [0, 1].

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(tversky(mask, logits, beta=0.5)[0]), 4))  # FN = 2, TP = 2: 1 / (2 + 1 + 1)
    0.25
    """
    return tversky_of_pixels(pixels(y_true, y_pred, from_logits, pixel_weight), alpha, beta, smooth)


def dice(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    smooth: float = 1.0,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Dice loss of each image, `1 - (2 TP + 2 smooth) / (2 TP + FP + FN + 2 smooth)`: Tversky at 0.5, 0.5.

    Arguments, result and errors as in `tversky`. Source: Milletari et al., "V-Net", 2016, without the squares in the
    denominator, so that it is one minus the F1 of soft counts.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(dice(mask, logits)[0]), 4))  # TP = FN = 2: 1 - (4 + 2) / (4 + 2 + 2)
    0.25
    """
    return tversky(
        y_true, y_pred, alpha=0.5, beta=0.5, smooth=smooth, from_logits=from_logits, pixel_weight=pixel_weight
    )


def iou(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    smooth: float = 1.0,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """IoU loss of each image, `1 - (TP + smooth) / (TP + FP + FN + smooth)`: Tversky at 1, 1.

    Arguments, result and errors as in `tversky`. Source: Rahman and Wang, "Optimizing
    intersection-over-union in deep neural networks for image segmentation", 2016.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(iou(mask, logits)[0]), 4))  # TP = FN = 2: 1 - (2 + 1) / (2 + 2 + 1)
    0.4
    """
    return tversky(
        y_true, y_pred, alpha=1.0, beta=1.0, smooth=smooth, from_logits=from_logits, pixel_weight=pixel_weight
    )


def tversky_of_pixels(
    batch: Pixels, alpha: float, beta: float, smooth: float, only_with_foreground: bool = False
) -> KerasTensor:
    """Return `tversky` of a prepared batch; with `only_with_foreground`, a channel with an empty mask costs 0."""
    spatial = tuple(range(1, len(batch.logits.shape) - 1))
    probability = ops.sigmoid(batch.logits)
    foreground, background = batch.foreground, batch.not_ignored - batch.foreground
    if batch.weight is not None:
        foreground, background = batch.weight * foreground, batch.weight * background
    tp = ops.sum(foreground * probability, axis=spatial)
    fp = ops.sum(background * probability, axis=spatial)
    fn = ops.sum(foreground * ops.sigmoid(-batch.logits), axis=spatial)
    errors = alpha * fp + beta * fn
    losses = errors / (tp + errors + smooth)
    if only_with_foreground:
        losses = ops.where(ops.any(ops.greater(batch.foreground, 0), axis=spatial), losses, 0.0)
    return ops.mean(losses, axis=-1)


def check_region(alpha: float, beta: float, smooth: float) -> None:
    """Raise ValueError unless the arguments of `tversky` are in range."""
    if not (alpha >= 0 and beta >= 0 and alpha + beta > 0):
        raise ValueError(
            f"Tversky alpha is {alpha} and beta {beta}; expected 0 or more, and one of them above 0: "
            "alpha weighs false positives, beta false negatives."
        )
    if not smooth > 0:
        raise ValueError(f"smooth is {smooth} pixels; expected more than 0; at 0 an empty mask gives 0/0.")


@keras.saving.register_keras_serializable("kseg")
class TverskyLoss(FunctionLoss):
    """Tversky loss as a Keras loss; see `tversky`.

    An empty mask costs `alpha * FP / (alpha * FP + smooth)`: nothing if nothing is predicted.
    Alone it cannot correct a model that is confidently wrong, because its gradient vanishes there;
    `CombinedSegmentationLoss` can.

    Raises:
        ValueError: `alpha` or `beta` is below 0, both are 0, or `smooth` is not above 0.

    >>> import numpy as np
    >>> print(round(float(TverskyLoss(beta=0.5)(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.25
    """

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        dtype: Any = None,
    ) -> None:
        check_region(alpha, beta, smooth)
        arguments = {"alpha": alpha, "beta": beta, "smooth": smooth, "from_logits": from_logits}
        super().__init__(tversky, arguments, reduction=reduction, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("kseg")
class DiceLoss(FunctionLoss):
    """Dice loss as a Keras loss; see `dice`.

    An empty mask costs `FP / (FP + 2 * smooth)`: nothing if nothing is predicted.
    Alone it cannot correct a model that is confidently wrong, because its gradient vanishes there;
    `CombinedSegmentationLoss` can.

    Raises:
        ValueError: `smooth` is not above 0.

    >>> import numpy as np
    >>> print(round(float(DiceLoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.25
    """

    def __init__(
        self,
        smooth: float = 1.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        dtype: Any = None,
    ) -> None:
        check_region(0.5, 0.5, smooth)
        arguments = {"smooth": smooth, "from_logits": from_logits}
        super().__init__(dice, arguments, reduction=reduction, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("kseg")
class IoULoss(FunctionLoss):
    """IoU loss as a Keras loss; see `iou`.

    An empty mask costs `FP / (FP + smooth)`: nothing if nothing is predicted.
    Alone it cannot correct a model that is confidently wrong, because its gradient vanishes there;
    `CombinedSegmentationLoss` can.

    Raises:
        ValueError: `smooth` is not above 0.

    >>> import numpy as np
    >>> print(round(float(IoULoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.4
    """

    def __init__(
        self,
        smooth: float = 1.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "iou",
        dtype: Any = None,
    ) -> None:
        check_region(1.0, 1.0, smooth)
        arguments = {"smooth": smooth, "from_logits": from_logits}
        super().__init__(iou, arguments, reduction=reduction, name=name, dtype=dtype)
