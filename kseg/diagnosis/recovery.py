"""Back to a state that was healthy, with a fresh optimizer and a lower learning rate."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

# What Keras's schedules call their rates.
_RATES = ("initial_learning_rate", "warmup_target", "end_learning_rate", "values")


@dataclass(frozen=True)
class Snapshot:
    """The weights of a model, kept in the host's memory."""

    weights: list[np.ndarray]
    batch: int
    """After which batch they were so."""

    @classmethod
    def of(cls, model: keras.Model, batch: int) -> "Snapshot":
        """Those that it has now. On JAX, inside a batch, sync the model's state first."""
        return cls(model.get_weights(), batch)

    @property
    def finite(self) -> bool:
        """Whether every weight is."""
        return all(np.isfinite(weight).all() for weight in self.weights)

    def restore(self, model: keras.Model) -> None:
        """Put the weights back."""
        model.set_weights(self.weights)


def renew_optimizer(model: keras.Model) -> None:
    """Put moments, loss scale and whatever else the optimizer remembers back to where they began.

    The count of steps stays, and with it the place in the schedule; so does a learning rate that was assigned.
    """
    optimizer = model.optimizer
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    for variable, new in zip(optimizer.variables, fresh.variables, strict=True):
        if variable.path.split("/")[-1] not in ("iteration", "learning_rate"):
            variable.assign(new)


def lower_learning_rate(model: keras.Model, factor: float) -> float | None:
    """Multiply the learning rate, or every rate of Keras's schedules, and return what it is now.

    None if it cannot be done: a schedule of somebody's own, whose rates have other names. After a schedule was changed
    the compiled step is made anew, since it holds the old one.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    schedule = optimizer._learning_rate  # the property gives its value only
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        config = schedule.get_config()
        rates = {key: _times(config[key], factor) for key in _RATES if config.get(key) is not None}
        if not rates:
            return None
        optimizer.learning_rate = type(schedule).from_config({**config, **rates})
        model.make_train_function(force=True)
    elif callable(schedule) and not isinstance(schedule, keras.Variable):
        return None
    else:
        optimizer.learning_rate = float(optimizer.learning_rate) * factor
    return float(optimizer.learning_rate)


def _times(rate: Any, factor: float) -> Any:
    return [value * factor for value in rate] if isinstance(rate, list | tuple) else rate * factor
