"""Optimizers whose learning rate schedule can change without compiling the training step again.

JAX compiles the numbers of a schedule into the training step: with another peak or another number of epochs it is
another program, which takes 5 s to compile for the U-Net on two cores. Here the numbers are a variable of the
optimizer, and variables are inputs of the step.

A saved model holds Keras's own optimizer and schedule, without that variable. So it opens where kseg is not installed,
older files can be read, and a resumed run has the schedule of its settings.
"""

import functools
import math
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.keras_private import learning_rate_setting, save_as_keras

_NAME = "kseg_schedule"  # no other optimizer has a variable of this name


def adjustable_schedule(optimizer: keras.optimizers.Optimizer) -> "CosineDecay | None":
    """Return the adjustable schedule of an optimizer, also of one in a `LossScaleOptimizer`; None if it has none."""
    schedule = learning_rate_setting(getattr(optimizer, "inner_optimizer", optimizer))
    return schedule if isinstance(schedule, CosineDecay) else None


def stored_variables(optimizer: keras.optimizers.Optimizer) -> list[keras.Variable]:
    """Return the variables of any optimizer that a file holds: all but the numbers of an adjustable schedule."""
    return [variable for variable in optimizer.variables if variable.name != _NAME]


@save_as_keras("keras.optimizers.schedules")
class CosineDecay(keras.optimizers.schedules.CosineDecay):
    """`keras.optimizers.schedules.CosineDecay` that keeps its numbers in a variable, once it has one (`keep_in`).

    Takes the same arguments, and gives the same learning rates up to rounding.

    >>> schedule = CosineDecay(1.0, 100)
    >>> schedule.keep_in(keras.Variable([0.0] * 4, trainable=False))
    >>> schedule.multiply(0.5)
    >>> float(schedule(0)), float(schedule(50)), float(schedule(100))
    (0.5, 0.25, 0.0)
    """

    _variable: keras.Variable | None = None

    def keep_in(self, variable: keras.Variable) -> None:
        """Write the numbers into a variable, float32 `(4,)`, and read them from it from now on."""
        self._variable = variable
        self.write()

    def multiply(self, factor: float) -> None:
        """Multiply all rates, in the steps that are already compiled too."""
        self.initial_learning_rate *= factor
        if self.warmup_target is not None:
            self.warmup_target *= factor
        self.write()

    def write(self) -> None:
        """Write the numbers into the variable. On JAX Keras empties variables during `fit`, so once more after that."""
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
    """An optimizer that neither saves nor loads the numbers of its schedule."""

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
