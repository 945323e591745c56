"""What a model is predicting, whether it is right or wrong: the look that finds a collapse."""

from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.metrics.counts import ExactSums, count, leave_out, threshold_of
from kseg.targets import align, known, logit

# A sum of probabilities is kept as whole pixels and a fraction in units of 2^-24.
_FRACTION = 2.0**24
# Logits that differ by no more are the same: what is dead differs by 0.
_SAME = 1e-3


class PredictionCounts(NamedTuple):
    """Exact totals over a stretch of training; two of them subtract to the stretch between."""

    pixels: int
    """Known pixels."""
    foreground: int
    """Foreground pixels of the masks."""
    predicted: int
    """Pixels over the threshold."""
    hits: int
    """Foreground pixels over the threshold."""
    not_finite: int
    """Pixels whose prediction is NaN or infinite."""
    whole: int
    """The sum of probabilities, whole part."""
    fraction: int
    """The sum of probabilities, what is over, in 2^-24."""
    images: int
    """Images with any known pixel."""
    constant: int
    """Images whose prediction is the same everywhere, or the same for all images of the batch."""

    @property
    def target_mean(self) -> float:
        """The share of foreground in the masks."""
        return self.foreground / max(self.pixels, 1)

    @property
    def pred_mean(self) -> float:
        """The mean probability over the pixels whose prediction is finite."""
        return (self.whole + self.fraction / _FRACTION) / max(self.pixels - self.not_finite, 1)

    def __sub__(self, earlier: "PredictionCounts") -> "PredictionCounts":
        return PredictionCounts(*(now - then for now, then in zip(self, earlier, strict=True)))


_NOT_FINITE = PredictionCounts._fields.index("not_finite")


@keras.saving.register_keras_serializable("kseg")
class PredictionMonitor(keras.metrics.Metric):
    """The mean probability (`pred_mean`) and the share of foreground in the masks (`target_mean`).

    `result()` is a dict, which Keras logs flat. `pred_mean` is NaN once any prediction was not finite; both
    are 0 for an empty stream. `counts()` tells, exactly, what a collapse detector needs besides.
    It reads each pixel once and keeps a few integers, cheap enough for every step.

    Args:
        threshold: the probability that a predicted pixel exceeds, above 0 and below 1.
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs carry the names of its values.
        dtype: kept for Keras; the state is int32 and the result float32 whatever it is.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, shapes do not match.

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
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.threshold = threshold
        self.from_logits = from_logits
        self._above = threshold_of(threshold, from_logits)
        self._sums = ExactSums(self, len(PredictionCounts._fields))
        self._steps = self.add_variable((), "zeros", dtype="int32", name="steps")
        self._bad_input = self.add_variable((), "zeros", dtype="int32", name="bad_input")
        self._bad_prediction = self.add_variable((), "zeros", dtype="int32", name="bad_prediction")

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        self._steps.assign_add(1)
        y_true, y_pred = align(y_true, y_pred)
        is_known = known(y_true)
        finite = ops.logical_and(is_known, ops.isfinite(y_pred))
        probability = ops.sigmoid(y_pred) if self.from_logits else y_pred
        total = ops.sum(ops.where(finite, probability, 0.0), axis=tuple(range(1, len(y_pred.shape))))
        whole = ops.floor(total)
        pixels = count(is_known)
        foreground = ops.logical_and(is_known, ops.greater(y_true, 0.5))
        predicted = ops.logical_and(finite, ops.greater(y_pred, self._above))
        counts = [
            pixels,
            count(foreground),
            count(predicted),
            count(ops.logical_and(foreground, predicted)),
            pixels - count(finite),
            ops.cast(whole, "int32"),
            ops.cast(ops.round((total - whole) * _FRACTION), "int32"),
            ops.cast(ops.greater(pixels, 0), "int32"),
            _constant(y_pred if self.from_logits else logit(y_pred), is_known),
        ]
        counts = leave_out(ops.stack(counts, axis=-1), sample_weight)
        self._sums.add(counts)
        _note_first(self._bad_prediction, ops.greater(ops.sum(counts[:, _NOT_FINITE]), 0), self._steps.value)

    def look_at_inputs(self, *inputs: KerasTensor) -> None:
        """Note whether images and masks are finite; before `update_state` of the same step."""
        floats = [x for x in inputs if keras.backend.is_float_dtype(keras.backend.standardize_dtype(x.dtype))]
        if floats:
            finite = ops.stack([ops.all(ops.isfinite(x)) for x in floats])
            _note_first(self._bad_input, ops.logical_not(ops.all(finite)), self._steps + 1)

    def result(self) -> dict[str, KerasTensor]:
        pixels, foreground, _, _, not_finite, whole, fraction, *_ = self._sums.as_floats()
        mean = ops.divide_no_nan(whole + fraction / _FRACTION, pixels - not_finite)
        return {
            "pred_mean": ops.where(ops.greater(not_finite, 0), float("nan"), mean),
            "target_mean": ops.divide_no_nan(foreground, pixels),
        }

    def counts(self) -> PredictionCounts:
        """The totals since the last reset, exactly. On JAX, inside a batch, sync the model's state first."""
        return PredictionCounts(*self._sums.as_integers())

    def steps(self) -> int:
        """Steps since the last reset."""
        return int(self._steps)

    def first_not_finite(self) -> tuple[int | None, int | None]:
        """The steps since the last reset, from 1, that first had an input and a prediction which was not finite."""
        return int(self._bad_input) or None, int(self._bad_prediction) or None

    def forget_not_finite(self) -> None:
        """Look for the first anew, from the next step on."""
        self._bad_input.assign(0)
        self._bad_prediction.assign(0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold, "from_logits": self.from_logits}


def _note_first(first: keras.Variable, bad: KerasTensor, step: KerasTensor) -> None:
    """Keep the first step that was bad; 0 is none yet."""
    first.assign(ops.where(ops.logical_and(bad, ops.equal(first.value, 0)), step, first.value))


def _constant(y_pred: KerasTensor, is_known: KerasTensor) -> KerasTensor:
    """1 for each image whose prediction depends on nothing in it, int32 `(B,)`.

    That shows in one image where its prediction is the same everywhere, and in several where it is the same for all:
    zero padding gives the output of a dead network a rim.
    """
    within = tuple(range(1, len(y_pred.shape)))
    greatest = ops.max(ops.where(is_known, y_pred, -float("inf")), axis=within)
    least = ops.min(ops.where(is_known, y_pred, float("inf")), axis=within)
    flat = ops.less_equal(greatest - least, _SAME)
    alike = ops.less_equal(ops.max(ops.abs(y_pred - y_pred[:1]), axis=within), _SAME)
    # The first image is like itself, which says nothing; it is alike if all the others are.
    others = ops.logical_and(ops.all(alike), y_pred.shape[0] is not None and y_pred.shape[0] > 1)
    seen = ops.any(is_known, axis=within)
    return ops.cast(ops.logical_and(ops.logical_or(flat, others), seen), "int32")
