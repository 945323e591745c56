"""Losses of single pixels, averaged over each image: cross-entropy and focal.

Both are linear in the mask. Of one logit x, a pixel costs foreground times the cost of a foreground pixel, plus
background times the cost of a background pixel, with

    -log(p)     = softplus(-x)        -log(1 - p) = softplus(x)

and of several logits the cost of its class, with -log(p) from `log_softmax`. Nothing is clipped, so a wrong pixel keeps
its gradient at any logit. Two classes by softmax cost the same as one by sigmoid of the difference of their logits.
"""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss, Pixels, check_class_weight, pixels, weights_of_classes
from kseg.targets import Activation

_SMALLEST = 1.1754944e-38  # the smallest normal float32


def cross_entropy(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    class_weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    from_logits: bool = True,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Cross-entropy of each image, the mean over its pixels that are not ignored.

    Of class indices for C > 1 logits a pixel of class c costs `-log_softmax(x)[c]`, with the gradient
    `softmax(x) - one_hot(c)`. Where the mask has as many channels as there are logits, each channel is read by itself:
    `y * softplus(-x) + (1 - y) * softplus(x)`, with the gradient `sigmoid(x) - y`. An image with only ignored pixels
    costs 0.

    Args:
        y_true: class indices `(B, ...)` or `(B, ..., 1)`, 0 to C - 1; or masks of 0 and 1, `(B, ..., C)`. 255 is
            ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        class_weight: what the cost of each class is multiplied by, C numbers of at least 0; of one logit two, for
            background and foreground. The sum is divided by the number of pixels, as Keras does it with
            `fit(class_weight=…)`, not by the sum of the weights as in torch.
        label_smoothing: in [0, 1): the mask is `(1 - s) * y + s / C`, of one channel `(1 - s) * y + s / 2`.
        from_logits: whether `y_pred` is logits.
        activation: "softmax" for one-hot masks with their background, "sigmoid" to refuse class indices; None: the
            shapes decide, see `kseg.targets.find_activation`.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0. It multiplies the cost of the
            pixel; 0 ignores it.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match, or do not fit the activation; `class_weight` has another length.

    >>> import numpy as np
    >>> mask, logits = np.array([[[0], [2]]]), np.zeros((1, 2, 1, 4), "float32")
    >>> print(round(float(cross_entropy(mask, logits)[0]), 4))  # log(4)
    1.3863
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    return cross_entropy_of_pixels(batch, class_weight, label_smoothing)


def bce(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    from_logits: bool = True,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Binary cross-entropy of each image: `cross_entropy` by sigmoid.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        from_logits: whether `y_pred` is logits.
        pixel_weight: see `cross_entropy`.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(bce(mask, logits)[0]), 4))  # log(2)
    0.6931
    """
    return cross_entropy_of_pixels(pixels(y_true, y_pred, from_logits, pixel_weight, "sigmoid"))


def focal(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    class_weight: Sequence[float] | None = None,
    from_logits: bool = True,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Focal loss of each image: cross-entropy that weighs well-predicted pixels less.

    The cost of a foreground pixel is `alpha * (1 - p)^gamma * -log(p)`, of a background pixel
    `(1 - alpha) * p^gamma * -log(1 - p)`. By softmax, p is the probability of the pixel's class; background, class 0,
    has the weight `1 - alpha`, and all other classes have `alpha`. As in cross-entropy, the mean is over the pixels
    that are not ignored. Source: Lin et al., "Focal Loss for Dense Object Detection", 2017, equation 5.

    Args:
        y_true: as in `cross_entropy`.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        alpha: the weight of foreground, in [0, 1]; background has `1 - alpha`. None: both have 1.
        gamma: at least 0; 0 is weighted cross-entropy.
        class_weight: as in `cross_entropy`; it multiplies the weights that `alpha` gives.
        from_logits: whether `y_pred` is logits.
        activation: as in `cross_entropy`.
        pixel_weight: as in `cross_entropy`.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: as from `cross_entropy`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(focal(mask, logits)[0]), 4))  # 0.25 * 0.5^2 * log(2)
    0.0433
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    return focal_of_pixels(batch, alpha, gamma, class_weight)


def cross_entropy_of_pixels(
    batch: Pixels, class_weight: Sequence[float] | None = None, label_smoothing: float = 0.0
) -> KerasTensor:
    """Return `cross_entropy` of a prepared batch."""
    foreground = batch.foreground
    if label_smoothing:
        classes = batch.channels if batch.activation == "softmax" else 2
        foreground = (1.0 - label_smoothing) * foreground + label_smoothing / classes
    if batch.activation == "softmax":
        return batch.mean(_cost_of_classes(foreground, -batch.log_probability, class_weight))
    return batch.mean(
        _cost_of_channels(foreground, ops.softplus(-batch.logits), ops.softplus(batch.logits), class_weight)
    )


def focal_of_pixels(
    batch: Pixels, alpha: float | None, gamma: float, class_weight: Sequence[float] | None = None
) -> KerasTensor:
    """Return `focal` of a prepared batch."""
    on_foreground, on_background = (1.0, 1.0) if alpha is None else (alpha, 1.0 - alpha)
    if batch.activation == "softmax":
        of_alpha = ops.convert_to_tensor([on_background] + [on_foreground] * (batch.channels - 1), dtype="float32")
        cost = _cost_of_classes(batch.foreground * of_alpha, -batch.log_probability, class_weight)
        return batch.mean(ops.exp(gamma * _log_probability_of_others(batch)) * cost)
    minus_log_p = ops.softplus(-batch.logits)
    minus_log_1_p = ops.softplus(batch.logits)
    # (1 - p)^gamma = exp(-gamma * softplus(x)): unlike a power, its gradient is finite at 0 for every gamma.
    foreground_cost = on_foreground * ops.exp(-gamma * minus_log_1_p) * minus_log_p
    background_cost = on_background * ops.exp(-gamma * minus_log_p) * minus_log_1_p
    return batch.mean(_cost_of_channels(batch.foreground, foreground_cost, background_cost, class_weight))


def _cost_of_classes(classes: KerasTensor, cost: KerasTensor, class_weight: Sequence[float] | None) -> KerasTensor:
    """Return the cost of each pixel by softmax, `(B, ..., 1)`, from its classes and what each costs, `(B, ..., C)`."""
    if class_weight is not None:
        classes = classes * weights_of_classes(class_weight, classes.shape[-1])
    return ops.sum(classes * cost, axis=-1, keepdims=True)


def _cost_of_channels(
    foreground: KerasTensor,
    foreground_cost: KerasTensor,
    background_cost: KerasTensor,
    class_weight: Sequence[float] | None,
) -> KerasTensor:
    """Return the cost of each pixel and channel by sigmoid, `(B, ..., C)`."""
    if class_weight is None:
        return foreground * foreground_cost + (1.0 - foreground) * background_cost
    channels = foreground.shape[-1]
    if channels > 1:
        cost = foreground * foreground_cost + (1.0 - foreground) * background_cost
        return cost * weights_of_classes(class_weight, channels)
    weight = weights_of_classes(class_weight, 2)
    return weight[1] * foreground * foreground_cost + weight[0] * (1.0 - foreground) * background_cost


def _log_probability_of_others(batch: Pixels) -> KerasTensor:
    """Return log(1 - p), with p the probability of the pixel's class by softmax, `(B, ..., 1)`.

    The other classes are summed: 1 - p would be rounded to 0 where the model is sure.
    """
    others = ops.sum((1.0 - batch.foreground) * batch.probability, axis=-1, keepdims=True)
    return ops.log(ops.maximum(others, _SMALLEST))


def check_focal(alpha: float | None, gamma: float) -> None:
    """Raise ValueError unless `alpha` and `gamma` are in range."""
    if alpha is not None and not 0 <= alpha <= 1:
        raise ValueError(f"Focal alpha, the weight of foreground, is {alpha}; expected 0 to 1, or None.")
    if not gamma >= 0:
        raise ValueError(f"Focal gamma is {gamma}; expected 0 or more.")


def check_smoothing(label_smoothing: float) -> None:
    """Raise ValueError unless `label_smoothing` is in range."""
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing is {label_smoothing}; expected 0 or more, and less than 1.")


@keras.saving.register_keras_serializable("kseg")
class CrossEntropyLoss(FunctionLoss):
    """Cross-entropy as a Keras loss, by softmax or by sigmoid; see `cross_entropy`.

    An empty mask costs the mean of `-log(p)` of background: almost nothing if nothing is predicted. Where foreground is
    rare, a model may predict background everywhere for a whole run; `CombinedSegmentationLoss` avoids that.

    Raises:
        ValueError: `label_smoothing` is not in [0, 1), or a class weight is below 0, or all are 0.

    >>> import numpy as np
    >>> print(round(float(CrossEntropyLoss()(np.array([[[0], [2]]]), np.zeros((1, 2, 1, 4)))), 4))
    1.3863
    """

    def __init__(
        self,
        from_logits: bool = True,
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "cross_entropy",
        dtype: Any = None,
    ) -> None:
        check_class_weight(class_weight)
        check_smoothing(label_smoothing)
        arguments = {
            "from_logits": from_logits,
            "class_weight": class_weight,
            "label_smoothing": label_smoothing,
            "activation": activation,
        }
        super().__init__(cross_entropy, arguments, reduction=reduction, name=name, dtype=dtype)


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
        ValueError: `alpha` is outside [0, 1], `gamma` is below 0, a class weight is below 0, or all are 0.

    >>> import numpy as np
    >>> print(round(float(FocalLoss(alpha=0.5, gamma=0)(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.3466
    """

    def __init__(
        self,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        from_logits: bool = True,
        class_weight: Sequence[float] | None = None,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "focal",
        dtype: Any = None,
    ) -> None:
        check_focal(alpha, gamma)
        check_class_weight(class_weight)
        arguments = {
            "alpha": alpha,
            "gamma": gamma,
            "from_logits": from_logits,
            "class_weight": class_weight,
            "activation": activation,
        }
        super().__init__(focal, arguments, reduction=reduction, name=name, dtype=dtype)
