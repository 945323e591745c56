"""F1 at every threshold, from two histograms of logits: foreground and background pixels.

A model may rank pixels well while none of them exceeds 0.5: its F1 is 0.000, but it has learned. The best F1 over all
thresholds, its threshold, and the distance between foreground and background logits show the difference.

The bins have equal width in asinh(8 x), with x the logit: 0.0002 near 0, 0.15% of x beyond 1, up to |x| = 10,000. One
edge is exactly 0, so that F1 at 0.5 is exact. The histograms are exact counts.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.metrics import ratios
from kseg.metrics.counts import ExactSums, leave_out, with_output
from kseg.targets import Activation, foreground_view, not_ignored

_BINS = 16384
_ROW = 128
_STRETCH = 8.0
_END = 12.0  # the largest asinh(8 x)
_WIDTH = 2 * _END / _BINS
_LOWER = -_END + _WIDTH * np.arange(_BINS)  # the lower edge of each bin
_CENTRES = (np.sinh(_LOWER + _WIDTH / 2) / _STRETCH).astype("float32")
# The variance of a uniform distribution within each bin. It keeps the gap between two single values finite.
_BIN_VARIANCES = ((np.cosh(_LOWER + _WIDTH / 2) * _WIDTH / _STRETCH) ** 2 / 12).astype("float32")
# Thresholds whose probability is above 0 and below 1 in float32: beyond them the two kinds are not told apart by any.
_EDGES = np.sinh(_LOWER) / _STRETCH
_REACHABLE = (_EDGES >= -80) & (_EDGES <= 16)
_TIE = 1e-4  # the most extreme threshold is chosen only if its F1 is better by this much than the F1 at 0.5


class CurvePoint(NamedTuple):
    """Results of a histogram, each a float32 scalar."""

    best_f1: KerasTensor
    """Best F1 over all thresholds that are a probability in float32; 0 without foreground."""
    best_threshold: KerasTensor
    """Threshold with the best F1, a probability above 0 and below 1; ties go to the one nearest 0.5."""
    gap: KerasTensor
    """Mean foreground logit minus mean background logit, in standard deviations; 0 if one of them has no pixel."""


@keras.saving.register_keras_serializable("kseg")
class ThresholdCurve(keras.metrics.Metric):
    """Best F1 over all thresholds, its threshold, and the gap between foreground and background logits.

    `result()` is a dict, and Keras logs each value: `best_f1`, `best_threshold`, `gap`. `best_f1` is at most 0.002
    below the best F1 of the exact curve, if no bin holds more than 0.1% of the foreground, and never above it. The
    thresholds are those that float32 tells from 0 and 1: logits of -80 to 16. The gap is the mean foreground logit
    minus the mean background logit, divided by their standard deviation: d' of signal detection (Green and Swets,
    "Signal detection theory and psychophysics", 1966). Below 0.5 a model sees hardly anything; above 2 it separates
    most pixels.

    Masks, predictions, ignored pixels and `sample_weight` are as in `kseg.metrics.SegmentationMetrics`; NaN is
    background. Of several classes or labels it sees foreground against background; see `kseg.targets.foreground_view`.
    The state is 65,536 integers; an update takes little longer than that of the other metrics.

    Args:
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs have the names of its values.
        dtype: has no effect; the state is int32 and the result float32.
        output_name: in a model of several outputs the name of the output, which is put before the names in the logs.
        activation: "softmax" for one-hot masks with their background; None: the shapes decide.

    Raises:
        ValueError: in `update_state`, the shapes do not match.

    >>> curve = ThresholdCurve(from_logits=False)
    >>> curve.update_state(np.uint8([[1, 1, 0, 0, 255]]), np.float32([[0.3, 0.2, 0.1, 0.25, 0.9]])[..., None])
    >>> {name: round(float(value), 2) for name, value in curve.result().items()}
    {'best_f1': 0.8, 'best_threshold': 0.2, 'gap': 1.23}
    """

    def __init__(
        self,
        from_logits: bool = True,
        name: str | None = "threshold_curve",
        dtype: Any = None,
        output_name: str | None = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.output_name = output_name
        self.activation = activation
        self.from_logits = from_logits
        self._sums = ExactSums(self, 2 * _BINS)

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        y_true, y_pred = leave_out(y_true, y_pred, sample_weight)
        y_true, logits = foreground_view(y_true, y_pred, self.from_logits, self.activation)
        valid = not_ignored(y_true)
        foreground = ops.cast(ops.greater(y_true, 0.5), "int32")
        index = _bin_index(logits) + foreground * _BINS
        # Pixels to leave out go to one more bin, which is dropped.
        index = ops.reshape(ops.where(valid, index, 2 * _BINS), (-1,))
        histogram = ops.segment_sum(ops.ones_like(index), index, num_segments=2 * _BINS + 1)
        self._sums.add(histogram[None, :-1])

    def result(self) -> dict[str, KerasTensor]:
        return with_output(self.output_name, read_histogram(ops.reshape(self._sums.as_tensor(), (2, _BINS)))._asdict())

    def histogram(self) -> np.ndarray:
        """Return the pixels in each bin since the last reset, background and foreground, int64 `(2, bins)`.

        On JAX, inside a batch, call `model.jax_state_sync()` first.
        """
        return self._sums.as_array().reshape(2, _BINS)

    def get_config(self) -> dict[str, Any]:
        own = {"from_logits": self.from_logits, "output_name": self.output_name, "activation": self.activation}
        return {**super().get_config(), **own}


def read_histogram(histogram: KerasTensor) -> CurvePoint:
    """Return the best F1, its threshold and the gap from counts of background and foreground pixels, `(2, bins)`.

    >>> histogram = np.zeros((2, 16384))
    >>> histogram[0, 2000], histogram[1, 14000] = 90, 10
    >>> [round(float(value), 2) for value in read_histogram(histogram)][:2]
    [1.0, 0.5]
    """
    histogram = ops.cast(histogram, "float32")
    # With the threshold at a bin's lower edge, this bin and all above it are positive.
    fp, tp = ops.unstack(ops.flip(_cumsum(ops.flip(histogram, axis=-1)), axis=-1))
    f1 = ratios.f1(tp, fp, tp[0] - tp, fp[0] - fp)
    lower = ops.convert_to_tensor(_LOWER.astype("float32"))
    reachable = ops.convert_to_tensor(_REACHABLE)
    best = ops.argmax(ops.where(reachable, f1 - _TIE / _END * ops.abs(lower), -1.0))
    edge = ops.sinh(ops.take(lower, best)) / _STRETCH

    share = ops.divide_no_nan(histogram, ops.sum(histogram, axis=-1, keepdims=True))
    centres, bin_variances = ops.convert_to_tensor(_CENTRES), ops.convert_to_tensor(_BIN_VARIANCES)
    means = ops.sum(share * centres, axis=-1)
    variances = ops.sum(share * ((centres - means[:, None]) ** 2 + bin_variances), axis=-1)
    gap = ops.divide_no_nan(means[1] - means[0], ops.sqrt(ops.mean(variances)))
    both_kinds = ops.greater(tp[0] * fp[0], 0)
    return CurvePoint(ops.take(f1, best), ops.sigmoid(edge), ops.where(both_kinds, gap, 0.0))


def _cumsum(histogram: KerasTensor) -> KerasTensor:
    """Return `cumsum` along the last axis, in two stages: on the CPU, one stage of XLA took as long as all the rest."""
    rows = ops.reshape(histogram, (2, _BINS // _ROW, _ROW))
    within = ops.cumsum(rows, axis=-1)
    totals = ops.cumsum(within[..., -1], axis=-1)
    before = ops.pad(totals[:, :-1], ((0, 0), (1, 0)))
    return ops.reshape(within + before[..., None], (2, _BINS))


def logit_quantile(histogram: np.ndarray, share: float) -> float:
    """Return the logit below which this share of the pixels of a histogram `(bins,)` lies; 0 for an empty histogram.

    >>> round(logit_quantile(np.eye(16384)[8192], 0.5), 3)
    0.0
    """
    total = histogram.sum()
    if not total:
        return 0.0
    return float(_CENTRES[np.searchsorted(np.cumsum(histogram), share * total)])


def _bin_index(logits: KerasTensor) -> KerasTensor:
    """Return the bin of each logit, int32: greater than its lower edge, at most its upper edge. NaN is in the first."""
    index = ops.ceil(ops.arcsinh(_STRETCH * logits) / _WIDTH) + (_BINS // 2 - 1)
    index = ops.where(ops.isnan(logits), 0.0, ops.clip(index, 0, _BINS - 1))
    return ops.cast(index, "int32")
