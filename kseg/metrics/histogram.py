"""Histograms of logits, foreground and background pixels apart, and what they say: F1 at every threshold, and the gap.

The coarse bins have equal width in asinh(8 x), with x the logit: 0.0002 near 0, 0.15% of x beyond 1, up to
|x| = 10,000. One edge is exactly 0, so that F1 at 0.5 is exact. The logits of a model that has hardly begun may all lie
in a few of them. So eight in a row, the window, are divided into 1,024 fine bins each.
"""

from typing import NamedTuple

import numpy as np
from keras import KerasTensor, ops

from kseg.backend import one_program
from kseg.metrics import ratios
from kseg.metrics.counts import count_values
from kseg.targets import not_ignored

BINS = 16384
_WINDOW, _PARTS = 8, 1024
FINE_BINS = _WINDOW * _PARTS
NO_WINDOW = -_WINDOW
"""The window's first bin where there is no window: no logit lies in it."""

_ROW = 128
_STRETCH = 8.0
_END = 12.0  # the largest asinh(8 x)
_WIDTH = 2 * _END / BINS
_LOWER = -_END + _WIDTH * np.arange(BINS)  # the lower edge of each bin
_CENTRES = (np.sinh(_LOWER + _WIDTH / 2) / _STRETCH).astype("float32")
# The variance of a uniform distribution within each bin. It keeps the gap between two single values finite.
_BIN_VARIANCES = ((np.cosh(_LOWER + _WIDTH / 2) * _WIDTH / _STRETCH) ** 2 / 12).astype("float32")
# Thresholds whose probability is above 0 and below 1 in float32: beyond them the two kinds are not told apart by any.
_LOWEST, _HIGHEST = (float(np.arcsinh(_STRETCH * logit)) for logit in (-80, 16))
_TIE = 1e-4  # the most extreme threshold is chosen only if its F1 is better by this much than the F1 at 0.5


class CurvePoint(NamedTuple):
    """Results of histograms `(…, 2, bins)`, each float32 `(…)`."""

    best_f1: KerasTensor
    """Best F1 over all thresholds that are a probability in float32; 0 without foreground."""
    best_threshold: KerasTensor
    """Threshold with the best F1, a probability above 0 and below 1; ties go to the one nearest 0.5."""
    gap: KerasTensor
    """Mean foreground logit minus mean background logit, in standard deviations; 0 if one of them has no pixel."""


@one_program()
def count_batch(masks: KerasTensor, logits: KerasTensor, window: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return the pixels of a batch in each bin, int32 `(C, 2, BINS + FINE_BINS)`, background and foreground, and the
    window of each channel, int32 `(C,)`: chosen from this batch where there was none.

    Args:
        masks: float32 `(…, C)`; above 0.5 is foreground, 255 is left out.
        logits: float32 `(…, C)`.
        window: the window of each channel, int32 `(C,)`; see `places`.

    >>> histogram, window = count_batch(np.float32([[1], [0], [255]]), np.float32([[2], [-2], [2]]), np.int32([-8]))
    >>> np.asarray(histogram).sum(-1).tolist()
    [[1, 1]]
    """
    missing = ops.equal(window, NO_WINDOW)
    none = ops.full_like(window, NO_WINDOW)
    window = ops.cond(
        ops.any(missing),
        lambda: ops.where(missing, choose_window(_count(masks, logits, none, BINS)), window),
        lambda: window,
    )
    return _count(masks, logits, window, BINS + FINE_BINS), window


def _count(masks: KerasTensor, logits: KerasTensor, window: KerasTensor, bins: int) -> KerasTensor:
    """Return the pixels in each of so many bins, int32 `(C, 2, bins)`."""
    channels = masks.shape[-1]
    kind = 2 * ops.arange(channels, dtype="int32") + ops.cast(ops.greater(masks, 0.5), "int32")
    place = places(logits, window) + bins * kind
    # Pixels to leave out go to one more bin, which is dropped.
    number = channels * 2 * bins
    counts = count_values(ops.reshape(ops.where(not_ignored(masks), place, number), (-1,)), number + 1)
    return ops.reshape(counts[:-1], (channels, 2, bins))


def places(logits: KerasTensor, window: KerasTensor) -> KerasTensor:
    """Return the bin of each logit, int32: a coarse one, or in the window a fine one, counted from `BINS` on.

    A logit is greater than the lower edge of its bin, and at most its upper edge. NaN is in the first.

    Args:
        logits: float32 `(…, C)`.
        window: the first coarse bin of each channel's window, int32 `(C,)`, or `NO_WINDOW`.

    >>> none = ops.convert_to_tensor([NO_WINDOW])
    >>> print(np.asarray(places(ops.convert_to_tensor([[0.0], [0.00001]]), none)).ravel())
    [8191 8192]
    """
    end = BINS // 2
    position = ops.where(ops.isnan(logits), 0.5 - end, ops.clip(_arcsinh(_STRETCH * logits) / _WIDTH, 0.5 - end, end))
    below = ops.ceil(position) - 1
    part = ops.cast(ops.ceil((position - below) * _PARTS) - 1, "int32")
    coarse = ops.cast(below, "int32") + end
    within = coarse - window
    inside = ops.logical_and(ops.greater_equal(within, 0), ops.less(within, _WINDOW))
    return ops.where(inside, BINS + within * _PARTS + part, coarse)


def _arcsinh(x: KerasTensor) -> KerasTensor:
    """Return the inverse of sinh, as exact as `ops.arcsinh`, which on torch takes six times as long."""
    size = ops.minimum(ops.abs(x), 1e9)  # its square is finite, and it is beyond all bins
    square = size * size
    return ops.sign(x) * ops.log1p(size + square / (1 + ops.sqrt(1 + square)))


def choose_window(histogram: KerasTensor) -> KerasTensor:
    """Return the window around the best threshold, int32 `(…)`, from coarse bins `(…, 2, BINS)`.

    There is none without foreground. What matters is how good a threshold within a bin may be: if all of its
    foreground lies above its background.
    """
    histogram = ops.cast(histogram, "float32")
    (fp, tp), (background, _) = _kinds(_count_above(histogram)), _kinds(histogram)
    possible = ratios.f1(tp, fp - background, tp[..., :1] - tp, fp[..., :1] - fp + background)
    best = ops.cast(ops.argmax(possible, axis=-1), "int32")
    return ops.where(ops.greater(tp[..., 0], 0), ops.clip(best - _WINDOW // 2, 0, BINS - _WINDOW), NO_WINDOW)


@one_program()
def read_histogram(histogram: KerasTensor, window: KerasTensor | None = None) -> CurvePoint:
    """Return the best F1, its threshold and the gap.

    Args:
        histogram: counts of background and foreground pixels, `(…, 2, BINS)`; with a window the fine bins behind them,
            `(…, 2, BINS + FINE_BINS)`.
        window: the first coarse bin of the window, int32 `(…)`.

    >>> histogram = np.zeros((2, 16384))
    >>> histogram[0, 2000], histogram[1, 14000] = 90, 10
    >>> [round(float(value), 2) for value in read_histogram(histogram)][:2]
    [1.0, 0.5]
    """
    histogram = ops.cast(histogram, "float32")
    coarse = histogram if window is None else _as_coarse(histogram, window)
    above = _count_above(coarse)
    edges = ops.broadcast_to(ops.convert_to_tensor(_LOWER.astype("float32")), ops.shape(above[..., 0, :]))
    thresholds = above
    if window is not None:
        fine_above, fine_edges = _count_above_fine(histogram[..., BINS:], above, window)
        thresholds = ops.concatenate([above, fine_above], axis=-1)
        edges = ops.concatenate([edges, fine_edges], axis=-1)
    (fp, tp), (all_background, all_foreground) = _kinds(thresholds), _kinds(above[..., :1])
    f1 = ratios.f1(tp, fp, all_foreground - tp, all_background - fp)
    reachable = ops.logical_and(ops.greater_equal(edges, _LOWEST), ops.less_equal(edges, _HIGHEST))
    best = ops.argmax(ops.where(reachable, f1 - _TIE / _END * ops.abs(edges), -1.0), axis=-1, keepdims=True)
    threshold = ops.sigmoid(ops.sinh(ops.take_along_axis(edges, best, axis=-1)) / _STRETCH)
    return CurvePoint(ops.take_along_axis(f1, best, axis=-1)[..., 0], threshold[..., 0], _gap(coarse))


def logit_quantile(histogram: np.ndarray, share: float) -> float:
    """Return the logit below which this share of the pixels of a histogram `(BINS,)` lies; 0 for an empty histogram.

    >>> round(logit_quantile(np.bincount([8192], minlength=16384), 0.5), 3)
    0.0
    """
    total = histogram.sum()
    if not total:
        return 0.0
    return float(_CENTRES[np.searchsorted(np.cumsum(histogram), share * total)])


def fold(histogram: np.ndarray, window: int) -> np.ndarray:
    """Return the pixels in coarse bins, `(2, BINS)`, from coarse and fine bins, `(2, BINS + FINE_BINS)`."""
    coarse = histogram[:, :BINS].copy()
    if window >= 0:
        coarse[:, window : window + _WINDOW] += histogram[:, BINS:].reshape(2, _WINDOW, _PARTS).sum(-1)
    return coarse


def _as_coarse(histogram: KerasTensor, window: KerasTensor) -> KerasTensor:
    """Return what `fold` returns, of tensors."""
    shape = histogram.shape[:-1]
    sums = ops.sum(ops.reshape(histogram[..., BINS:], (*shape, _WINDOW, _PARTS)), axis=-1)
    within = ops.arange(BINS, dtype="int32") - window[..., None, None]
    inside = ops.logical_and(ops.greater_equal(within, 0), ops.less(within, _WINDOW))
    nearest = ops.broadcast_to(ops.clip(within, 0, _WINDOW - 1), (*shape, BINS))
    return histogram[..., :BINS] + ops.where(inside, ops.take_along_axis(sums, nearest, axis=-1), 0.0)


def _count_above_fine(fine: KerasTensor, above: KerasTensor, window: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return the pixels above each lower edge of the fine bins, `(…, 2, FINE_BINS)`, and those edges, `(…, FINE_BINS)`.

    Pixels that were counted before there was a window, which are background, are taken to lie above all of them.
    """
    first = ops.broadcast_to(ops.maximum(window, 0)[..., None, None], (*above.shape[:-1], 1))
    above_window = ops.take_along_axis(above, first, axis=-1)
    within = _count_above(fine)
    steps = ops.arange(FINE_BINS, dtype="float32") / _PARTS
    edges = (ops.cast(window, "float32")[..., None] - BINS // 2 + steps) * _WIDTH
    return above_window - within[..., :1] + within, edges


def _gap(histogram: KerasTensor) -> KerasTensor:
    share = ops.divide_no_nan(histogram, ops.sum(histogram, axis=-1, keepdims=True))
    centres, bin_variances = ops.convert_to_tensor(_CENTRES), ops.convert_to_tensor(_BIN_VARIANCES)
    means = ops.sum(share * centres, axis=-1)
    variances = ops.sum(share * ((centres - means[..., None]) ** 2 + bin_variances), axis=-1)
    gap = ops.divide_no_nan(means[..., 1] - means[..., 0], ops.sqrt(ops.mean(variances, axis=-1)))
    both_kinds = ops.all(ops.greater(ops.sum(histogram, axis=-1), 0), axis=-1)
    return ops.where(both_kinds, gap, 0.0)


def _kinds(histogram: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return background and foreground, each `(…, bins)`."""
    return histogram[..., 0, :], histogram[..., 1, :]


def _count_above(histogram: KerasTensor) -> KerasTensor:
    """Return the pixels in each bin and all above it, `(…, bins)`: positive with the threshold at its lower edge.

    In two stages: on the CPU, one stage of XLA took as long as all the rest.
    """
    rows = ops.reshape(ops.flip(histogram, axis=-1), (*histogram.shape[:-1], -1, _ROW))
    within = ops.cumsum(rows, axis=-1)
    totals = ops.cumsum(within[..., -1], axis=-1)
    before = totals - within[..., -1]
    return ops.flip(ops.reshape(within + before[..., None], histogram.shape), axis=-1)
