"""What a stretch of training or a validation looked like, in the numbers that a diagnosis is made of."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import keras
import numpy as np

from kseg.metrics import PredictionCounts, PredictionMonitor, ThresholdCurve
from kseg.metrics.curve import logit_quantile, read_histogram

# What is read from a histogram once, and kept in its place.
_READ = ("_curve", "skill", "extreme", "foreground_logit")


@dataclass(frozen=True)
class Window:
    """Exact counts over some batches; two that follow each other add up to one."""

    epoch: int
    """From 1."""
    batch: int
    """The last batch, counted from the beginning of `fit`, from 1."""
    batches: int
    """How many batches."""
    counts: PredictionCounts
    histogram: np.ndarray
    """Background and foreground pixels by logit, int64 `(2, bins)`; see `ThresholdCurve`."""
    loss: float
    """The mean loss; NaN if it is not finite, or not known."""
    loss_broke: bool = False
    """Whether the loss was finite before, and is not now."""
    bad_input: int | None = None
    """The first batch of the epoch whose images or masks were not finite."""
    bad_prediction: int | None = None
    """The first batch of the epoch whose predictions were not finite."""

    def __add__(self, later: "Window") -> "Window":
        batches = self.batches + later.batches
        loss = (self.loss * self.batches + later.loss * later.batches) / max(batches, 1)
        counts = PredictionCounts(*(one + two for one, two in zip(self.counts, later.counts, strict=True)))
        return replace(
            later,
            batches=batches,
            counts=counts,
            histogram=self.histogram + later.histogram,
            loss=loss,
            loss_broke=self.loss_broke or later.loss_broke,
            bad_input=self.bad_input or later.bad_input,
            bad_prediction=self.bad_prediction or later.bad_prediction,
        )

    @property
    def finite(self) -> bool:
        """Whether losses and predictions were."""
        return not (self.counts.not_finite or self.loss_broke)

    @property
    def has_both_kinds(self) -> bool:
        """Whether the masks had foreground and background."""
        return 0 < self.counts.foreground < self.counts.pixels

    def without_histogram(self) -> "Window":
        """The same with all that the histogram says read from it: a run has thousands of windows to remember."""
        for name in _READ:
            getattr(self, name)
        read = replace(self, histogram=np.empty((2, 0), np.int64))
        read.__dict__.update({name: value for name, value in vars(self).items() if name not in vars(read)})
        return read

    def to_plain(self) -> dict[str, Any]:
        """As plain data and arrays, with what was read from the histogram."""
        return {**vars(self), "counts": list(self.counts)}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Window":
        """The reverse."""
        own = {name: value for name, value in plain.items() if name not in _READ}
        window = cls(**own | {"counts": PredictionCounts(*plain["counts"])})
        window.__dict__.update({name: plain[name] for name in _READ if name in plain})
        return window

    @cached_property
    def _curve(self) -> tuple[float, float, float]:
        return tuple(float(value) for value in read_histogram(self.histogram))

    @property
    def best_f1(self) -> float:
        """The best F1 of all thresholds."""
        return self._curve[0]

    @property
    def best_threshold(self) -> float:
        """The threshold of the best F1."""
        return self._curve[1]

    @property
    def gap(self) -> float:
        """How far the logits of foreground and background are apart, in standard deviations."""
        return self._curve[2]

    @property
    def blind_f1(self) -> float:
        """The F1 of predicting everything, without looking at the image: `2 p / (1 + p)`."""
        return _blind_f1(self.counts.target_mean)

    @property
    def f1(self) -> float:
        """F1 at the monitor's threshold."""
        return 2 * self.counts.hits / max(self.counts.predicted + self.counts.foreground, 1)

    @cached_property
    def skill(self) -> float:
        """How much better the best threshold is than predicting everything; 0 knows nothing, 1 is perfect.

        Of the rarer kind of pixel: where most is foreground, predicting everything leaves nothing to be better than.
        """
        share, best = self.counts.target_mean, self.best_f1
        if share > 0.5:
            # Background, ranked from the other end.
            share, best = 1 - share, float(read_histogram(self.histogram[::-1, ::-1].copy()).best_f1)
        blind = _blind_f1(share)
        return (best - blind) / (1 - blind)

    @property
    def one_sided(self) -> str | None:
        """ "background" or "foreground" if next to all was predicted so, and should not have been."""
        counts = self.counts
        if counts.predicted < _NEXT_TO_NONE * counts.foreground:
            return "background"
        if counts.pixels - counts.predicted < _NEXT_TO_NONE * (counts.pixels - counts.foreground):
            return "foreground"
        return None

    @cached_property
    def extreme(self) -> float:
        """The size that 1% of the logits exceed on either side."""
        both = self.histogram.sum(axis=0)
        return max(-logit_quantile(both, 0.01), logit_quantile(both, 0.99))

    @cached_property
    def foreground_logit(self) -> float:
        """The median logit of foreground pixels."""
        return logit_quantile(self.histogram[1], 0.5)


def _blind_f1(share: float) -> float:
    return 2 * share / (1 + share)


# Fewer pixels than this share of those there should be are next to none.
_NEXT_TO_NONE = 0.02
_NOTHING = PredictionCounts(*[0] * len(PredictionCounts._fields))


class Reader:
    """Reads windows from the metrics of a model that is being trained.

    Args:
        model: compiled with a `PredictionMonitor` and a `ThresholdCurve` among its metrics.

    Raises:
        ValueError: one of them is missing.
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self.monitor = _metric(model, PredictionMonitor)
        self._curve = _metric(model, ThresholdCurve)
        self._loss = next((metric for metric in model.metrics if metric.name == "loss"), None)
        self.begin()

    def begin(self) -> None:
        """The metrics are about to be reset, or have been."""
        self._before = (_NOTHING, 0, 0.0, 0.0)

    def get_state(self) -> list[Any]:
        """What the metrics had counted the last time."""
        counts, *others = self._before
        return [list(counts), *others]

    def set_state(self, state: list[Any]) -> None:
        """Count from there."""
        counts, *others = state
        self._before = (PredictionCounts(*counts), *others)

    def read(self, epoch: int, batch: int, batches: int) -> Window:
        """What came since the last time, or since `begin`. On JAX, inside a batch, sync the model's state first."""
        total, count = (float(variable) for variable in self._loss.variables) if self._loss else (0.0, 0.0)
        now = (self.monitor.counts(), self._curve.histogram(), total, count)
        counts, histogram, new_total, new_count = (one - other for one, other in zip(now, self._before, strict=True))
        loss_broke = math.isfinite(self._before[2]) and not math.isfinite(total)
        self._before = now
        start = batch - self.monitor.steps()
        bad_input, bad_prediction = (step and start + step for step in self.monitor.first_not_finite())
        loss = new_total / new_count if new_count > 0 else math.nan
        return Window(epoch, batch, batches, counts, histogram, loss, loss_broke, bad_input, bad_prediction)

    def watch_inputs(self) -> None:
        """Have every training step tell the monitor whether its input is finite."""
        if getattr(self._model, "_kseg_watched", None) is self.monitor:
            return
        compute_metrics = type(self._model).compute_metrics.__get__(self._model)

        def watched(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
            self.monitor.look_at_inputs(*keras.tree.flatten((x, y)))
            return compute_metrics(x, y, y_pred, sample_weight=sample_weight)

        # Keras calls it in every step with what metrics do not get, the images. A step compiled before has to be again.
        self._model.compute_metrics = watched
        self._model.train_function = None
        self._model._kseg_watched = self.monitor


def _metric(model: keras.Model, kind: type[keras.metrics.Metric]) -> Any:
    for metric in model.metrics:
        # compile(metrics=…) arrives as one metric that holds the others.
        for inner in getattr(metric, "metrics", [metric]):
            if isinstance(inner, kind):
                return inner
    raise ValueError(
        f"CollapseDetector found no {kind.__name__} among the model's metrics; expected model.compile(…, "
        "metrics=[kseg.metrics.PredictionMonitor(), kseg.metrics.ThresholdCurve()])."
    )
