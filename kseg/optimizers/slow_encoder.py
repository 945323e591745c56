"""Optimizers that move some weights more slowly than others: a pretrained encoder, frozen at first."""

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, ops


@functools.cache
def slow_encoder(kind: type[keras.optimizers.Optimizer]) -> type[keras.optimizers.Optimizer]:
    """Return a kind of optimizer with another learning rate for some of the weights.

    It overrides `update_step`, which Keras documents for optimizers of one's own. Besides the arguments of `kind` it
    takes

    - slow: the paths of the variables. They have no weight decay, so that frozen ones do not move at all.
    - factor: their learning rate, relative to that of the others.
    - frozen_steps: the number of updates in which it is 0; where gradients are accumulated, an update takes several
      batches. The gradients are computed all the same, so that their moments are known when the weights begin to move.

    >>> optimizer = slow_encoder(keras.optimizers.SGD)(1.0, slow=["a"], factor=0.1, frozen_steps=1)
    >>> weights = [keras.Variable([0.0], name=name) for name in ("a", "b")]
    >>> for _ in range(2):
    ...     optimizer.apply([ops.ones(1), ops.ones(1)], weights)
    >>> [keras.ops.convert_to_numpy(weight).round(3).tolist() for weight in weights]
    [[-0.10000000149011612], [-2.0]]
    """

    class SlowEncoder(kind):
        def __init__(
            self, *arguments: Any, slow: Sequence[str] = (), factor: float = 1.0, frozen_steps: int = 0, **others: Any
        ) -> None:
            super().__init__(*arguments, **others)
            self.slow, self.factor, self.frozen_steps = list(slow), factor, frozen_steps

        def build(self, variables: list[keras.Variable]) -> None:
            self.exclude_from_weight_decay([variable for variable in variables if variable.path in self.slow])
            super().build(variables)

        def update_step(self, gradient: KerasTensor, variable: keras.Variable, learning_rate: KerasTensor) -> None:
            if variable.path in self.slow:
                own = ops.cast(learning_rate, variable.dtype) * self.factor
                learning_rate = ops.where(self.iterations < self.frozen_steps, ops.zeros_like(own), own)
            super().update_step(gradient, variable, learning_rate)

        def get_config(self) -> dict[str, Any]:
            own = {"slow": self.slow, "factor": self.factor, "frozen_steps": self.frozen_steps}
            return {**super().get_config(), **own}

    name = f"SlowEncoder{kind.__name__}"
    SlowEncoder.__name__ = SlowEncoder.__qualname__ = name
    return keras.saving.register_keras_serializable("kseg", name)(SlowEncoder)
