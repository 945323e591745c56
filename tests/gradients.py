"""Gradients on whichever backend the suite runs on."""

import keras
import numpy as np


def gradient(function, y_pred, dtype="float32"):
    """The gradient of `sum(function(y_pred))`, in float64 for the comparison; compiled on JAX."""
    if keras.config.backend() == "jax":
        import jax

        value = keras.ops.convert_to_tensor(y_pred, dtype=dtype)
        result = jax.jit(jax.grad(lambda x: function(x).sum()))(value)
    else:
        value = keras.ops.convert_to_tensor(y_pred, dtype=dtype).clone().detach().requires_grad_(True)
        function(value).sum().backward()
        result = value.grad
    return np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(result, "float32")), np.float64)


def to_numpy(tensor):
    return np.asarray(keras.ops.convert_to_numpy(tensor))
