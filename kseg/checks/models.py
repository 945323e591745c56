"""Operations, output shapes and variables of a model. Nothing here changes the model."""

import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import keras
from keras import layers

from kseg.keras_private import all_layers


class Values(NamedTuple):
    """Values of a model's variables. A call with them leaves the variables unchanged."""

    trainable: list[Any]
    others: list[Any]

    @classmethod
    def of(cls, model: keras.Model, state: Sequence[Any] | None = None) -> "Values":
        """Take the values from the model, or from the state that `fit` on JAX holds in its place."""
        if state:
            trainable, non_trainable, _, metrics = state
            return cls(trainable, [*non_trainable, *metrics])
        others = [*model.non_trainable_variables, *model.metrics_variables]
        return cls([variable.value for variable in model.trainable_variables], [variable.value for variable in others])

    def scope(self, model: keras.Model) -> keras.StatelessScope:
        """Return a scope in which the model has these values. Updates (statistics, seeds) end with it."""
        variables = [*model.trainable_variables, *model.non_trainable_variables, *model.metrics_variables]
        state = zip(variables, [*self.trainable, *self.others], strict=True)
        return keras.StatelessScope(state, collect_losses=True)


def operations(model: keras.Model) -> list[Any]:
    """Return layers and operations from input to output, also those of nested models; [] if the user wrote `call`."""
    own = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", [])
    expanded = ((isinstance(operation, keras.Model) and operations(operation)) or [operation] for operation in own)
    return list(itertools.chain.from_iterable(expanded))


def build(model: keras.Model, x: Any) -> None:
    """Build the model as `fit` would."""
    model(keras.tree.map_structure(lambda array: keras.KerasTensor(array.shape, array.dtype.name), x))


def output_shapes(model: keras.Model, values: Values, x: Any) -> list[tuple[int, ...]]:
    """Return the shapes of the model's outputs."""

    def forward(x: Any) -> Any:
        with values.scope(model):
            return model(x, training=True)

    if keras.config.backend() == "jax" and not model.run_eagerly:
        import jax

        forward = functools.partial(jax.eval_shape, forward)
    return [tuple(output.shape) for output in keras.tree.flatten(forward(x))]


@contextlib.contextmanager
def preserve_torch_state(model: keras.Model) -> Iterator[None]:
    """Restore what a call changes outside of Keras: torch's random state, modes and buffers of modules."""
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
