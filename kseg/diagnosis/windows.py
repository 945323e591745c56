"""The numbers that a diagnosis is made from, over some batches of training or over a validation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np

from kseg.diagnosis.updates import WeightSample, trainable_share
from kseg.keras_private import observe_inputs
from kseg.metrics import PredictionCounts, PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.metrics.histogram import logit_quantile, read_histogram

# Computed from a histogram and a confusion matrix once, and kept instead of them.
_FROM_HISTOGRAM = ("_curve", "skill", "extreme", "foreground_logit", "classes")
Kind = TypeVar("Kind", bound=keras.metrics.Metric)

_NO_CONFUSION = np.zeros((0, 0), np.int64)


class ClassCount(NamedTuple):
    """What became of the pixels of a class."""

    pixels: int
    """Pixels of the class in the masks."""
    predicted: int
    """Pixels predicted as the class."""
    hits: int
    """Pixels of the class predicted as it."""
    taken_for: int
    """The class that most of its pixels were predicted as."""
    taken: int
    """How many of its pixels were."""

    @property
    def f1(self) -> float:
        """F1 of the class; 0 if it is in no mask."""
        return 2 * self.hits / max(self.pixels + self.predicted, 1)


@dataclass(frozen=True)
class Window:
    """Exact counts over some batches. `first + second` is the window of both, where `second` follows `first`."""

    epoch: int
    """From 1."""
    batch: int
    """The last batch, counted from the beginning of `fit`, from 1."""
    batches: int
    """The number of batches."""
    counts: PredictionCounts
    histogram: np.ndarray
    """Background and foreground pixels by logit, int64 `(2, bins)`; see `ThresholdCurve`."""
    loss: float
    """The mean loss; NaN if it is not finite or not known."""
    loss_broke: bool = False
    """Whether the loss was finite before this window and is not at its end."""
    bad_input: int | None = None
    """The first batch of the epoch whose images or masks were not finite."""
    bad_prediction: int | None = None
    """The first batch of the epoch whose predictions were not finite."""
    update: float = math.nan
    """|Δw| / |w| a batch: how far the trainable weights moved, relative to their size; NaN where it is not known."""
    trainable: float = math.nan
    """The share of the model's parameters that are trainable; NaN where it is not known."""
    confusion: np.ndarray = field(default_factory=_NO_CONFUSION.copy)
    """How many pixels of each class were predicted as each, int64 `(C, C)`; `(0, 0)` if there is one class."""
    class_names: tuple[str, ...] = ()
    """The names of the classes, background first; empty where they are not known."""

    def __add__(self, later: "Window") -> "Window":
        batches = self.batches + later.batches
        loss, update = (
            (one * self.batches + two * later.batches) / max(batches, 1)
            for one, two in ((self.loss, later.loss), (self.update, later.update))
        )
        counts = PredictionCounts(*(one + two for one, two in zip(self.counts, later.counts, strict=True)))
        return replace(
            later,
            batches=batches,
            counts=counts,
            histogram=self.histogram + later.histogram,
            loss=loss,
            update=update,
            loss_broke=self.loss_broke or later.loss_broke,
            confusion=self.confusion + later.confusion
            if self.confusion.size == later.confusion.size
            else _NO_CONFUSION,
            bad_input=self.bad_input or later.bad_input,
            bad_prediction=self.bad_prediction or later.bad_prediction,
        )

    @property
    def finite(self) -> bool:
        """Whether all losses and predictions are finite."""
        return not (self.counts.not_finite or self.loss_broke)

    @property
    def has_both_kinds(self) -> bool:
        """Whether the masks have both foreground and background."""
        return 0 < self.counts.foreground < self.counts.pixels

    def without_histogram(self) -> "Window":
        """Compute everything that needs the histogram, and drop it: a run keeps thousands of windows."""
        for name in _FROM_HISTOGRAM:
            getattr(self, name)
        small = replace(self, histogram=np.empty((2, 0), np.int64), confusion=_NO_CONFUSION)
        small.__dict__.update({name: value for name, value in vars(self).items() if name not in vars(small)})
        return small

    def to_plain(self) -> dict[str, Any]:
        """Return plain data and arrays, with what was computed from the histogram."""
        plain = {**vars(self), "counts": list(self.counts), "class_names": list(self.class_names)}
        return plain | ({"classes": [list(counts) for counts in self.classes]} if "classes" in plain else {})

    @cached_property
    def classes(self) -> list[ClassCount]:
        """What became of the pixels of each class; empty if there is one class."""
        matrix = self.confusion
        rows, columns = matrix.sum(1).tolist(), matrix.sum(0).tolist()
        return [
            ClassCount(row, column, int(counts[index]), int(counts.argmax()), int(counts.max()))
            for index, (row, column, counts) in enumerate(zip(rows, columns, matrix, strict=True))
        ]

    def name_of(self, index: int) -> str:
        """Return the name of a class, or its index."""
        return self.class_names[index] if index < len(self.class_names) else f"class {index}"

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Window":
        """Make a window from what `to_plain` returned."""
        own = {name: value for name, value in plain.items() if name not in _FROM_HISTOGRAM}
        own["class_names"] = tuple(own.get("class_names", ()))
        window = cls(**own | {"counts": PredictionCounts(*plain["counts"])})
        window.__dict__.update({name: plain[name] for name in _FROM_HISTOGRAM if name in plain})
        window.__dict__["classes"] = [ClassCount(*counts) for counts in plain.get("classes", [])]
        return window

    @cached_property
    def _curve(self) -> tuple[float, float, float]:
        f1, threshold, gap = read_histogram(self.histogram)
        return float(f1), float(threshold), float(gap)

    @property
    def best_f1(self) -> float:
        """The best F1 over all thresholds."""
        return self._curve[0]

    @property
    def best_threshold(self) -> float:
        """The threshold of the best F1."""
        return self._curve[1]

    @property
    def gap(self) -> float:
        """The distance between the logits of foreground and background, in standard deviations."""
        return self._curve[2]

    @property
    def blind_f1(self) -> float:
        """The F1 of predicting foreground everywhere, for a share p of foreground: `2 p / (1 + p)`."""
        return _blind_f1(self.counts.target_mean)

    @property
    def f1(self) -> float:
        """F1 at the monitor's threshold."""
        return 2 * self.counts.hits / max(self.counts.predicted + self.counts.foreground, 1)

    @cached_property
    def skill(self) -> float:
        """How much better the best threshold is than predicting foreground everywhere: 0 is no better, 1 is perfect.

        Where most pixels are foreground it is computed for background, because foreground everywhere is then nearly
        perfect.
        """
        share, best = self.counts.target_mean, self.best_f1
        if share > 0.5:
            # The histogram of background: kinds swapped, logits negated.
            share, best = 1 - share, float(read_histogram(self.histogram[::-1, ::-1].copy()).best_f1)
        blind = _blind_f1(share)
        return (best - blind) / (1 - blind)

    @property
    def one_sided(self) -> str | None:
        """ "background" or "foreground" if nearly all pixels are wrongly predicted as that; else None."""
        counts = self.counts
        if counts.predicted < _NEARLY_NONE * counts.foreground:
            return "background"
        if counts.pixels - counts.predicted < _NEARLY_NONE * (counts.pixels - counts.foreground):
            return "foreground"
        return None

    @cached_property
    def extreme(self) -> float:
        """The larger of the 99% quantiles of the logits and of the negated logits."""
        both = self.histogram.sum(axis=0)
        return max(-logit_quantile(both, 0.01), logit_quantile(both, 0.99))

    @cached_property
    def foreground_logit(self) -> float:
        """The median logit of foreground pixels."""
        return logit_quantile(self.histogram[1], 0.5)


def _blind_f1(share: float) -> float:
    return 2 * share / (1 + share)


# Fewer predicted pixels than this share of the pixels in the masks are nearly none.
_NEARLY_NONE = 0.02
_NOTHING = PredictionCounts(*[0] * len(PredictionCounts._fields))


class WindowReader:
    """Reads windows from the metrics of a model in training.

    Args:
        model: compiled with a `PredictionMonitor` and a `ThresholdCurve` among its metrics.
        output_name: that of the metrics to read, in a model of several outputs.

    Raises:
        ValueError: one of them is missing.
    """

    def __init__(self, model: keras.Model, output_name: str | None = None) -> None:
        self._model = model
        self.monitor = _find_metric(model, PredictionMonitor, output_name)
        self._curve = _find_metric(model, ThresholdCurve, output_name)
        self._classes = next(_metrics_of(model, SegmentationMetrics, output_name), None)
        self._loss = next((metric for metric in model.metrics if metric.name == "loss"), None)
        self._weights = WeightSample([], [])
        self.reset()

    def reset(self) -> None:
        """Count from 0. To be called when Keras resets the metrics."""
        self._before: tuple[PredictionCounts, Any, float, float] = (_NOTHING, 0, 0.0, 0.0)
        self._confusion = _NO_CONFUSION

    def note_weights(self) -> None:
        """Measure the next window's updates from the weights that the model has now."""
        self._weights = WeightSample.of(self._model)

    def get_state(self) -> list[Any]:
        """Return what the metrics had counted, and the weights, at the last `read`, as plain data and arrays."""
        counts, *others = self._before
        return [list(counts), *others, list(self._weights), self._confusion]

    def set_state(self, state: list[Any]) -> None:
        """Count from what `get_state` returned; those of kseg 0.1 hold no weights, or no confusion matrix."""
        counts, histogram, total, count, *others = state
        self._before = (PredictionCounts(*counts), histogram, total, count)
        self._weights = WeightSample(*others[0]) if others else WeightSample.of(self._model)
        self._confusion = np.asarray(others[1]) if len(others) > 1 else _NO_CONFUSION

    def read(self, epoch: int, batch: int, batches: int) -> Window:
        """Return the window since the last `read` or `reset`. On JAX, within a batch, sync the model's state first.

        Args:
            epoch: from 1.
            batch: the last batch, counted from the beginning of `fit`, from 1.
            batches: the number of batches since the last `read` or `reset`.
        """
        total, count = (float(variable) for variable in self._loss.variables) if self._loss else (0.0, 0.0)
        now = (self.monitor.counts(), self._curve.histogram(), total, count)
        counts = now[0] - self._before[0]
        histogram, new_total, new_count = (one - other for one, other in zip(now[1:], self._before[1:], strict=True))
        loss_broke = math.isfinite(self._before[2]) and not math.isfinite(total)
        self._before = now
        start = batch - self.monitor.steps()
        bad_input, bad_prediction = (step and start + step for step in self.monitor.first_not_finite())
        loss = new_total / new_count if new_count > 0 else math.nan
        update = math.nan
        if batches:
            weights = WeightSample.of(self._model)
            update, self._weights = weights.relative_change(self._weights) / batches, weights
        return Window(
            epoch=epoch,
            batch=batch,
            batches=batches,
            counts=counts,
            histogram=histogram,
            loss=loss,
            loss_broke=loss_broke,
            bad_input=bad_input,
            bad_prediction=bad_prediction,
            update=update,
            trainable=trainable_share(self._model),
            confusion=self._read_confusion(),
            class_names=self._classes.class_names or () if self._classes else (),
        )

    def _read_confusion(self) -> np.ndarray:
        """Return the confusion of the classes since the last `read` or `reset`; `(0, 0)` if there is one class."""
        now = self._classes.confusion() if self._classes else _NO_CONFUSION
        if now.shape[0] != now.shape[1]:
            return _NO_CONFUSION
        since = now - self._confusion if self._confusion.shape == now.shape else now
        self._confusion = now
        return since

    def watch_inputs(self) -> None:
        """Have every training step tell the monitor whether its images and masks are finite."""
        observe_inputs(self._model, self.monitor, self.monitor.look_at_inputs)


def _metrics_of(model: keras.Model, kind: type[Kind], output_name: str | None) -> Iterator[Kind]:
    """Yield the metrics of a kind that were made for an output."""
    for metric in model.metrics:
        # compile(metrics=…) arrives as one metric that holds the others.
        for inner in getattr(metric, "metrics", [metric]):
            if isinstance(inner, kind) and getattr(inner, "output_name", None) == output_name:
                yield inner


def _find_metric(model: keras.Model, kind: type[Kind], output_name: str | None) -> Kind:
    for metric in _metrics_of(model, kind, output_name):
        return metric
    given = f"output_name={output_name!r}" if output_name else ""
    of_output = f" of output {output_name}" if output_name else ""
    raise ValueError(
        f"CollapseDetector found no {kind.__name__}{of_output} among the model's metrics; expected model.compile(…, "
        f"metrics=[kseg.metrics.PredictionMonitor({given}), kseg.metrics.ThresholdCurve({given})])."
    )
