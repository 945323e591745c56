"""F1 at every threshold, from a histogram of logits for each kind of pixel.

A model may rank pixels well while none crosses 0.5: its F1 is 0.000, and it is not dead. The best F1 over all
thresholds, the threshold that gives it, and how far foreground and background pixels lie
apart tell the two from each other.

The bins are even in asinh(8 x), x the logit: 0.0002 wide near 0, 0.15% of x beyond 1, up to |x| = 10,000. An edge
lies at exactly 0, so that F1 at 0.5 is exact. Like every metric of kseg, the histogram holds exact counts.
"""

from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.metrics import ratios
from kseg.metrics.counts import ExactSums
from kseg.targets import align, known, logit

_BINS = 16384
_ROW = 128
_STRETCH = 8.0
_END = 12.0  # of asinh(8 x)
_WIDTH = 2 * _END / _BINS
_LOWER = -_END + _WIDTH * np.arange(_BINS)  # the lower edge of each bin
_CENTRES = (np.sinh(_LOWER + _WIDTH / 2) / _STRETCH).astype("float32")
# The variance within a bin of that width. It keeps the gap of two single values finite, and of one value 0.
_WITHIN = ((np.cosh(_LOWER + _WIDTH / 2) * _WIDTH / _STRETCH) ** 2 / 12).astype("float32")
_TIE = 1e-4  # of F1, what the outermost threshold has to be better than 0.5


class CurvePoint(NamedTuple):
    """What a histogram says; each a float32 scalar."""

    best_f1: KerasTensor
    """The best F1 of all thresholds; 0 without foreground."""
    best_threshold: KerasTensor
    """The probability to exceed for it; of equally good ones the nearest to 0.5."""
    gap: KerasTensor
    """How far the mean logits of foreground and background are apart, in standard deviations; 0 if one has no pixel."""


@keras.saving.register_keras_serializable("kseg")
class ThresholdCurve(keras.metrics.Metric):
    """The best F1 over all thresholds, the threshold that gives it, and the gap between the two kinds of pixels.

    `result()` is a dict, which Keras logs flat: `best_f1`, `best_threshold`, `gap`. `best_f1` is within 0.002 of the
    best of the exact curve, and never above it. The gap is the difference of the mean logits of foreground and
    background over their standard deviation, d' of signal detection (Green and Swets, "Signal detection theory
    and psychophysics", 1966): below 0.5 a model hardly sees anything, above 2 it tells most pixels apart.

    Masks, predictions, ignored pixels and `sample_weight` are as in `kseg.metrics.SegmentationMetrics`; a prediction of
    NaN is background. It keeps 65,536 integers, and costs a pixel little more than other metrics do.

    Args:
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs carry the names of its values.
        dtype: kept for Keras; the state is int32 and the result float32 whatever it is.

    Raises:
        ValueError: in `update_state`, shapes do not match.

    >>> curve = ThresholdCurve(from_logits=False)
    >>> curve.update_state(np.uint8([[1, 1, 0, 0, 255]]), np.float32([[0.3, 0.2, 0.1, 0.25, 0.9]])[..., None])
    >>> {name: round(float(value), 2) for name, value in curve.result().items()}
    {'best_f1': 0.8, 'best_threshold': 0.2, 'gap': 1.23}
    """

    def __init__(self, from_logits: bool = True, name: str | None = "threshold_curve", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.from_logits = from_logits
        self._sums = ExactSums(self, 2 * _BINS)

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        y_true, y_pred = align(y_true, y_pred)
        counted = known(y_true)
        if sample_weight is not None:
            shape = (-1,) + (1,) * (len(y_true.shape) - 1)
            counted = ops.logical_and(counted, ops.reshape(ops.not_equal(sample_weight, 0), shape))
        kind = ops.cast(ops.greater(y_true, 0.5), "int32")
        # What is not counted falls into a bin after the last, which is dropped.
        place = ops.where(counted, _bin(y_pred if self.from_logits else logit(y_pred)) + kind * _BINS, 2 * _BINS)
        place = ops.reshape(place, (-1,))
        histogram = ops.segment_sum(ops.ones_like(place), place, num_segments=2 * _BINS + 1)
        self._sums.add(histogram[None, :-1])

    def result(self) -> dict[str, KerasTensor]:
        return read_histogram(ops.reshape(self._sums.as_tensor(), (2, _BINS)))._asdict()

    def histogram(self) -> np.ndarray:
        """Background and foreground pixels in each bin since the last reset, int64 `(2, bins)`.

        On JAX, inside a batch, sync the model's state first.
        """
        return self._sums.as_array().reshape(2, _BINS)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "from_logits": self.from_logits}


def read_histogram(histogram: KerasTensor) -> CurvePoint:
    """Best F1, its threshold and the gap, from counts of background and foreground pixels `(2, bins)`.

    >>> histogram = np.zeros((2, 16384))
    >>> histogram[0, 2000], histogram[1, 14000] = 90, 10
    >>> [round(float(value), 2) for value in read_histogram(histogram)][:2]
    [1.0, 0.5]
    """
    histogram = ops.cast(histogram, "float32")
    # Everything from a bin upward is positive at the bin's lower edge.
    fp, tp = ops.unstack(ops.flip(_cumsum(ops.flip(histogram, axis=-1)), axis=-1))
    f1 = ratios.f1(tp, fp, tp[0] - tp, fp[0] - fp)
    lower = ops.convert_to_tensor(_LOWER.astype("float32"))
    best = ops.argmax(f1 - _TIE / _END * ops.abs(lower))
    edge = ops.sinh(ops.take(lower, best)) / _STRETCH

    share = ops.divide_no_nan(histogram, ops.sum(histogram, axis=-1, keepdims=True))
    centres, within = ops.convert_to_tensor(_CENTRES), ops.convert_to_tensor(_WITHIN)
    means = ops.sum(share * centres, axis=-1)
    variances = ops.sum(share * ((centres - means[:, None]) ** 2 + within), axis=-1)
    gap = ops.divide_no_nan(means[1] - means[0], ops.sqrt(ops.mean(variances)))
    both = ops.greater(tp[0] * fp[0], 0)
    return CurvePoint(ops.take(f1, best), ops.sigmoid(edge), ops.where(both, gap, 0.0))


def _cumsum(histogram: KerasTensor) -> KerasTensor:
    """`cumsum` along the last axis in two stages: XLA's own, in one, took as long as all the rest on the CPU."""
    rows = ops.reshape(histogram, (2, _BINS // _ROW, _ROW))
    within = ops.cumsum(rows, axis=-1)
    totals = ops.cumsum(within[..., -1], axis=-1)
    before = ops.pad(totals[:, :-1], ((0, 0), (1, 0)))
    return ops.reshape(within + before[..., None], (2, _BINS))


def logit_quantile(histogram: np.ndarray, share: float) -> float:
    """The logit that a share of the pixels in a histogram `(bins,)` lies below; 0 for an empty one.

    >>> round(logit_quantile(np.eye(16384)[8192], 0.5), 3)
    0.0
    """
    total = histogram.sum()
    if not total:
        return 0.0
    return float(_CENTRES[np.searchsorted(np.cumsum(histogram), share * total)])


def _bin(logit: KerasTensor) -> KerasTensor:
    """The bin of each logit, int32: above its lower edge, at most its upper one. NaN is in the first."""
    place = ops.ceil(ops.arcsinh(_STRETCH * logit) / _WIDTH) + (_BINS // 2 - 1)
    place = ops.where(ops.isnan(logit), 0.0, ops.clip(place, 0, _BINS - 1))
    return ops.cast(place, "int32")
