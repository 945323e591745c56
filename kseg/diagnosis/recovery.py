"""Return to a healthy state, with a fresh optimizer and a lower learning rate."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kseg.keras_private import learning_rate_setting, rebuild_train_function
from kseg.optimizers import adjustable_schedule, stored_variables

LOWER = 0.1
"""A recovery multiplies the learning rate by this, or by less."""
_USUAL_UPDATE = 3e-3  # the size of the updates of a model that starts to learn, relative to the weights
# Beyond this the weights grow without bound, and their updates no longer tell how much too large the rate is.
_UNBOUNDED_UPDATE, _OF_UNBOUNDED = 10.0, 0.01
_CLIP_NORM = 1.0

# The names of the rates in the configurations of Keras's schedules.
_RATES = ("initial_learning_rate", "warmup_target", "end_learning_rate", "values")


@dataclass(frozen=True)
class Snapshot:
    """The weights of a model, kept in the host's memory."""

    weights: list[np.ndarray]
    batch: int
    """The last batch before the snapshot, counted from the beginning of `fit`."""

    @classmethod
    def of(cls, model: keras.Model, batch: int) -> "Snapshot":
        """Copy the weights of a model. On JAX, within a batch, sync the model's state first."""
        return cls(model.get_weights(), batch)

    @property
    def finite(self) -> bool:
        """Whether every weight is finite."""
        return all(np.isfinite(weight).all() for weight in self.weights)

    def restore(self, model: keras.Model) -> None:
        """Give the weights back to the model."""
        model.set_weights(self.weights)


def reset_optimizer(model: keras.Model) -> None:
    """Reset everything that the optimizer remembers, such as moments and the loss scale.

    The count of steps stays, and with it the place in the schedule. A learning rate that was assigned stays too. Moving
    averages of the weights start from the weights as they are now.
    """
    optimizer = model.optimizer
    fresh = type(optimizer).from_config(optimizer.get_config())
    fresh.build(model.trainable_variables)
    for variable, new in zip(stored_variables(optimizer), stored_variables(fresh), strict=True):
        if variable.path.split("/")[-1] not in ("iteration", "learning_rate"):
            variable.assign(new)
    averages = [variable for variable in optimizer.variables if variable.path.endswith("_average")]
    if getattr(optimizer, "inner_optimizer", optimizer).use_ema:
        for average, weight in zip(averages, model.trainable_variables, strict=True):
            average.assign(weight)


def factor_for(update: float) -> float:
    """Return by what to multiply the learning rate after updates of this size, relative to the weights.

    >>> factor_for(1e-3), factor_for(0.3), factor_for(1e6)
    (0.1, 0.01, 0.01)
    """
    if update > _UNBOUNDED_UPDATE:
        return _OF_UNBOUNDED
    return min(LOWER, _USUAL_UPDATE / max(update, _USUAL_UPDATE))


def clip_gradient(model: keras.Model) -> bool:
    """Clip the norm of the whole gradient to 1, if the optimizer does not clip; return whether it does so now.

    The training step is compiled again, since it holds the old setting.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    if optimizer.clipnorm or optimizer.global_clipnorm or optimizer.clipvalue:
        return False
    optimizer.global_clipnorm = _CLIP_NORM
    rebuild_train_function(model)
    return True


def lower_learning_rate(model: keras.Model, factor: float) -> float | None:
    """Multiply the learning rate, or every rate of Keras's schedules, and return the new current rate.

    Return None, and change nothing, for a function or for a schedule whose rates have names unknown to kseg. After a
    change of a schedule of Keras's own the training step is compiled again, since it holds the old one.
    """
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    schedule = learning_rate_setting(optimizer)
    if adjustable := adjustable_schedule(optimizer):
        adjustable.multiply(factor)
    elif isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        config = schedule.get_config()
        rates = {key: _multiply(config[key], factor) for key in _RATES if config.get(key) is not None}
        if not rates:
            return None
        optimizer.learning_rate = type(schedule).from_config({**config, **rates})
        rebuild_train_function(model)
    elif callable(schedule) and not isinstance(schedule, keras.Variable):
        return None
    else:
        optimizer.learning_rate = float(optimizer.learning_rate) * factor
    return float(optimizer.learning_rate)


def _multiply(rate: Any, factor: float) -> Any:
    return [value * factor for value in rate] if isinstance(rate, list | tuple) else rate * factor
