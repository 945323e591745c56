"""What a mask and its prediction are, for losses and metrics alike: shapes that match, ignored pixels, logits."""

from keras import KerasTensor, ops

from kseg import IGNORE

# The smallest normal float32, and the distance from 1 to the float32 below it. With them a
# probability of exactly 0 or 1 has a finite logit, and every other one keeps its own.
_LEAST = 1.1754944e-38
_BELOW_ONE = 1.0 - 2.0**-24


def align(y_true: KerasTensor, y_pred: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """A mask and its prediction in float32 and in one shape, `(B, ..., C)`.

    The channel axis, the last one, may be missing from either when there is one channel.

    Args:
        y_true: `(B, ..., C)` or, with one channel, `(B, ...)`; any dtype. 0 is background, 1 (or any
            class index above it) is foreground, 255 is ignored.
        y_pred: `(B, ..., C)` or, with one channel, `(B, ...)`; any float dtype.

    Raises:
        ValueError: the shapes do not match.

    >>> import numpy as np
    >>> y_true, y_pred = align(np.zeros((2, 8, 8), "uint8"), np.zeros((2, 8, 8, 1), "float32"))
    >>> y_true.shape == y_pred.shape
    True
    """
    y_true = ops.cast(y_true, "float32")
    y_pred = ops.cast(y_pred, "float32")
    true_shape, pred_shape = tuple(y_true.shape), tuple(y_pred.shape)
    if true_shape == (*pred_shape, 1):
        y_pred = ops.expand_dims(y_pred, -1)
    elif pred_shape == (*true_shape, 1):
        y_true = ops.expand_dims(y_true, -1)
    elif len(true_shape) != len(pred_shape) or any(
        t != p for t, p in zip(true_shape, pred_shape, strict=True) if t is not None and p is not None
    ):
        raise ValueError(
            f"The mask has shape {true_shape} and the prediction {pred_shape}. Expected the same shape, "
            "(batch, height, width, channels), where one channel may be left out; a mask of class "
            "indices for several channels has to be one-hot."
        )
    return y_true, y_pred


def known(y_true: KerasTensor) -> KerasTensor:
    """Where a mask says anything: True where it is not 255.

    >>> import numpy as np
    >>> np.asarray(known(np.float32([0, 1, 255]))).tolist()
    [True, True, False]
    """
    return ops.not_equal(y_true, IGNORE)


def logit(probability: KerasTensor) -> KerasTensor:
    """The logit `log(p / (1 - p))` of a float32 probability; finite for 0 and 1 as well.

    >>> import numpy as np
    >>> [round(float(logit(np.float32(p))), 3) for p in (0.0, 0.25, 1.0)]
    [-87.337, -1.099, 16.636]
    """
    probability = ops.clip(probability, _LEAST, _BELOW_ONE)
    return ops.log(probability) - ops.log1p(-probability)
