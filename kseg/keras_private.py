"""Every private or undocumented attribute of Keras that kseg touches: one function each, one test each.

Each docstring says why it is needed and which public way was tried. No other file of kseg touches one.
"""

import contextlib
import functools
import inspect
import math
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeVar

import keras
import numpy as np

_Class = TypeVar("_Class")


def replace_train_function(model: keras.Model, function: Callable[..., Any] | None) -> Any:
    """Replace the function that `fit` calls for each step, and return the former one.

    JAX calls it as `(state, iterator)` and takes `(logs, state)`, torch as `(batches,)` and takes `logs`. None has the
    next `fit` build a new one.

    Public ways tried: callbacks get no batch; `train_step` is compiled, so no check in NumPy runs in it, and replacing
    it, or `make_train_function`, takes a subclass, while the model belongs to the user.
    """
    former = model.train_function
    model.train_function = function
    return former


def rebuild_train_function(model: keras.Model) -> None:
    """Compile the training step again, within `fit`: it holds the old learning rate schedule.

    JAX finds an old trace again by the equality of functions, as long as anything holds the old step: so the step is
    built from a function that equals no other.

    Public way tried: `compile` resets the metrics, and `fit` goes on calling the old step.
    """
    step = model.train_step
    own = vars(model).get("train_step")
    model.train_step = lambda *arguments: step(*arguments)
    try:
        model.make_train_function(force=True)
    finally:
        if own is None:
            del model.train_step
        else:
            model.train_step = own


def sync_jax_state(model: keras.Model) -> None:
    """Give the variables of the model their current values, which `fit` on JAX holds outside of them.

    Does nothing on torch, and nothing outside of `fit`.

    Public way tried: `Callback.model` does it, for callbacks only.
    """
    if keras.config.backend() == "jax":
        model.jax_state_sync()


def mark_jax_state_synced(model: keras.Model) -> None:
    """Have `fit` on JAX take the values of the model from its variables, which were assigned in the middle of a step.

    Otherwise it puts its own former values back into them.

    Public way tried: `Callback.model` marks the same, but first puts the former values back.
    """
    model._jax_state_synced = True


def jax_state_variables(model: keras.Model) -> tuple[list[keras.Variable], ...]:
    """Return the variables in the order of the state that the train function takes on JAX.

    Public way tried: all four lists are public; their order in the state is not.
    """
    return (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )


def set_initial_epoch(model: keras.Model, epoch: int | None) -> None:
    """Have the `fit` that is in `on_train_begin` start at this epoch, counted from 0; None removes the setting.

    Public way tried: `fit(initial_epoch=…)` belongs to the caller; a callback cannot set it. Keras's own
    `BackupAndRestore` does the same as this.
    """
    model._initial_epoch = epoch


def calling_callback_list() -> keras.callbacks.CallbackList:
    """Return the list of callbacks of the `fit` that is calling, found on the stack.

    Public way tried: Keras tells a callback nothing about the others. `RunCheckpoint(remember=…)` does without this.

    Raises:
        RuntimeError: no CallbackList is calling.
    """
    frame = inspect.currentframe()
    while frame:
        owner = frame.f_locals.get("self")
        if isinstance(owner, keras.callbacks.CallbackList):
            return owner
        frame = frame.f_back
    raise RuntimeError("No keras.callbacks.CallbackList is calling; expected a callback within fit.")


def is_within_fit(frame: FrameType | None, callback: keras.callbacks.Callback) -> bool:
    """Return whether a frame of the stack is within a `fit` that has this callback.

    Keras calls its list `callbacks` in `fit`.

    Public way tried: a `fit` that ends by an error calls no hook, not even `on_train_end`.
    """
    while frame:
        callbacks = frame.f_locals.get("callbacks")
        if isinstance(callbacks, keras.callbacks.CallbackList) and any(one is callback for one in callbacks.callbacks):
            return True
        frame = frame.f_back
    return False


def callback_attributes(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Return the attributes of a callback without those that Keras changes in every process.

    `min_delta` is left out because Keras's callbacks turn its sign when they first compare.

    Public way tried: only some callbacks have methods to read and write their state.
    """
    by_keras = ("_model", "params", "validation_data", "min_delta")
    return {name: value for name, value in vars(callback).items() if name not in by_keras}


def observe_inputs(model: keras.Model, metric: keras.Metric, observe: Callable[..., None]) -> None:
    """Have every training step call `observe` with its images and masks, on behalf of a metric of the model.

    Public way tried: `compute_metrics` is documented, to be overridden in a subclass; the model belongs to the user. A
    metric gets masks and predictions only.

    The metric is stored on the model, so it is not observed twice. Keras therefore lists it first among
    `model.metrics`, on which the columns of history.csv and the metrics in checkpoints depend.
    """
    if getattr(model, "_kseg_watched", None) is metric:
        return
    compute_metrics = type(model).compute_metrics.__get__(model)

    def observed(x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        observe(*keras.tree.flatten((x, y)))
        return compute_metrics(x, y, y_pred, sample_weight=sample_weight)

    model.compute_metrics = observed
    replace_train_function(model, None)  # a step compiled earlier does not observe
    model._kseg_watched = metric


def compiled_loss(model: keras.Model) -> Any:
    """Return the object that each `compile` makes anew of its losses.

    Public way tried: `model.loss` and `model.optimizer` may be the same objects in two calls of `compile`.
    """
    return model._compile_loss


def compiled_metrics(model: keras.Model) -> list[Any]:
    """Return what the user gave as `compile(metrics=…)`: metrics, functions and names, in a flat list.

    Public way tried: `model.metrics` holds them only once the model was trained; `get_compile_config` gives their
    configurations, without the arguments of a metric that is not registered.
    """
    return keras.tree.flatten(getattr(model._compile_metrics, "_user_metrics", None))


def all_layers(model: keras.Model) -> list[keras.Layer]:
    """Return the model and all layers in it, at any depth.

    Public way tried: `model.layers` and those of its nested models lack the layers inside a layer.
    """
    return list(model._flatten_layers())


def has_sublayers(layer: keras.Operation) -> bool:
    """Return whether a layer or operation is made of other layers.

    Public way tried: only models have `layers`.
    """
    return bool(getattr(layer, "_layers", None))


def producer(tensor: keras.KerasTensor) -> tuple[keras.Operation, Any, int]:
    """Return the operation that made a symbolic tensor, the arguments of that call, and the index of the output.

    The arguments have `args`, `kwargs`, and all tensors in them as `keras_tensors`.

    Public way tried: `operation.input` and `operation.output` raise where an operation is called more than once.
    """
    operation, call, output = tensor._keras_history
    return operation, operation._inbound_nodes[call].arguments, output


def learning_rate_setting(optimizer: keras.optimizers.Optimizer) -> Any:
    """Return the learning rate as it was set: a variable, a schedule, or a function.

    Public way tried: the property `learning_rate` gives the current value only; `get_config` gives a schedule's
    configuration, from which one that is not registered cannot be made.
    """
    return optimizer._learning_rate


def save_as_keras(module: str) -> Callable[[type[_Class]], type[_Class]]:
    """Decorate a subclass of a class in this module of Keras, of the same name, so that it is saved as that class.

    A saved model states the module and the name of each class; this states Keras's.

    Public way tried: `register_keras_serializable` writes its own package into the file, which then opens only where
    kseg is imported.
    """

    def decorate(kind: type[_Class]) -> type[_Class]:
        kind.__module__ = module
        return kind

    return decorate


@functools.cache
def leave_tensorflow_to_others() -> None:
    """Have Keras use TensorFlow only where something else has imported it. For a command, which owns its process.

    Where TensorFlow is installed, Keras imports it on each backend: to seed it, and to look for its types in what is
    saved. That takes 3 s.

    Public way tried: Keras has no setting for it; `KERAS_BACKEND` has no effect on it.
    """
    from keras.src.utils import module_utils

    class OnceImported(type(module_utils.tensorflow)):  # type: ignore[misc]
        @property
        def available(self) -> bool:
            return self.name in sys.modules and super().available

    module_utils.tensorflow.__class__ = OnceImported


_LENGTHS = 2**12, 2**16, 2**20


@contextlib.contextmanager
def quick_initializers() -> Iterator[None]:
    """Have random initializers on JAX draw one row of numbers, which is then cut and shaped. The numbers stay the same.

    JAX compiles a program for each shape: a second or so for the four axes of a kernel, a third of that for a row. A
    U-Net has eleven shapes, an encoder a hundred; the rows have three lengths, and multiples of the largest. A number
    depends on its place in the row alone, so a long row begins with the numbers of a short one.

    Public way tried: an initializer of kseg's own would be in every saved file, which then opens only where kseg is
    imported.
    """
    if keras.config.backend() != "jax":
        yield
        return
    import jax
    from keras.src.backend.jax import random

    def flat(draw: Callable[..., Any]) -> Callable[..., Any]:
        def draw_flat(shape: tuple[int, ...], *arguments: Any, **named: Any) -> Any:
            number = math.prod(shape)
            length = next((length for length in _LENGTHS if length >= number), _LENGTHS[-1])
            length *= math.ceil(number / length)
            with jax.ensure_compile_time_eval():
                drawn = np.asarray(draw((length,), *arguments, **named))
            return jax.numpy.asarray(drawn[:number].reshape(shape))

        return draw_flat

    former = {name: getattr(random, name) for name in ("normal", "truncated_normal", "uniform")}
    for name, draw in former.items():
        setattr(random, name, flat(draw))
    try:
        yield
    finally:
        for name, draw in former.items():
            setattr(random, name, draw)
