"""Exact counting: which pixels agree, and totals that neither saturate nor wrap.

A float32 total stands still at 2^24 pixels (64 masks of 512 x 512), an int32 total wraps at 2^31, and
JAX has no int64 by default. So a total is two int32 limbs, `high * 2^30 + low`, with a carry: exact up to
2^61. Integer sums do not depend on their order, so neither do the metrics.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.targets import align, known

_LIMB_BITS = 30
_HALF_BITS = 15
_HALF_MASK = 2**_HALF_BITS - 1


class ExactSums:
    """Totals of non-negative integers, as two int32 variables of a metric.

    Args:
        metric: the metric that owns the variables (and sets them to 0 in `reset_state`).
        size: how many totals.

    >>> import numpy as np
    >>> sums = ExactSums(keras.metrics.Metric(), size=1)
    >>> for _ in range(3):
    ...     sums.add(np.full((2, 1), 2**31 - 1, "int32"))
    >>> sums.as_integers() == [6 * (2**31 - 1)]
    True
    """

    def __init__(self, metric: keras.metrics.Metric, size: int) -> None:
        self.low = metric.add_variable((size,), "zeros", dtype="int32", name="low")
        self.high = metric.add_variable((size,), "zeros", dtype="int32", name="high")

    def add(self, values: KerasTensor) -> None:
        """Add the rows of `values`, int32 `(B, size)`, each in [0, 2^31), B below 2^15."""
        # Each value is split in two halves, so that no sum over the rows reaches 2^31.
        high_half = ops.sum(ops.right_shift(values, _HALF_BITS), axis=0)
        low_half = ops.sum(ops.bitwise_and(values, _HALF_MASK), axis=0)
        high_half = high_half + ops.right_shift(low_half, _HALF_BITS)
        low = self.low + ops.bitwise_and(low_half, _HALF_MASK)
        low = low + ops.left_shift(ops.bitwise_and(high_half, _HALF_MASK), _HALF_BITS)
        carry = ops.right_shift(low, _LIMB_BITS)
        self.low.assign(ops.bitwise_and(low, 2**_LIMB_BITS - 1))
        self.high.assign(self.high + ops.right_shift(high_half, _HALF_BITS) + carry)

    def as_tensor(self) -> KerasTensor:
        """The totals in float32 `(size,)`, each within a relative 1.2e-7 of the exact number."""
        high = ops.cast(self.high.value, "float32")
        low = ops.cast(self.low.value, "float32")
        return high * 2.0**_LIMB_BITS + low

    def as_floats(self) -> list[KerasTensor]:
        """The totals one by one; see `as_tensor`."""
        return ops.unstack(self.as_tensor())

    def as_array(self) -> np.ndarray:
        """The totals, exactly, int64 `(size,)`. Not for use while a step is being compiled."""
        high, low = (ops.convert_to_numpy(limb).astype(np.int64) for limb in (self.high, self.low))
        return (high << _LIMB_BITS) + low

    def as_integers(self) -> list[int]:
        """The totals as Python's integers; see `as_array`."""
        return self.as_array().tolist()


def threshold_of(threshold: float, from_logits: bool) -> float:
    """What a prediction has to exceed to be positive: the threshold itself, or its logit.

    Raises:
        ValueError: the threshold is not a probability between 0 and 1.

    >>> threshold_of(0.5, from_logits=True)
    0.0
    """
    if not 0 < threshold < 1:
        raise ValueError(f"The threshold is {threshold}; expected a probability above 0 and below 1.")
    return math.log(threshold / (1 - threshold)) if from_logits else threshold


def confusion(y_true: KerasTensor, y_pred: KerasTensor, above: float) -> KerasTensor:
    """How the known pixels of each image agree: int32 `(B, 4)` of tp, fp, fn, tn.

    A mask's pixel is foreground if it holds more than 0.5, and ignored if it holds 255. A prediction is
    positive if it is greater than `above`; equal is background, and so is NaN.

    Args:
        y_true: masks, `(B, ..., C)` or `(B, ...)`, integer, bool or float.
        y_pred: predictions, `(B, ..., C)` or `(B, ...)`, at most 2^31 - 1 of them an image.
        above: see `threshold_of`.

    Raises:
        ValueError: the shapes do not match.

    >>> import numpy as np
    >>> counts = confusion(np.uint8([[1, 1, 0, 255]]), np.float32([[2, -1, 3, 4]])[..., None], above=0.0)
    >>> np.asarray(counts).tolist()
    [[1, 1, 1, 0]]
    """
    y_true, y_pred = align(y_true, y_pred)
    is_known = known(y_true)
    foreground = ops.logical_and(ops.greater(y_true, 0.5), is_known)
    positive = ops.logical_and(ops.greater(y_pred, above), is_known)
    pixels, foregrounds, positives = count(is_known), count(foreground), count(positive)
    hits = count(ops.logical_and(foreground, positive))
    return ops.stack([hits, positives - hits, foregrounds - hits, pixels - foregrounds - positives + hits], axis=-1)


def count(where: KerasTensor) -> KerasTensor:
    """How many are true in each image: bool `(B, ...)` to int32 `(B,)`."""
    return ops.sum(ops.cast(where, "int32"), axis=tuple(range(1, len(where.shape))))


def leave_out(values: KerasTensor, sample_weight: Any) -> KerasTensor:
    """Zero the rows of `values`, int32 `(B, size)`, whose weight is 0. Any other weight counts a row once.

    Raises:
        ValueError: `sample_weight` has not one weight an image.
    """
    if sample_weight is None:
        return values
    sample_weight = ops.convert_to_tensor(sample_weight)
    if math.prod(sample_weight.shape) != values.shape[0]:
        raise ValueError(
            f"sample_weight has shape {tuple(sample_weight.shape)} for a batch of {values.shape[0]}; expected "
            "one weight an image. To leave single pixels out, set them to 255 in the mask."
        )
    counted = ops.not_equal(ops.reshape(sample_weight, (-1, 1)), 0)
    return values * ops.cast(counted, "int32")
