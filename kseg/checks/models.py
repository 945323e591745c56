"""A model as it is looked at: its operations, the shapes of its outputs, its values, none of them changed."""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from kseg.keras_private import all_layers


class Values(NamedTuple):
    """The values of a model's variables, with which it is called without being changed."""

    trainable: list[Any]
    others: list[Any]

    @classmethod
    def of(cls, model: keras.Model, state: Sequence[Any] | None = None) -> "Values":
        """Those of the model, or those in the state that `fit` on JAX has taken from it."""
        if state:
            trainable, non_trainable, _, metrics = state
            return cls(trainable, [*non_trainable, *metrics])
        others = [*model.non_trainable_variables, *model.metrics_variables]
        return cls([variable.value for variable in model.trainable_variables], [variable.value for variable in others])

    def scope(self, model: keras.Model) -> keras.StatelessScope:
        """In it the model has these values, and what it updates (statistics, seeds, metrics) ends with it."""
        variables = [*model.trainable_variables, *model.non_trainable_variables, *model.metrics_variables]
        state = zip(variables, [*self.trainable, *self.others], strict=True)
        return keras.StatelessScope(state, collect_losses=True)


def operations(model: keras.Model) -> list[Any]:
    """Layers and operations from input to output, nested models unfolded; none if the model's `call` is its own."""
    own = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", [])
    unfolded = ((isinstance(operation, keras.Model) and operations(operation)) or [operation] for operation in own)
    return list(itertools.chain.from_iterable(unfolded))


def build(model: keras.Model, x: Any) -> None:
    """Build the model as `fit` would."""
    model(keras.tree.map_structure(lambda array: keras.KerasTensor(array.shape, array.dtype.name), x))


def output_shapes(model: keras.Model, values: Values, x: Any) -> list[tuple[int, ...]]:
    """The shapes of the model's outputs."""

    def forward(x: Any) -> Any:
        with values.scope(model):
            return model(x, training=True)

    if keras.config.backend() == "jax" and not model.run_eagerly:
        import jax

        forward = functools.partial(jax.eval_shape, forward)
    return [tuple(output.shape) for output in keras.tree.flatten(forward(x))]


@contextlib.contextmanager
def native_state_kept(model: keras.Model) -> Iterator[None]:
    """Put back what a call changes outside of Keras: torch's random numbers, the state of its own modules."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    wrappers = [layer for layer in all_layers(model) if isinstance(layer, layers.TorchModuleWrapper)]
    modes = [(module, module.training) for wrapper in wrappers for module in wrapper.module.modules()]
    buffers = [(buffer, buffer.clone()) for wrapper in wrappers for buffer in wrapper.module.buffers()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, mode in modes:
            module.training = mode
