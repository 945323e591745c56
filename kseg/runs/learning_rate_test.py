"""Which learning rate to take: the loss while the rate grows from step to step."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from kseg.config.train import DataOptions, FitOptions, ModelOptions, OptimizerOptions
from kseg.errors import KsegError
from kseg.progress import progress
from kseg.runs.data import make_batches, open_data
from kseg.runs.memory import check_memory
from kseg.runs.model import check_task, make_loss, start_model
from kseg.runs.optimizer import make_optimizer

_SMOOTHING = 0.9  # of an exponential average over steps
# It has diverged if the smoothed loss is above this many times its lowest value, and above as many times its first.
_OF_LOWEST, _OF_FIRST = 2.0, 1.2
_FEWEST = 10  # steps


@dataclass(frozen=True)
class LearningRateTest:
    """The loss at each learning rate, and which rate to take."""

    rates: np.ndarray
    """The learning rate of each step, ascending, float64 `(steps,)`."""
    losses: np.ndarray
    """The loss of each step, before its update; fewer steps than asked for if it diverged."""
    smoothed: np.ndarray
    """An average of the losses up to each step."""

    @property
    def suggestion(self) -> float:
        """The rate at which the smoothed loss falls most steeply, before its lowest point.

        The first steps do not count, here as in `lowest`: their average is of few losses.
        """
        slope = np.gradient(self.smoothed, np.log(self.rates))
        return float(self.rates[self._first + int(slope[self._first : self._lowest + 1].argmin())])

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is lowest."""
        return float(self.rates[self._lowest])

    @property
    def _first(self) -> int:
        return min(_FEWEST, len(self.losses) // 2)

    @property
    def _lowest(self) -> int:
        return self._first + int(self.smoothed[self._first :].argmin())

    def save(self, path: Path) -> None:
        """Draw loss against learning rate as a PNG file."""
        figure = Figure(figsize=(7, 4.5), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        axes.plot(self.rates, self.losses, ".", color="lightgrey", label="loss of each step")
        axes.plot(self.rates, self.smoothed, label="smoothed")
        axes.axvline(self.suggestion, color="C1", label=f"falls most steeply at {self.suggestion:.2g}")
        low, high = self.smoothed.min(), self.smoothed[0]
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - 0.1 * abs(low), 1.5 * max(high, low)))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, dpi=100)


def learning_rate_test(
    model: keras.Model,
    batches: Iterable[tuple[np.ndarray, ...]],
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
) -> LearningRateTest:
    """Train a copy of a model with a learning rate that grows by the same factor each step, until the loss diverges.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017.

    Args:
        model: compiled; neither its weights nor its optimizer change.
        batches: images and masks; at least 10 batches, else as many as there are steps.
        lowest: the learning rate of the first step.
        highest: that of the last step.
        steps: number of steps.

    Raises:
        KsegError: there are fewer than 10 batches, or the loss diverges in the first 10.

    Example::

        found = learning_rate_test(model, dataset.repeat())
        print(found.suggestion)
    """
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    growth = (highest / lowest) ** (1 / (steps - 1))
    rate = keras.optimizers.schedules.ExponentialDecay(lowest, 1, growth)
    copy.compile(_with_rate(model.optimizer, rate), loss=model.loss)
    losses: list[float] = []
    smoothed: list[float] = []
    average = 0.0
    shown = progress(range(steps), "Trying learning rates", unit="steps")
    for (images, masks), _ in zip(batches, shown, strict=False):
        copy.reset_metrics()
        loss = float(copy.train_on_batch(images, masks))
        average = _SMOOTHING * average + (1 - _SMOOTHING) * loss
        corrected = average / (1 - _SMOOTHING ** (len(losses) + 1))
        if not math.isfinite(loss):
            break
        if smoothed and corrected > max(_OF_LOWEST * min(smoothed), _OF_FIRST * smoothed[0]):
            break
        losses.append(loss)
        smoothed.append(corrected)
    if len(losses) < _FEWEST:
        raise KsegError(
            f"The loss diverged or the batches ended after {len(losses)} steps; expected at least {_FEWEST}. Begin at "
            "a lower rate, or give more images."
        )
    return LearningRateTest(lowest * growth ** np.arange(len(losses)), np.array(losses), np.array(smoothed))


def _with_rate(
    optimizer: keras.optimizers.Optimizer, rate: keras.optimizers.schedules.LearningRateSchedule
) -> keras.optimizers.Optimizer:
    """Return a new optimizer with the same settings and this learning rate, also within one that scales the loss."""
    changed: dict[str, Any] = {"learning_rate": rate}
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        inner = _with_rate(optimizer.inner_optimizer, rate)
        changed = {"inner_optimizer": keras.saving.serialize_keras_object(inner)}
    return type(optimizer).from_config(optimizer.get_config() | changed)


def find_learning_rate(options: FitOptions, *, lowest: float, highest: float, steps: int) -> LearningRateTest:
    """Test learning rates on the data, the model, the loss and the optimizer of a run that was not started.

    Raises:
        KsegError: the settings do not fit each other or the data, as in a run; as from `learning_rate_test`.
    """
    model_options, data_options = ModelOptions.of(options), DataOptions.of(options)
    check_memory(model_options, data_options)
    data = open_data(data_options)
    check_task(data.task, model_options)
    keras.utils.set_random_seed(options.seed)
    batches, _ = make_batches(data, data_options, (0, 0))
    model = start_model(data, model_options, batches)
    plain = OptimizerOptions.of(options).model_copy(update={"freeze": 0, "encoder_lr": 1.0, "ema": 0.0})
    optimizer = make_optimizer(plain, batches.steps, scale_loss=model_options.mixed_precision == "float16")
    model.compile(optimizer, loss=make_loss(model_options, data.masks.rule.shares))
    return learning_rate_test(model, iter(batches), lowest=lowest, highest=highest, steps=steps)
