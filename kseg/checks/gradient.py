"""Checks of the loss of the first batch, and of its gradient."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kseg.checks.batches import Batch, to_numpy, to_numpy_or_none
from kseg.checks.compiled import Measure
from kseg.checks.logits import not_probabilities
from kseg.checks.models import Values
from kseg.findings import Finding


def check_gradient(
    model: keras.Model, values: Values, batches: Sequence[Batch], losses: Sequence[Measure], foreground: bool
) -> list[Finding | None]:
    """Check the first batch; where a parameter gets no gradient from it, the other batches too."""
    loss, predictions, gradients = _gradient(model, training=True)(values, batches[0])
    paths = [variable.path for variable in model.trainable_variables]
    if finding := loss_not_finite(loss) or gradient_not_finite(paths, gradients):
        return [finding]
    alive = _are_not_zero(gradients)
    if without_gradient(paths, alive):
        alive |= _get_gradient_elsewhere(model, values, batches)
    findings = [no_gradient(paths, alive, foreground)]
    if isinstance(predictions, np.ndarray) and [loss.from_logits for loss in losses] == [False]:
        findings.append(not_probabilities(predictions, losses[0].name))
    return findings


def _gradient(model: keras.Model, training: bool) -> Callable[[Values, Batch], tuple[float, Any, list[Any]]]:
    """Return a function that gives the loss, the predictions and the gradients of trainable variables, in NumPy."""

    def loss_of(trainable: list[Any], others: list[Any], batch: Batch) -> tuple[Any, Any]:
        with Values(trainable, others).scope(model):
            y_pred = model(batch.x, training=training)
            return model.compute_loss(x=batch.x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight), y_pred

    if keras.config.backend() == "jax":
        import jax

        differentiate = jax.value_and_grad(loss_of, has_aux=True)
        if model.jit_compile and not model.run_eagerly:
            differentiate = jax.jit(differentiate)
    else:
        import torch

        def differentiate(trainable: list[Any], others: list[Any], batch: Batch) -> tuple[Any, Any]:
            with torch.enable_grad():
                loss, predictions = loss_of(trainable, others, batch)
                return (loss, predictions), torch.autograd.grad(loss, trainable, allow_unused=True)

    def gradient(values: Values, batch: Batch) -> tuple[float, Any, list[Any]]:
        (loss, predictions), gradients = differentiate(*values, batch)
        predictions, gradients = keras.tree.map_structure(to_numpy_or_none, (predictions, list(gradients)))
        return float(to_numpy(loss)), predictions, gradients

    return gradient


def _are_not_zero(gradients: Sequence[np.ndarray | None]) -> np.ndarray:
    """Return which gradients are not all zero, bool `(N,)`."""
    return np.array([gradient is not None and bool((gradient != 0).any()) for gradient in gradients])


def _get_gradient_elsewhere(model: keras.Model, values: Values, batches: Sequence[Batch]) -> np.ndarray:
    """Return which gradients are not zero in some batch, without dropout and with small weights for zeros; `(N,)`.

    Weights that are zero before the first step block the gradient of all layers before them.
    """
    values = Values([_replace_zeros(value) for value in values.trainable], values.others)
    gradient = _gradient(model, training=False)
    alive = np.zeros(len(values.trainable), bool)
    for batch in batches:
        alive |= _are_not_zero(gradient(values, batch)[-1])
        if alive.all():
            break
    return alive


def _replace_zeros(value: Any) -> Any:
    """Return the weights, or small random ones if all are zero."""
    if to_numpy(value).any():
        return value
    small = np.random.default_rng(0).normal(scale=1e-3, size=tuple(value.shape))
    small = keras.ops.convert_to_tensor(small, dtype=keras.backend.standardize_dtype(value.dtype))
    return small.requires_grad_() if keras.config.backend() == "torch" else small


def loss_not_finite(loss: float) -> Finding | None:
    """Return an error if the loss is NaN or infinite."""
    if np.isfinite(loss):
        return None
    return Finding(
        "loss_not_finite", "error", f"the loss of the first batch is {loss}", "Look for log(0) or 0 / 0 in the loss."
    )


def gradient_not_finite(paths: Sequence[str], gradients: Sequence[np.ndarray | None]) -> Finding | None:
    """Return an error if a gradient is NaN or infinite."""
    pairs = zip(paths, gradients, strict=True)
    bad = [path for path, gradient in pairs if gradient is not None and not np.isfinite(gradient).all()]
    if not bad:
        return None
    evidence = f"the gradient is NaN or infinite in {_shorten(bad)}"
    return Finding(
        "gradient_not_finite", "error", evidence, "Look for sqrt, log or a division at 0 in the model and the loss."
    )


def without_gradient(paths: Sequence[str], alive: np.ndarray) -> list[str]:
    """Return the parameters without gradient, except biases in a layer that has one: a normalisation removes those."""
    layers_alive = {path.rpartition("/")[0] for path, lives in zip(paths, alive, strict=True) if lives}
    return [
        path
        for path, lives in zip(paths, alive, strict=True)
        if not lives and not (path.endswith("/bias") and path.rpartition("/")[0] in layers_alive)
    ]


def no_gradient(paths: Sequence[str], alive: np.ndarray, foreground: bool) -> Finding | None:
    """Return a warning about parameters without gradient, an error if none has one though there is foreground."""
    if foreground and not alive.any():
        remedy = "Look for a softmax over one channel, a stop_gradient, or a loss that does not use the prediction."
        return Finding("no_gradient", "error", f"none of the {len(paths)} parameters gets a gradient", remedy)
    dead = without_gradient(paths, alive)
    if not dead:
        return None
    evidence = f"{len(dead)} of {len(paths)} parameters get no gradient: {_shorten(dead)}"
    return Finding(
        "no_gradient", "warning", evidence, "They will not be trained: look for an unused layer, or a dead ReLU."
    )


def _shorten(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
