"""Checks whether the model gives what loss and metrics expect: logits or probabilities."""

import keras
import numpy as np
from keras import layers

from kseg.checks.compiled import Measure
from kseg.checks.models import operations
from kseg.findings import Finding
from kseg.keras_private import compiled_metrics


def check_activation(model: keras.Model, loss: Measure) -> list[Finding | None]:
    """Check loss and metrics against the last activation of the model."""
    gives_logits = _gives_logits(model)
    findings = [wrong_logits(gives_logits, loss.name, loss.from_logits)]
    # If the model does not show it, a metric can still disagree with the loss.
    gives_logits = loss.from_logits if gives_logits is None else gives_logits
    for metric in compiled_metrics(model):
        from_logits = getattr(metric, "from_logits", None)
        finding = wrong_logits(gives_logits, type(metric).__name__, from_logits)
        findings.append(finding and finding.as_warning())
    return findings


def wrong_logits(gives_logits: bool | None, name: str, from_logits: bool | None) -> Finding | None:
    """Return an error if logits are taken for probabilities, or the reverse; None means unknown."""
    if None in (gives_logits, from_logits) or gives_logits == from_logits:
        return None
    if from_logits:
        evidence = f"the model gives probabilities, and {name} has from_logits=True"
        return Finding("sigmoid_twice", "error", evidence, "Remove the last activation, or set from_logits=False.")
    evidence = f"the model gives logits, and {name} has from_logits=False"
    return Finding("logits_as_probabilities", "error", evidence, "Set from_logits=True, or end the model in a sigmoid.")


def not_probabilities(predictions: np.ndarray, name: str) -> Finding | None:
    """Return an error if predictions are no probabilities, which a loss with from_logits=False expects."""
    low, high = float(predictions.min()), float(predictions.max())
    if low >= -1e-3 and high <= 1 + 1e-3:
        return None
    evidence = f"the model predicts {low:.3g} to {high:.3g}, and {name} has from_logits=False"
    return Finding("logits_as_probabilities", "error", evidence, "Set from_logits=True, or end the model in a sigmoid.")


_KEEP_VALUES = (
    layers.Reshape,
    layers.Permute,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling2D,
    layers.UpSampling3D,
)


def _gives_logits(model: keras.Model) -> bool | None:
    """Return whether the model ends in a layer with weights and no activation; None if its structure hides it."""
    for operation in reversed(operations(model)):
        function = getattr(operation, "activation", type(operation))
        activation = getattr(function, "__name__", "").lower().replace("_", "")
        if activation in ("sigmoid", "softmax", "hardsigmoid"):
            return False
        if activation == "linear" and operation.weights:
            return True
        if activation != "linear" and not isinstance(operation, _KEEP_VALUES):
            break
    return None
