"""Shapes, dtypes and ignored pixels of masks and predictions, by one rule for all losses and metrics."""

from typing import Any, Literal

from keras import KerasTensor, ops

from kseg import IGNORE

# The smallest normal float32, and the largest float32 below 1: probabilities are clipped to them, so that the logit of
# exactly 0 or 1 is finite.
_SMALLEST = 1.1754944e-38
_BELOW_ONE = 1.0 - 2.0**-24


Activation = Literal["sigmoid", "softmax"]
"""How logits become probabilities: each channel by itself, or all channels of a pixel together."""


def align(y_true: KerasTensor, y_pred: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return mask and prediction as float32, the mask `(B, ..., 1)` or `(B, ..., C)` and the prediction `(B, ..., C)`.

    The prediction always has its channel axis, the last; a mask of one channel may omit it:

        images   `(B, H, W, C)`      a row of pixels                `(B, N, 1)`
        volumes  `(B, D, H, W, C)`   a row with several channels    `(B, N, 1, C)`

    A mask of one channel for a prediction of several holds class indices; see `find_activation`.

    A prediction `(B, N, C)` with C > 1 is refused, because it may be `(B, H, W)` without a channel axis. So is
    `(B, 1, ..., C)` with C > 1, because it may be `(B, 1, H, W)`, channels first; an image of one row with several
    channels has to be transposed. Other mistakes do not show in the shapes: `(B, D, H, W)` is taken for an image with
    W channels, and `(B, C, H, W)` with several channels too.

    Args:
        y_true: mask of any dtype. 0 is background, 1 is foreground, or the index of a class, 255 is ignored.
        y_pred: logits or probabilities, any float dtype.

    Raises:
        ValueError: the prediction has no channel axis, its channels seem to come first, or the shapes do not match.

    >>> import numpy as np
    >>> y_true, y_pred = align(np.zeros((2, 8, 8), "uint8"), np.zeros((2, 8, 8, 1), "float32"))
    >>> y_true.shape == y_pred.shape
    True
    """
    y_true = ops.cast(y_true, "float32")
    y_pred = ops.cast(y_pred, "float32")
    mask, prediction = tuple(y_true.shape), tuple(y_pred.shape)
    received = f"The mask has shape {mask} and the prediction {prediction}."
    several_channels = prediction[-1:] not in ((1,), (None,))
    if len(prediction) < 3 or (len(prediction) == 3 and several_channels) or len(mask) > len(prediction):
        raise ValueError(
            f"{received} Expected a prediction (batch, height, width, channels): add its channel axis with "
            "logits[..., None], or end the model in Conv2D(1, 1). Keras takes it off where the loss is a function and "
            "the mask has no channel axis: use the loss's class. A row of pixels with several channels is (batch, "
            "pixels, 1, channels)."
        )
    if prediction[1] == 1 and several_channels:
        raise ValueError(
            f"{received} Expected channels last, (batch, height, width, channels), and they seem to come first: move "
            "them with keras.ops.moveaxis(logits, 1, -1), and the mask's likewise."
        )
    if len(mask) == len(prediction) - 1:
        y_true = ops.expand_dims(y_true, -1)
    # A mask of one channel fits any prediction: it may hold class indices.
    expected = (*prediction[:-1], 1 if y_true.shape[-1:] == (1,) else prediction[-1])
    if len(y_true.shape) != len(expected) or any(
        t != p for t, p in zip(y_true.shape, expected, strict=True) if t is not None and p is not None
    ):
        raise ValueError(
            f"{received} Expected the same shape, (batch, height, width, channels), or a mask of class indices, "
            "(batch, height, width) or (batch, height, width, 1)."
        )
    return y_true, y_pred


def find_activation(y_true: KerasTensor, y_pred: KerasTensor, activation: Activation | None = None) -> Activation:
    """Return how the logits of an aligned prediction become probabilities.

    The shapes decide: class indices, a mask of one channel, for several logits are softmax; as many channels as logits
    are sigmoid.

    Args:
        y_true: aligned mask, `(B, ..., 1)` or `(B, ..., C)`.
        y_pred: aligned prediction, `(B, ..., C)`.
        activation: overrides the shapes: "softmax" for one-hot masks with their background; "sigmoid" refuses class
            indices.

    Raises:
        ValueError: softmax over one channel, which is always 1; or class indices for sigmoid.

    >>> import numpy as np
    >>> find_activation(np.zeros((2, 8, 8, 1)), np.zeros((2, 8, 8, 4)))
    'softmax'
    """
    mask, channels = y_true.shape[-1], y_pred.shape[-1]
    if channels == 1 and activation == "softmax":
        raise ValueError("activation is 'softmax' over one channel, which is always 1; expected two channels or more.")
    are_indices = mask == 1 and channels not in (1, None)
    if are_indices and activation == "sigmoid":
        raise ValueError(
            f"The mask has one channel, of class indices, and the prediction {channels}; expected as many channels for "
            "sigmoid. Make the mask one-hot without its background, or use softmax: CrossEntropyLoss, "
            "CombinedSegmentationLoss."
        )
    return activation or ("softmax" if are_indices else "sigmoid")


def one_hot(y_true: KerasTensor, num_classes: int) -> KerasTensor:
    """Return class indices `(B, ..., 1)` as float32 `(B, ..., num_classes)`; 0 in all channels where none fits.

    >>> import numpy as np
    >>> np.asarray(one_hot(np.float32([[[2], [0], [255]]]), 3)).tolist()
    [[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    return ops.cast(ops.equal(y_true, ops.arange(num_classes, dtype="float32")), "float32")


def foreground_view(
    y_true: KerasTensor, y_pred: KerasTensor, from_logits: bool, activation: Activation | None = None
) -> tuple[KerasTensor, KerasTensor]:
    """Return mask and logits `(B, ..., 1)` of foreground against background, whatever the classes.

    With class indices the logit is `logsumexp(x[1:]) - x[0]`, so that sigmoid gives the probability of all foreground
    classes together; masks may be one-hot then, with `activation`. With several channels that are read each by itself
    it is the largest; foreground is what any channel contains, and a pixel is ignored where a channel ignores it and
    none contains it.

    Args:
        y_true: aligned mask; see `align`.
        y_pred: aligned logits or probabilities.
        from_logits: whether they are logits.
        activation: see `find_activation`.

    >>> import numpy as np
    >>> aligned = align(np.uint8([[[2], [255]]]), np.float32([[[[0, 1, 1]], [[0, 0, 0]]]]))
    >>> mask, logits = foreground_view(*aligned, from_logits=True)
    >>> print(np.asarray(mask).ravel(), np.asarray(logits).ravel().round(3))
    [  1. 255.] [1.693 0.693]
    """
    if find_activation(y_true, y_pred, activation) == "softmax":
        scores = y_pred if from_logits else log_probability(y_pred)
        logits = ops.logsumexp(scores[..., 1:], axis=-1, keepdims=True) - scores[..., :1]
        valid = ops.all(not_ignored(y_true), axis=-1, keepdims=True)
        foreground = ops.clip(y_true, 0.0, 1.0) if y_true.shape[-1] == 1 else 1.0 - y_true[..., :1]
        return ops.where(valid, foreground, float(IGNORE)), logits
    logits = y_pred if from_logits else logit(y_pred)
    if y_pred.shape[-1] == 1:
        return y_true, logits
    valid = not_ignored(y_true)
    foreground = ops.max(ops.where(valid, y_true, 0.0), axis=-1, keepdims=True)
    unknown = ops.logical_and(ops.equal(foreground, 0.0), ops.any(ops.logical_not(valid), axis=-1, keepdims=True))
    return ops.where(unknown, float(IGNORE), foreground), ops.max(logits, axis=-1, keepdims=True)


def pixel_weights(sample_weight: Any, y_pred: KerasTensor) -> KerasTensor | None:
    """Return weights of single pixels as float32 `(B, ..., 1)`; None for one weight an image, and for no weights.

    Args:
        sample_weight: None; one weight an image, `(B,)` or `(B, 1)`, or a single number; or one weight a pixel,
            `(B, ...)` or `(B, ..., 1)`.
        y_pred: the prediction, `(B, ..., C)`.

    Raises:
        ValueError: another shape.

    >>> import numpy as np
    >>> pixel_weights(np.ones((2, 8, 8)), np.zeros((2, 8, 8, 3))).shape == (2, 8, 8, 1)
    True
    """
    if sample_weight is None:
        return None
    weight = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
    shape, prediction = tuple(weight.shape), tuple(y_pred.shape)
    if shape[1:] in (prediction[1:-1], (*prediction[1:-1], 1)):
        return weight if len(shape) == len(prediction) else ops.expand_dims(weight, -1)
    if len(shape) <= 1 or shape[1:] == (1,):
        return None
    raise ValueError(
        f"sample_weight has shape {shape}, and the prediction {prediction}; expected one weight an image, (batch,), or "
        f"one a pixel, {(*prediction[:-1],)} or {(*prediction[:-1], 1)}."
    )


def ignore_zero_weights(y_true: KerasTensor, weight: KerasTensor) -> KerasTensor:
    """Return an aligned mask with 255 where the weight of the pixel, `(B, ..., 1)`, is 0."""
    return ops.where(ops.equal(weight, 0.0), float(IGNORE), y_true)


def not_ignored(y_true: KerasTensor) -> KerasTensor:
    """Return True for each pixel of a mask that is not 255; bool of the same shape.

    >>> import numpy as np
    >>> np.asarray(not_ignored(np.float32([0, 1, 255]))).tolist()
    [True, True, False]
    """
    return ops.not_equal(y_true, IGNORE)


def logit(probability: KerasTensor) -> KerasTensor:
    """Return `log(p / (1 - p))` of float32 probabilities; finite for 0 and 1 too.

    >>> import numpy as np
    >>> [round(float(logit(np.float32(p))), 3) for p in (0.0, 0.25, 1.0)]
    [-87.337, -1.099, 16.636]
    """
    probability = ops.clip(probability, _SMALLEST, _BELOW_ONE)
    return ops.log(probability) - ops.log1p(-probability)


def log_probability(probability: KerasTensor) -> KerasTensor:
    """Return `log(p)` of float32 probabilities, finite for 0 too: the logits of softmax that give them.

    >>> import numpy as np
    >>> [round(float(log_probability(np.float32(p))), 3) for p in (0.0, 0.5, 1.0)]
    [-87.337, -0.693, 0.0]
    """
    return ops.log(ops.maximum(probability, _SMALLEST))
