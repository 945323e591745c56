"""Statistics of predictions, whether correct or not, from which a collapse is found."""

from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.backend import one_program
from kseg.metrics.counts import ExactSums, count, leave_out, prediction_threshold, with_output
from kseg.targets import Activation, find_activation, foreground_view, logit, not_ignored

# A sum of probabilities is stored as its integer part and a fraction in units of 2^-24.
_FRACTION = 2.0**24
# Logits that differ by no more than rounding count as equal, relative to their size. Those of a dead network differ by
# 0; those of a last layer that starts at zero, with a small learning rate, by 1e-5 after a few steps.
_SAME = 1e-6


class PredictionCounts(NamedTuple):
    """Exact totals since the last reset; the difference of two of them is the totals of the steps between."""

    pixels: int
    """Pixels that are not ignored."""
    foreground: int
    """Foreground pixels of the masks."""
    predicted: int
    """Pixels predicted as foreground."""
    hits: int
    """Foreground pixels predicted as foreground."""
    not_finite: int
    """Pixels whose prediction is NaN or infinite."""
    whole: int
    """Sum of the probabilities, integer part."""
    fraction: int
    """Sum of the probabilities, the rest, in units of 2^-24."""
    images: int
    """Images with a pixel that is not ignored."""
    constant: int
    """Images with the same prediction at all pixels, or the same prediction as every image of their batch."""

    @property
    def target_mean(self) -> float:
        """Share of foreground in the masks."""
        return self.foreground / max(self.pixels, 1)

    @property
    def pred_mean(self) -> float:
        """Mean probability of the pixels with a finite prediction."""
        return (self.whole + self.fraction / _FRACTION) / max(self.pixels - self.not_finite, 1)

    def __sub__(self, earlier: "PredictionCounts") -> "PredictionCounts":
        return PredictionCounts(*(now - then for now, then in zip(self, earlier, strict=True)))


_NOT_FINITE = PredictionCounts._fields.index("not_finite")


@keras.saving.register_keras_serializable("kseg")
class PredictionMonitor(keras.metrics.Metric):
    """Mean probability (`pred_mean`) and share of foreground in the masks (`target_mean`).

    `result()` is a dict, and Keras logs each value. `pred_mean` is NaN once a prediction was not finite; both are 0
    without pixels. `counts()` has the exact totals for the collapse detector. The state is a few integers, cheap enough
    for every step. Of several classes or labels it sees foreground against background; see
    `kseg.targets.foreground_view`.

    Args:
        threshold: a pixel is predicted as foreground if its probability is greater; above 0 and below 1.
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs have the names of its values.
        dtype: has no effect; the state is int32 and the result float32.
        output_name: in a model of several outputs the name of the output, which is put before the names in the logs.
        activation: "softmax" for one-hot masks with their background; None: the shapes decide.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, the shapes do not match.

    >>> import numpy as np
    >>> monitor = PredictionMonitor(from_logits=False)
    >>> monitor.update_state(np.uint8([[1, 0, 0, 255]]), np.float32([[0.75, 0.25, 0.5, 1.0]])[..., None])
    >>> {name: round(float(value), 4) for name, value in monitor.result().items()}
    {'pred_mean': 0.5, 'target_mean': 0.3333}
    >>> monitor.counts().predicted
    1
    """

    def __init__(
        self,
        threshold: float = 0.5,
        from_logits: bool = True,
        name: str | None = "prediction_monitor",
        dtype: Any = None,
        output_name: str | None = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.output_name = output_name
        self.threshold = threshold
        self.from_logits = from_logits
        self._above = prediction_threshold(threshold, from_logits)
        self.activation = activation
        self.activation_in_use: Activation = "sigmoid"  # in the last update
        self._sums = ExactSums(self, len(PredictionCounts._fields))
        self._steps = self.add_variable((), "zeros", dtype="int32", name="steps")
        self._bad_input = self.add_variable((), "zeros", dtype="int32", name="bad_input")
        self._bad_prediction = self.add_variable((), "zeros", dtype="int32", name="bad_prediction")

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        self._steps.assign_add(1)
        y_true, y_pred = leave_out(y_true, y_pred, sample_weight)
        from_logits, above = self.from_logits, self._above
        self.activation_in_use = find_activation(y_true, y_pred, self.activation)
        if y_pred.shape[-1] != 1:
            y_true, y_pred = foreground_view(y_true, y_pred, from_logits, self.activation)
            from_logits, above = True, prediction_threshold(self.threshold, from_logits=True)
        counts = _count_predictions(y_true, y_pred, from_logits, above)
        self._sums.add(counts)
        _note_first(self._bad_prediction, ops.greater(ops.sum(counts[:, _NOT_FINITE]), 0), self._steps.value)

    def look_at_inputs(self, *inputs: KerasTensor) -> None:
        """Record whether images and masks are finite; call it before `update_state` of the same step."""
        floats = [x for x in inputs if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))]
        if floats:
            finite = ops.stack([ops.all(ops.isfinite(x)) for x in floats])
            _note_first(self._bad_input, ops.logical_not(ops.all(finite)), self._steps + 1)

    def result(self) -> dict[str, KerasTensor]:
        pixels, foreground, _, _, not_finite, whole, fraction, *_ = self._sums.as_floats()
        mean = ops.divide_no_nan(whole + fraction / _FRACTION, pixels - not_finite)
        results = {
            "pred_mean": ops.where(ops.greater(not_finite, 0), float("nan"), mean),
            "target_mean": ops.divide_no_nan(foreground, pixels),
        }
        return with_output(self.output_name, results)

    def counts(self) -> PredictionCounts:
        """Return the exact totals since the last reset. On JAX, inside a batch, call `model.jax_state_sync()` first."""
        return PredictionCounts(*self._sums.as_integers())

    def steps(self) -> int:
        """Return the number of steps since the last reset."""
        return int(self._steps)

    def first_not_finite(self) -> tuple[int | None, int | None]:
        """Return the first step with an input that was not finite, and the first with such a prediction.

        Steps count from 1 after a reset; None if there was no such step.
        """
        return int(self._bad_input) or None, int(self._bad_prediction) or None

    def forget_not_finite(self) -> None:
        """Forget the first steps with values that are not finite; look for new ones from the next step on."""
        self._bad_input.assign(0)
        self._bad_prediction.assign(0)

    def get_config(self) -> dict[str, Any]:
        own = {"threshold": self.threshold, "from_logits": self.from_logits, "output_name": self.output_name}
        return {**super().get_config(), **own, "activation": self.activation}


@one_program("from_logits", "above")
def _count_predictions(y_true: KerasTensor, y_pred: KerasTensor, from_logits: bool, above: float) -> KerasTensor:
    """Return what `PredictionCounts` counts of each image, int32 `(B, 9)`, from aligned masks and predictions."""
    valid = not_ignored(y_true)
    finite = ops.logical_and(valid, ops.isfinite(y_pred))
    probability = ops.sigmoid(y_pred) if from_logits else y_pred
    total = ops.sum(ops.where(finite, probability, 0.0), axis=tuple(range(1, len(y_pred.shape))))
    whole = ops.floor(total)
    pixels = count(valid)
    foreground = ops.logical_and(valid, ops.greater(y_true, 0.5))
    predicted = ops.logical_and(finite, ops.greater(y_pred, above))
    counts = [
        pixels,
        count(foreground),
        count(predicted),
        count(ops.logical_and(foreground, predicted)),
        pixels - count(finite),
        ops.cast(whole, "int32"),
        ops.cast(ops.round((total - whole) * _FRACTION), "int32"),
        ops.cast(ops.greater(pixels, 0), "int32"),
        _is_constant(y_pred if from_logits else logit(y_pred), valid),
    ]
    return ops.stack(counts, axis=-1)


def _note_first(first: keras.Variable, bad: KerasTensor, step: KerasTensor) -> None:
    """Record the first bad step; 0 means none so far."""
    first.assign(ops.where(ops.logical_and(bad, ops.equal(first.value, 0)), step, first.value))


def _is_constant(y_pred: KerasTensor, valid: KerasTensor) -> KerasTensor:
    """Return 1 for each image whose prediction does not depend on the image, int32 `(B,)`.

    Its logits are the same at all pixels, or the same as in every other image of the batch: zero padding gives even
    the output of a dead network a border.
    """
    axes = tuple(range(1, len(y_pred.shape)))
    highest = ops.max(ops.where(valid, y_pred, -float("inf")), axis=axes)
    lowest = ops.min(ops.where(valid, y_pred, float("inf")), axis=axes)
    same = _SAME * (1 + ops.abs(highest))
    flat = ops.less_equal(highest - lowest, same)
    # A comparison pixel by pixel: on JAX, the largest difference of an image takes twenty times as long.
    close = ops.less_equal(ops.abs(y_pred - y_pred[:1]), ops.reshape(same, (-1,) + (1,) * len(axes)))
    equals_first = ops.all(close, axis=axes)
    # The first image always equals itself, so a batch of one image shows nothing.
    all_equal = ops.logical_and(ops.all(equals_first), y_pred.shape[0] is not None and y_pred.shape[0] > 1)
    has_pixels = ops.any(valid, axis=axes)
    return ops.cast(ops.logical_and(ops.logical_or(flat, all_equal), has_pixels), "int32")
