"""Exact counts: the confusion of the classes in each image, and totals that neither saturate nor wrap.

A float32 total stops growing at 2^24 pixels (64 masks of 512 x 512), an int32 total wraps at 2^31, and JAX has no
int64 by default. So a total is two int32 limbs, `high * 2^30 + low`, with a carry: exact up to 2^61. Integer sums do
not depend on their order, so neither do the metrics.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.backend import one_program
from kseg.targets import (
    Activation,
    align,
    ignore_zero_weights,
    not_ignored,
    pixel_weights,
)

_LIMB_BITS = 30
_BYTES = 4  # of an int32


class ExactSums:
    """Totals of non-negative integers, as two int32 variables of a metric.

    Args:
        metric: owns the variables, and sets them to 0 in `reset_state`.
        size: the number of totals.

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
        """Add the rows of `values`, int32 `(B, size)` in [0, 2^31), with B below 2^23."""
        low = ops.convert_to_tensor(self.low)
        if values.shape[0] == 1:
            low = low + ops.bitwise_and(values[0], 2**_LIMB_BITS - 1)
            self._store(low, ops.right_shift(values[0], _LIMB_BITS))
            return
        # The bytes of the values are added up one by one, so that no sum over the rows reaches 2^31.
        carry = ops.zeros_like(low)
        for byte in range(_BYTES):
            digit = ops.sum(ops.bitwise_and(ops.right_shift(values, 8 * byte), 255), axis=0) + carry
            carry = ops.right_shift(digit, 8)
            kept = ops.bitwise_and(digit, 255)
            if byte == _BYTES - 1:  # of which six bits are below 2^30
                carry = ops.left_shift(carry, 2) + ops.right_shift(kept, 6)
                kept = ops.bitwise_and(kept, 63)
            low = low + ops.left_shift(kept, 8 * byte)
        self._store(low, carry)

    def _store(self, low: KerasTensor, carry: KerasTensor) -> None:
        """Store totals whose low limb may be above 2^30, and what to add to the high one."""
        self.low.assign(ops.bitwise_and(low, 2**_LIMB_BITS - 1))
        self.high.assign(self.high + carry + ops.right_shift(low, _LIMB_BITS))

    def as_tensor(self) -> KerasTensor:
        """Return the totals as float32 `(size,)`; the relative error is at most 1.2e-7."""
        high = ops.cast(self.high.value, "float32")
        low = ops.cast(self.low.value, "float32")
        return high * 2.0**_LIMB_BITS + low

    def as_floats(self) -> list[KerasTensor]:
        """Return the totals as a list of scalars; see `as_tensor`."""
        return ops.unstack(self.as_tensor())

    def as_array(self) -> np.ndarray:
        """Return the exact totals, int64 `(size,)`. Not for use in a compiled step."""
        high, low = (ops.convert_to_numpy(limb).astype(np.int64) for limb in (self.high, self.low))
        return (high << _LIMB_BITS) + low

    def as_integers(self) -> list[int]:
        """Return the exact totals as Python integers; see `as_array`."""
        return self.as_array().tolist()


def with_output(output_name: str | None, results: dict[str, Any]) -> dict[str, Any]:
    """Return results by their names in the logs, with the name of the output before each, if there is one.

    Keras puts it before the name of a metric, but not before the names in a dict of results.

    >>> with_output("left", {"f1": 0.5})
    {'left_f1': 0.5}
    """
    return {f"{output_name}_{name}" if output_name else name: value for name, value in results.items()}


def prediction_threshold(threshold: float, from_logits: bool) -> float:
    """Return the threshold for predictions: the probability itself, or its logit.

    Raises:
        ValueError: the threshold is not above 0 and below 1.

    >>> prediction_threshold(0.5, from_logits=True)
    0.0
    """
    if not 0 < threshold < 1:
        raise ValueError(f"The threshold is {threshold}; expected a probability above 0 and below 1.")
    return math.log(threshold / (1 - threshold)) if from_logits else threshold


@one_program("above", "activation")
def confusion_counts(
    y_true: KerasTensor, y_pred: KerasTensor, above: float, activation: Activation = "sigmoid"
) -> KerasTensor:
    """Return tp, fp, fn, tn of each image and class, int32 `(B, C, 4)`.

    By sigmoid a pixel of a mask is foreground if it is above 0.5, and ignored if it is 255; a prediction is positive if
    it is greater than `above`; equal is background, and so is NaN. By softmax each class is compared with all others;
    see `confusion_matrices`.

    Args:
        y_true: aligned masks; see `kseg.targets.align`.
        y_pred: aligned predictions, `(B, ..., C)`, at most 2^31 - 1 per image.
        above: see `prediction_threshold`.
        activation: see `kseg.targets.find_activation`.

    >>> import numpy as np
    >>> mask, logits = np.float32([[[1], [1], [0], [255]]]), np.float32([[[2], [-1], [3], [4]]])
    >>> np.asarray(confusion_counts(mask, logits, above=0.0)).tolist()
    [[[1, 1, 1, 0]]]
    """
    if activation == "softmax":
        matrix = confusion_matrices(y_true, y_pred)
        tp = ops.diagonal(matrix, axis1=1, axis2=2)
        fp, fn = ops.sum(matrix, axis=1) - tp, ops.sum(matrix, axis=2) - tp
        return ops.stack([tp, fp, fn, ops.sum(matrix, axis=(1, 2))[:, None] - tp - fp - fn], axis=-1)
    valid = not_ignored(y_true)
    foreground = ops.logical_and(ops.greater(y_true, 0.5), valid)
    positive = ops.logical_and(ops.greater(y_pred, above), valid)
    pixels, foregrounds, positives = (_count_by_channel(where) for where in (valid, foreground, positive))
    tp = _count_by_channel(ops.logical_and(foreground, positive))
    return ops.stack([tp, positives - tp, foregrounds - tp, pixels - foregrounds - positives + tp], axis=-1)


@one_program()
def confusion_matrices(y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
    """Return how many pixels of each class were predicted as each, int32 `(B, C, C)`: rows of the masks.

    A pixel is predicted as the class with the largest logit, the first of equal ones; as background, class 0, if one of
    its logits is NaN. Pixels of no class, among them 255, are left out.

    Args:
        y_true: aligned masks: class indices `(B, ..., 1)`, or one-hot `(B, ..., C)`.
        y_pred: aligned logits or probabilities, `(B, ..., C)`.
    """
    images, classes = ops.shape(y_pred)[0], y_pred.shape[-1]
    if y_true.shape[-1] != 1:
        valid = ops.all(not_ignored(y_true), axis=-1)
        truth = ops.where(valid, ops.cast(ops.argmax(y_true, axis=-1), "float32"), float(classes))
    else:
        truth = y_true[..., 0]
    has_class = ops.logical_and(ops.greater_equal(truth, 0.0), ops.less(truth, classes))
    is_nan = ops.any(ops.isnan(y_pred), axis=-1)
    predicted = ops.where(is_nan, 0, ops.cast(ops.argmax(y_pred, axis=-1), "int32"))
    place = ops.cast(ops.where(has_class, truth, 0.0), "int32") * classes + predicted
    image = ops.reshape(ops.arange(images, dtype="int32"), (-1,) + (1,) * (len(place.shape) - 1))
    # What is left out goes to one more place, which is dropped.
    place = ops.reshape(ops.where(has_class, image * classes**2 + place, images * classes**2), (-1,))
    counts = count_values(place, images * classes**2 + 1)
    return ops.reshape(counts[:-1], (images, classes, classes))


def count_values(values: KerasTensor, number: int) -> KerasTensor:
    """Return how often each integer from 0 to `number` - 1 occurs, int32 `(number,)`; exact below 2^31.

    >>> import numpy as np
    >>> np.asarray(count_values(np.int32([2, 0, 2]), 4)).tolist()
    [1, 0, 2, 0]
    """
    if keras.config.backend() == "torch":  # its segment_sum adds floats, exact to 2^24, and takes 17 times as long
        return ops.bincount(values, minlength=number)
    return ops.segment_sum(ops.ones_like(values), values, num_segments=number)


def count(pixels: KerasTensor) -> KerasTensor:
    """Count the true pixels of each image: bool `(B, ...)` to int32 `(B,)`."""
    return ops.sum(pixels, axis=tuple(range(1, len(pixels.shape))))


def _count_by_channel(pixels: KerasTensor) -> KerasTensor:
    """Count the true pixels of each image and channel: bool `(B, ..., C)` to int32 `(B, C)`."""
    return ops.sum(pixels, axis=tuple(range(1, len(pixels.shape) - 1)))


def leave_out(y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any) -> tuple[KerasTensor, KerasTensor]:
    """Return mask and prediction, aligned, where the mask is 255, ignored, at each pixel of weight 0.

    Any other weight counts as 1: a metric counts pixels.

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel.
        y_pred: predictions, `(B, ..., C)`.
        sample_weight: None, one weight an image, `(B,)`, or one a pixel, `(B, ...)` or `(B, ..., 1)`.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align` and `kseg.targets.pixel_weights`.
    """
    y_true, y_pred = align(y_true, y_pred)
    if sample_weight is None:
        return y_true, y_pred
    weight = pixel_weights(sample_weight, y_pred)
    if weight is None:
        weight = ops.cast(ops.convert_to_tensor(sample_weight), "float32")
        if math.prod(weight.shape) != y_pred.shape[0]:
            raise ValueError(
                f"sample_weight has shape {tuple(weight.shape)} for a batch of {y_pred.shape[0]}; expected one weight "
                "an image, or one a pixel."
            )
        weight = ops.reshape(weight, (-1,) + (1,) * (len(y_pred.shape) - 1))
    return ignore_zero_weights(y_true, weight), y_pred
