"""A model of the user's own: a .keras file, or a function by its import path, which is code that is run."""

import importlib
import inspect
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from kseg.config.train import ModelOptions, is_code
from kseg.errors import KsegError
from kseg.inference.predictor import open_model
from kseg.keras_private import quick_initializers
from kseg.task import Task

_log = logging.getLogger("kseg")


@quick_initializers()
def make_own_model(channels: int, task: Task, options: ModelOptions, dtype: str) -> keras.Model:
    """Return the model that `options.model` names.

    Args:
        channels: of the images.
        task: what it tells apart.
        options: the settings of the model.
        dtype: the policy that a function is given.

    Raises:
        KsegError: there is no such file, module or function; it cannot be called so; or it gives no model from images
            of so many channels to as many logits as the task has.
    """
    if is_code(options.model):
        model = _call(options.model, channels, task.outputs, dtype, options.model_arguments)
    else:
        model, _ = open_model(options.model)
    _check(options.model, model, channels, task)
    return model


def _call(path: str, channels: int, outputs: int, dtype: str, given: dict[str, float]) -> keras.Model:
    arguments: dict[str, Any] = {name: int(value) if value.is_integer() else value for name, value in given.items()}
    arguments["dtype"] = dtype
    shown = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    _log.info(f"Model: {path}({channels}, {outputs}, {shown}), which is code of your own and is run")
    function = _find(path)
    try:
        inspect.signature(function).bind(channels, outputs, **arguments)
    except TypeError as error:
        raise KsegError(
            f"model: {path} cannot be called with ({channels}, {outputs}, {shown}): {error}. Expected "
            "make(channels, outputs, *, dtype, …)."
        ) from error
    model = function(channels, outputs, **arguments)
    if not isinstance(model, keras.Model):
        raise KsegError(f"model: {path} returns {type(model).__name__}; expected a keras.Model.")
    return model


def _find(path: str) -> Callable[..., Any]:
    module_name, name = path.split(":")
    folder = str(Path.cwd())
    if folder not in sys.path:  # the command kseg does not look there, as python -m does
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise KsegError(f"model: {module_name} cannot be imported: {error}. Expected a module in {folder}.") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise KsegError(f"model: {module_name} has no function {name}.")
    return function


def _check(path: str, model: keras.Model, channels: int, task: Task) -> None:
    taken, given = getattr(model, "input_shape", None), getattr(model, "output_shape", None)
    shapes = [shape for shape in (taken, given) if isinstance(shape, tuple) and len(shape) == 4]
    if len(shapes) < 2 or shapes[0][3] != channels or shapes[1][3] != task.outputs:
        raise KsegError(
            f"model: {path} goes from {taken} to {given}; expected images (None, height, width, {channels}) and logits "
            f"(None, height, width, {task.outputs}), for {task}."
        )
