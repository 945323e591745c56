"""What a model is predicting, whether it is right or wrong: the look that finds a collapse."""

from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.masks import align, known
from kseg.metrics.counts import ExactSums, count, leave_out, threshold_of

# A sum of probabilities is kept as whole pixels and a fraction in units of 2^-24.
_FRACTION = 2.0**24


class PredictionCounts(NamedTuple):
    """Exact totals over a stretch of training; two of them subtract to the stretch between."""

    pixels: int
    """Known pixels."""
    foreground: int
    """Foreground pixels of the masks."""
    predicted: int
    """Pixels over the threshold."""
    not_finite: int
    """Pixels whose prediction is NaN or infinite."""
    whole: int
    """The sum of probabilities, whole part."""
    fraction: int
    """The sum of probabilities, what is over, in 2^-24."""

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


@keras.saving.register_keras_serializable("kseg")
class PredictionMonitor(keras.metrics.Metric):
    """The mean probability (`pred_mean`) and the share of foreground in the masks (`target_mean`).

    `result()` is a dict, which Keras logs flat. `pred_mean` is NaN once any prediction was not finite; both
    are 0 for an empty stream. `counts()` tells, exactly, what a collapse detector needs besides.
    It reads each pixel once and keeps twelve integers, cheap enough for every step.

    Args:
        threshold: the probability that a predicted pixel exceeds, above 0 and below 1.
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs carry the names of its values.
        dtype: kept for Keras; the state is int32 and the result float32 whatever it is.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, shapes do not match.

    >>> import numpy as np
    >>> monitor = PredictionMonitor(from_logits=False)
    >>> monitor.update_state(np.uint8([[1, 0, 0, 255]]), np.float32([[0.75, 0.25, 0.5, 1.0]]))
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

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        y_true, y_pred = align(y_true, y_pred)
        is_known = known(y_true)
        finite = ops.logical_and(is_known, ops.isfinite(y_pred))
        probability = ops.sigmoid(y_pred) if self.from_logits else y_pred
        total = ops.sum(ops.where(finite, probability, 0.0), axis=tuple(range(1, len(y_pred.shape))))
        whole = ops.floor(total)
        pixels = count(is_known)
        counts = [
            pixels,
            count(ops.logical_and(is_known, ops.greater(y_true, 0.5))),
            count(ops.logical_and(finite, ops.greater(y_pred, self._above))),
            pixels - count(finite),
            ops.cast(whole, "int32"),
            ops.cast(ops.round((total - whole) * _FRACTION), "int32"),
        ]
        self._sums.add(leave_out(ops.stack(counts, axis=-1), sample_weight))

    def result(self) -> dict[str, KerasTensor]:
        pixels, foreground, _, not_finite, whole, fraction = self._sums.as_floats()
        mean = ops.divide_no_nan(whole + fraction / _FRACTION, pixels - not_finite)
        return {
            "pred_mean": ops.where(ops.greater(not_finite, 0), float("nan"), mean),
            "target_mean": ops.divide_no_nan(foreground, pixels),
        }

    def counts(self) -> PredictionCounts:
        """The totals since the last reset, exactly. On JAX, inside a batch, sync the model's state first."""
        return PredictionCounts(*self._sums.as_integers())

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold, "from_logits": self.from_logits}
