"""Losses of whole regions: Tversky, and its two special cases Dice and IoU.

With soft counts of an image, TP = sum(y * p), FP = sum((1 - y) * p), FN = sum(y * (1 - p)),

    score = (TP + smooth) / (TP + alpha * FP + beta * FN + smooth)

is Dice at alpha = beta = 0.5 and IoU at alpha = beta = 1. The loss 1 - score is computed as

    (alpha * FP + beta * FN) / (TP + alpha * FP + beta * FN + smooth)

which is the same number without subtracting two nearly equal ones. `smooth`, in pixels, is part of the score and
avoids 0/0 on an empty mask, where the loss is alpha * FP / (alpha * FP + smooth): a false positive costs something
and has a gradient; a correct empty prediction costs almost nothing.
(In the other common form of Dice, (2 TP + s) / (2 TP + FP + FN + s), s is 2 * smooth.)

Of several classes by softmax, p is the probability of a class and y whether a pixel is of that class. The loss of an
image is the mean over the classes that its mask contains, background left out unless `include_background`; a class that
it does not contain costs nothing, since its false positives are missed pixels of others. An image with none of them
costs the mean over all, each as of an empty mask. By sigmoid the loss is the mean over all channels, also the empty
ones. (MONAI's DiceLoss averages over all classes, absent ones too, each image by itself; SMP's adds up the pixels of
the batch for each class, and leaves out the absent ones.)

A region loss cannot correct a model that is confidently wrong. Its gradient has the factor p * (1 - p): 4e-18 at a
logit of -40, and practically 0 at -80. BCE, focal and the combined loss keep their gradient.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss, Pixels, check_class_weight, pixels, sum_over_pixels, weights_of_classes
from kseg.targets import Activation


def tversky(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    alpha: float = 0.3,
    beta: float = 0.7,
    smooth: float = 1.0,
    from_logits: bool = True,
    include_background: bool = False,
    class_weight: Sequence[float] | None = None,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Tversky loss of each image: `alpha` weighs false positives, `beta` false negatives.

    The formula, and which classes and channels the mean is over, is in the docstring of this module. Source: Salehi
    et al., "Tversky loss function for image segmentation using 3D fully convolutional deep networks", 2017,
    equation 3; the default is its best setting.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored; or class
            indices `(B, ...)` or `(B, ..., 1)` for C > 1 logits.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        smooth: added to the true positives, in pixels, above 0.
        from_logits: whether `y_pred` is logits.
        include_background: whether background, channel 0 of softmax, is one of the classes.
        class_weight: weights of the classes in the mean, C numbers of at least 0; that of background counts only with
            `include_background`. Of one logit two, without effect: there is one class.
        activation: as in `kseg.losses.cross_entropy`.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0. TP, FP and FN are weighted
            sums; 0 ignores a pixel.

    Returns:
        float32 `(B,)` in [0, 1].

    Raises:
        ValueError: the shapes do not match, or do not fit the activation; `class_weight` has another length.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(tversky(mask, logits, beta=0.5)[0]), 4))  # FN = 2, TP = 2: 1 / (2 + 1 + 1)
    0.25
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    return tversky_of_pixels(batch, alpha, beta, smooth, include_background, class_weight)


def dice(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    smooth: float = 1.0,
    from_logits: bool = True,
    include_background: bool = False,
    class_weight: Sequence[float] | None = None,
    activation: Activation | None = None,
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
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    return tversky_of_pixels(batch, 0.5, 0.5, smooth, include_background, class_weight)


def iou(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    smooth: float = 1.0,
    from_logits: bool = True,
    include_background: bool = False,
    class_weight: Sequence[float] | None = None,
    activation: Activation | None = None,
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
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    return tversky_of_pixels(batch, 1.0, 1.0, smooth, include_background, class_weight)


def tversky_of_pixels(
    batch: Pixels,
    alpha: float,
    beta: float,
    smooth: float,
    include_background: bool = False,
    class_weight: Sequence[float] | None = None,
    only_with_foreground: bool = False,
) -> KerasTensor:
    """Return `tversky` of a prepared batch; with `only_with_foreground`, absent classes cost nothing."""
    softmax = batch.activation == "softmax"
    probability = batch.probability
    # Not 1 - p, which is rounded to 0 where a single logit is sure.
    rest = 1.0 - probability if softmax else ops.sigmoid(-batch.logits)
    foreground, background = batch.foreground, batch.not_ignored - batch.foreground
    if batch.weight is not None:
        foreground, background = batch.weight * foreground, batch.weight * background
    tp = sum_over_pixels(foreground * probability)
    fp = sum_over_pixels(background * probability)
    fn = sum_over_pixels(foreground * rest)
    errors = alpha * fp + beta * fn
    losses = errors / (tp + errors + smooth)
    return mean_of_classes(losses, batch, include_background, class_weight, only_with_foreground)


def mean_of_classes(
    losses: KerasTensor,
    batch: Pixels,
    include_background: bool,
    class_weight: Sequence[float] | None,
    only_with_foreground: bool = False,
) -> KerasTensor:
    """Return the mean over classes or channels that the docstring of this module describes, `(B,)`.

    Args:
        losses: of each image and channel, `(B, C)`.
        batch: what they were computed from.
        include_background, class_weight: see `tversky`.
        only_with_foreground: see `tversky_of_pixels`.
    """
    softmax, spatial = batch.activation == "softmax", tuple(range(1, len(batch.logits.shape) - 1))
    contained = ops.cast(ops.any(ops.greater(batch.foreground, 0), axis=spatial), "float32")
    weights = _weights_of_channels(batch.channels, softmax and not include_background, class_weight)
    over_contained = _mean(losses, contained * weights)
    if only_with_foreground:
        return over_contained
    over_all = _mean(losses, weights + ops.zeros_like(contained))
    if not softmax:
        return over_all
    return ops.where(ops.any(ops.greater(contained * weights, 0), axis=-1), over_contained, over_all)


def _weights_of_channels(
    channels: int, leave_out_background: bool, class_weight: Sequence[float] | None
) -> KerasTensor:
    """Return the weight of each channel in the mean, float32 `(C,)`."""
    if class_weight is None or channels == 1:
        weights = ops.ones((channels,), "float32")
    else:
        weights = weights_of_classes(class_weight, channels)
    return weights * ops.cast(ops.arange(channels) > 0, "float32") if leave_out_background else weights


def _mean(losses: KerasTensor, weights: KerasTensor) -> KerasTensor:
    """Return the weighted mean over the channels, `(B,)`; 0 where all weights are."""
    return ops.divide_no_nan(ops.sum(losses * weights, axis=-1), ops.sum(weights, axis=-1))


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
        ValueError: `alpha` or `beta` is below 0, both are 0, `smooth` is not above 0, or a class weight is below 0.

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
        include_background: bool = False,
        class_weight: Sequence[float] | None = None,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "tversky",
        dtype: Any = None,
    ) -> None:
        check_region(alpha, beta, smooth)
        check_class_weight(class_weight)
        arguments: dict[str, Any] = {"alpha": alpha, "beta": beta, "smooth": smooth, "from_logits": from_logits}
        arguments |= {"include_background": include_background, "class_weight": class_weight, "activation": activation}
        super().__init__(tversky, arguments, reduction=reduction, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("kseg")
class DiceLoss(FunctionLoss):
    """Dice loss as a Keras loss; see `dice`.

    An empty mask costs `FP / (FP + 2 * smooth)`: nothing if nothing is predicted.
    Alone it cannot correct a model that is confidently wrong, because its gradient vanishes there;
    `CombinedSegmentationLoss` can.

    Raises:
        ValueError: `smooth` is not above 0, or a class weight is below 0.

    >>> import numpy as np
    >>> print(round(float(DiceLoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.25
    """

    def __init__(
        self,
        smooth: float = 1.0,
        from_logits: bool = True,
        include_background: bool = False,
        class_weight: Sequence[float] | None = None,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "dice",
        dtype: Any = None,
    ) -> None:
        check_region(0.5, 0.5, smooth)
        check_class_weight(class_weight)
        arguments: dict[str, Any] = {"smooth": smooth, "from_logits": from_logits}
        arguments |= {"include_background": include_background, "class_weight": class_weight, "activation": activation}
        super().__init__(dice, arguments, reduction=reduction, name=name, dtype=dtype)


@keras.saving.register_keras_serializable("kseg")
class IoULoss(FunctionLoss):
    """IoU loss as a Keras loss; see `iou`.

    An empty mask costs `FP / (FP + smooth)`: nothing if nothing is predicted.
    Alone it cannot correct a model that is confidently wrong, because its gradient vanishes there;
    `CombinedSegmentationLoss` can.

    Raises:
        ValueError: `smooth` is not above 0, or a class weight is below 0.

    >>> import numpy as np
    >>> print(round(float(IoULoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.4
    """

    def __init__(
        self,
        smooth: float = 1.0,
        from_logits: bool = True,
        include_background: bool = False,
        class_weight: Sequence[float] | None = None,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "iou",
        dtype: Any = None,
    ) -> None:
        check_region(1.0, 1.0, smooth)
        check_class_weight(class_weight)
        arguments: dict[str, Any] = {"smooth": smooth, "from_logits": from_logits}
        arguments |= {"include_background": include_background, "class_weight": class_weight, "activation": activation}
        super().__init__(iou, arguments, reduction=reduction, name=name, dtype=dtype)
