"""How large the updates of a model's weights are, relative to the weights: |Δw| / |w|, usually about 1e-3 a batch."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import keras
import numpy as np

_MOST_VALUES = 1000  # of each weight; enough for its size to a few per cent, and little to fetch from a device


class WeightSample(NamedTuple):
    """Evenly spaced values of each trainable weight."""

    sizes: list[int]
    """Number of values of each weight."""
    values: list[np.ndarray]
    """Some of them, float32."""

    @classmethod
    def of(cls, model: keras.Model) -> Self:
        """Fetch a sample. On JAX, within a batch, sync the model's state first."""
        flat = [keras.ops.reshape(variable.value, (-1,)) for variable in model.trainable_variables]
        sizes = [int(weights.shape[0]) for weights in flat]
        steps = [max(size // _MOST_VALUES, 1) for size in sizes]
        parts = [keras.ops.convert_to_numpy(weights[::step]) for weights, step in zip(flat, steps, strict=True)]
        return cls(sizes, [part.astype("float32", copy=True) for part in parts])

    def relative_change(self, before: "WeightSample") -> float:
        """Return |Δw| / |w| over all weights, with |w| that before; NaN if all weights were 0 or others trainable.

        >>> old, new = WeightSample([2], [np.float32([3, 4])]), WeightSample([2], [np.float32([3, 4.5])])
        >>> new.relative_change(old)
        0.1
        """
        if self.sizes != before.sizes:
            return float("nan")
        pairs = list(zip(self.values, before.values, strict=True))
        with np.errstate(invalid="ignore", over="ignore"):  # weights that are not finite
            change = self._squares([new - old for new, old in pairs])
        size = self._squares([old for _, old in pairs])
        return float(np.sqrt(change / size)) if size > 0 else float("nan")

    def _squares(self, parts: Sequence[np.ndarray]) -> float:
        """Return the sum of the squares over all values of the weights, estimated from the sample."""
        means = [float(np.mean(np.square(part, dtype="float64"))) for part in parts]
        return sum(size * mean for size, mean in zip(self.sizes, means, strict=True))


def trainable_share(model: keras.Model) -> float:
    """Return the share of the parameters that are trainable, from 0 to 1."""
    trainable, all_weights = (
        sum(int(np.prod(variable.shape)) for variable in variables)
        for variables in (model.trainable_variables, model.weights)
    )
    return trainable / max(all_weights, 1)
