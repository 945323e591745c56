"""Checks of one gradient, and of the loss that it is of."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from kseg.checks.batches import Batch, to_numpy
from kseg.checks.compiled import Measure
from kseg.checks.logits import no_probabilities
from kseg.checks.models import Values
from kseg.checks.verdicts import Refusal
from kseg.findings import Finding


def check_gradient(
    model: keras.Model, values: Values, batches: Sequence[Batch], losses: Sequence[Measure], foreground: bool
) -> list[Finding | None]:
    """What the first batch gives; the others too, where a parameter gets no gradient."""
    loss, predictions, gradients = _gradient(model, training=True)(values, batches[0])
    paths = [variable.path for variable in model.trainable_variables]
    if refusal := loss_not_finite(loss) or gradient_not_finite(paths, gradients):
        return [refusal]
    alive = _alive(gradients)
    if without_gradient(paths, alive):
        alive |= _alive_elsewhere(model, values, batches)
    findings = [no_gradient(paths, alive, foreground)]
    if isinstance(predictions, np.ndarray) and [loss.from_logits for loss in losses] == [False]:
        findings.append(no_probabilities(predictions, losses[0].name))
    return findings


def _gradient(model: keras.Model, training: bool) -> Callable[[Values, Batch], tuple[float, Any, list[Any]]]:
    """A function to the loss, the predictions and the gradients of the trainable variables, all in NumPy."""

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
        predictions, gradients = keras.tree.map_structure(to_numpy, (predictions, list(gradients)))
        return float(to_numpy(loss)), predictions, gradients

    return gradient


def _alive(gradients: Sequence[np.ndarray | None]) -> np.ndarray:
    """Which gradients are not zero all over, `(N,)`."""
    return np.array([gradient is not None and bool((gradient != 0).any()) for gradient in gradients])


def _alive_elsewhere(model: keras.Model, values: Values, batches: Sequence[Batch]) -> np.ndarray:
    """Which gradients are not zero in some batch, without dropout, and with no weights of zero; `(N,)`.

    Weights that begin at zero let nothing through to what lies before them, until the first step.
    """
    values = Values([_without_zeros(value) for value in values.trainable], values.others)
    gradient = _gradient(model, training=False)
    alive = np.zeros(len(values.trainable), bool)
    for batch in batches:
        alive |= _alive(gradient(values, batch)[-1])
        if alive.all():
            break
    return alive


def _without_zeros(value: Any) -> Any:
    """The weights, or small ones if all are zero."""
    if to_numpy(value).any():
        return value
    small = np.random.default_rng(0).normal(scale=1e-3, size=tuple(value.shape))
    small = keras.ops.convert_to_tensor(small, dtype=keras.backend.standardize_dtype(value.dtype))
    return small.requires_grad_() if keras.config.backend() == "torch" else small


def loss_not_finite(loss: float) -> Finding | None:
    """Refuse NaN and infinity."""
    if np.isfinite(loss):
        return None
    return Refusal("loss_not_finite", f"the loss of the first batch is {loss}", "Look for log(0) or 0 / 0 in the loss.")


def gradient_not_finite(paths: Sequence[str], gradients: Sequence[np.ndarray | None]) -> Finding | None:
    """Refuse NaN and infinity."""
    pairs = zip(paths, gradients, strict=True)
    bad = [path for path, gradient in pairs if gradient is not None and not np.isfinite(gradient).all()]
    if not bad:
        return None
    evidence = f"the gradient is NaN or infinite in {_some(bad)}"
    return Refusal("gradient_not_finite", evidence, "Look for sqrt, log or a division at 0 in the model and the loss.")


def without_gradient(paths: Sequence[str], alive: np.ndarray) -> list[str]:
    """The parameters that are not alive, but for a bias beside one that is: a normalisation takes it away."""
    layers_alive = {path.rpartition("/")[0] for path, lives in zip(paths, alive, strict=True) if lives}
    return [
        path
        for path, lives in zip(paths, alive, strict=True)
        if not lives and not (path.endswith("/bias") and path.rpartition("/")[0] in layers_alive)
    ]


def no_gradient(paths: Sequence[str], alive: np.ndarray, foreground: bool) -> Finding | None:
    """Warn about parameters without a gradient; refuse, where there was foreground to learn, if none has one."""
    if foreground and not alive.any():
        remedy = "Look for a softmax over one channel, a stop_gradient, or a loss that does not use the prediction."
        return Refusal("no_gradient", f"none of the {len(paths)} parameters gets a gradient", remedy)
    dead = without_gradient(paths, alive)
    if not dead:
        return None
    evidence = f"{len(dead)} of {len(paths)} parameters get no gradient: {_some(dead)}"
    return Finding("no_gradient", evidence, "They will not be learned: look for a layer without use, or a dead ReLU.")


def _some(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
