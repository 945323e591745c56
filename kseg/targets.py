"""Shapes, dtypes and ignored pixels of masks and predictions, by one rule for all losses and metrics."""

from keras import KerasTensor, ops

from kseg import IGNORE

# The smallest normal float32, and the largest float32 below 1: probabilities are clipped to them, so that the logit of
# exactly 0 or 1 is finite.
_SMALLEST = 1.1754944e-38
_BELOW_ONE = 1.0 - 2.0**-24


def align(y_true: KerasTensor, y_pred: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return mask and prediction as float32 of one shape, `(B, ..., C)`.

    The prediction always has its channel axis, the last; the mask may omit it if there is one channel:

        images   `(B, H, W, C)`      a row of pixels                `(B, N, 1)`
        volumes  `(B, D, H, W, C)`   a row with several channels    `(B, N, 1, C)`

    A prediction `(B, N, C)` with C > 1 is refused, because it may be `(B, H, W)` without a channel axis. So is
    `(B, 1, ..., C)` with C > 1, because it may be `(B, 1, H, W)`, channels first; an image of one row with several
    channels has to be transposed. Other mistakes do not show in the shapes: `(B, D, H, W)` is taken for an image with
    W channels, and `(B, C, H, W)` with several channels too.

    Args:
        y_true: mask of any dtype. 0 is background, 1 (or a class index above it) is foreground, 255 is ignored.
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
    if len(y_true.shape) != len(prediction) or any(
        t != p for t, p in zip(y_true.shape, prediction, strict=True) if t is not None and p is not None
    ):
        raise ValueError(
            f"{received} Expected the same shape, (batch, height, width, channels), where the mask may omit an axis of "
            "one channel; a mask of class indices for several channels has to be one-hot."
        )
    return y_true, y_pred


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
