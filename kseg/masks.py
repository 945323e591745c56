"""What a mask is, for losses and metrics alike: which shapes match, which pixels are ignored."""

from keras import KerasTensor, ops

from kseg import IGNORE


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
