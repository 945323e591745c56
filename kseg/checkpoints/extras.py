"""State of a model in training on which the next step depends and which Keras does not save."""

import logging

import keras
import numpy as np

_log = logging.getLogger("kseg")

Extras = dict[str, list[np.ndarray]]
"""The values of seed generators (`seeds`), of metrics, and of torch's generators on the CPU and on each GPU."""


def read_extras(model: keras.Model) -> Extras:
    """Copy the values. On JAX, within a batch, sync the model's state first."""
    values = {
        kind: [np.array(keras.ops.convert_to_numpy(variable)) for variable in group]
        for kind, group in _variables(model).items()
    }
    return values | {"generators": _generators()}


def write_extras(model: keras.Model, extras: Extras) -> None:
    """Give the values back to the model and to torch."""
    for kind, variables in _variables(model).items():
        for variable, value in zip(variables, extras[kind], strict=True):
            variable.assign(value)
    _set_generators(extras["generators"])


def matching_extras(model: keras.Model, extras: Extras) -> Extras:
    """Return the values of a checkpoint where their shapes are those of the model, else the model's own; then warn."""
    matching = {}
    for kind, own in read_extras(model).items():
        stored = extras.get(kind, [])
        fits = [value.shape for value in own] == [np.shape(value) for value in stored]
        matching[kind] = stored if fits else own
        if not fits:
            _log.warning(
                f"⚠️  The {kind} of the checkpoint do not fit this model; they start from their initial values."
            )
    return matching


def _variables(model: keras.Model) -> dict[str, list[keras.Variable]]:
    saved = {id(variable) for variable in model.non_trainable_weights}
    return {
        "seeds": [variable for variable in model.non_trainable_variables if id(variable) not in saved],
        "metrics": model.metrics_variables,
    }


def _generators() -> list[np.ndarray]:
    """Return the state of torch's generators: Keras uses them for a Dropout without a seed."""
    if keras.config.backend() != "torch":
        return []
    import torch

    gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [state.numpy() for state in (torch.get_rng_state(), *gpus)]


def _set_generators(states: list[np.ndarray]) -> None:
    if not states:
        return
    import torch

    cpu, *gpus = (torch.from_numpy(np.array(state)) for state in states)
    torch.set_rng_state(cpu)
    if gpus:
        torch.cuda.set_rng_state_all(gpus)
