"""Optimizers whose schedule can be changed, and differ from run to run, without another compilation.

JAX compiles the numbers of a schedule into the training step: another peak or another number of epochs is another
program, of 5 s for the U-Net on two cores. Here they are a variable of the optimizer, which is an input of the step.

Files hold Keras's own optimizer and schedule, without that variable: they open where kseg is not installed, files of
before fit, and a run that goes on has the schedule of its settings.
"""

import functools
import math
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.keras_private import learning_rate_setting, save_as_keras

_NAME = "schedule"


def adjustable_schedule(optimizer: keras.optimizers.Optimizer) -> "CosineDecay | None":
    """Return the adjustable schedule of an optimizer, also of one in a `LossScaleOptimizer`; None if it has none."""
    schedule = learning_rate_setting(getattr(optimizer, "inner_optimizer", optimizer))
    return schedule if isinstance(schedule, CosineDecay) else None


def stored_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the variables of any optimizer that a file holds: all but the numbers of an adjustable schedule."""
    return [variable for variable in optimizer.variables if variable.name != _NAME]


@save_as_keras("keras.optimizers.schedules")
class CosineDecay(keras.optimizers.schedules.CosineDecay):
    """`keras.optimizers.schedules.CosineDecay` whose numbers are a variable, once `keep_in` was called.

    Takes the same arguments, and gives the same learning rates up to rounding.

    >>> schedule = CosineDecay(1.0, 100)
    >>> schedule.keep_in(keras.Variable([0.0] * 4, trainable=False))
    >>> schedule.multiply(0.5)
    >>> float(schedule(0)), float(schedule(50)), float(schedule(100))
    (0.5, 0.25, 0.0)
    """

    _variable: keras.Variable | None = None

    def keep_in(self, variable: keras.Variable) -> None:
        """Write the numbers into a variable of shape `(4,)`, and take them from there."""
        self._variable = variable
        self.write()

    def multiply(self, factor: float) -> None:
        """Multiply all rates, in the steps that are already compiled too."""
        self.initial_learning_rate *= factor
        if self.warmup_target is not None:
            self.warmup_target *= factor
        self.write()

    def write(self) -> None:
        """Write the numbers into the variable once more: in a `fit` on JAX it loses what it had."""
        first = self.initial_learning_rate
        peak = first if self.warmup_target is None else self.warmup_target
        warmup_steps = 0 if self.warmup_target is None else self.warmup_steps
        if self._variable is not None:
            self._variable.assign([first, peak, warmup_steps, self.decay_steps])

    def __call__(self, step: KerasTensor | int) -> KerasTensor:
        """Return the learning rate of a step, counted from 0."""
        if self._variable is None:
            return super().__call__(step)
        first, peak, warmup_steps, decay_steps = ops.unstack(ops.convert_to_tensor(self._variable))
        step = ops.cast(step, first.dtype)
        warming = first + (peak - first) * step / ops.maximum(warmup_steps, 1)
        decayed = ops.clip((step - warmup_steps) / decay_steps, 0, 1)
        cosine = 0.5 * (1 + ops.cos(math.pi * decayed))
        return ops.where(step < warmup_steps, warming, peak * ((1 - self.alpha) * cosine + self.alpha))


class _WithoutSchedule(keras.optimizers.Optimizer):
    """What an optimizer writes into a file and reads from it."""

    def save_own_variables(self, store: Any) -> None:
        """See Keras's optimizer."""
        for index, variable in enumerate(stored_variables(self)):
            store[str(index)] = ops.convert_to_numpy(variable)

    def load_own_variables(self, store: Any) -> None:
        """See Keras's optimizer.

        Raises:
            ValueError: there are more or fewer variables in the file.
        """
        variables = stored_variables(self)
        if len(store.keys()) != len(variables):
            raise ValueError(f"{self.name} has {len(variables)} variables; {len(store.keys())} were stored")
        for index, variable in enumerate(variables):
            variable.assign(store[str(index)])


@functools.cache
def adjustable(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Return a kind of optimizer that makes of Keras's `CosineDecay` the one of this module.

    Other learning rates stay as given. On torch, which compiles no step, it is `kind` itself: Keras has faster
    optimizers there, of which a subclass would make no use.

    >>> optimizer = adjustable(keras.optimizers.SGD)(keras.optimizers.schedules.CosineDecay(0.1, 100))
    >>> optimizer.build([keras.Variable([1.0])])
    >>> round(float(optimizer.learning_rate), 6)
    0.1
    """

    if keras.config.backend() != "jax":
        return kind

    class Adjustable(_WithoutSchedule, kind):
        def __init__(self, learning_rate: Any = 0.001, *arguments: Any, **others: Any) -> None:
            if isinstance(learning_rate, keras.optimizers.schedules.CosineDecay):
                learning_rate = CosineDecay.from_config(learning_rate.get_config())
            super().__init__(learning_rate, *arguments, **others)

        def build(self, variables: list[keras.Variable]) -> None:
            super().build(variables)
            if schedule := adjustable_schedule(self):
                schedule.keep_in(self.add_variable((4,), name=_NAME))

    Adjustable.__name__ = kind.__name__
    return save_as_keras("keras.optimizers")(Adjustable)


@save_as_keras("keras.optimizers")
class LossScaleOptimizer(_WithoutSchedule, keras.optimizers.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` around an adjustable optimizer."""
