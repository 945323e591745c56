"""Checks of what the model ends in, logits or probabilities, beside what loss and metrics take."""

import keras
import numpy as np
from keras import layers

from kseg.checks.compiled import Measure
from kseg.checks.models import operations
from kseg.checks.verdicts import Refusal, doubt
from kseg.findings import Finding
from kseg.keras_private import compiled_metrics


def check_activation(model: keras.Model, loss: Measure) -> list[Finding | None]:
    """Whether loss and metrics take the output for what it is."""
    gives_logits = _gives_logits(model)
    findings = [wrong_logits(gives_logits, loss.name, loss.from_logits)]
    # Where the model does not tell, a metric can still differ from the loss.
    gives_logits = loss.from_logits if gives_logits is None else gives_logits
    for metric in compiled_metrics(model):
        from_logits = getattr(metric, "from_logits", None)
        findings.append(doubt(wrong_logits(gives_logits, type(metric).__name__, from_logits)))
    return findings


def wrong_logits(gives_logits: bool | None, name: str, from_logits: bool | None) -> Finding | None:
    """Refuse a loss that takes logits for probabilities, or the reverse; None is not known."""
    if None in (gives_logits, from_logits) or gives_logits == from_logits:
        return None
    if from_logits:
        evidence = f"the model gives probabilities, and {name} has from_logits=True"
        return Refusal("sigmoid_twice", evidence, "Leave out the last activation, or set from_logits=False.")
    evidence = f"the model gives logits, and {name} has from_logits=False"
    return Refusal("logits_as_probabilities", evidence, "Set from_logits=True, or end the model in a sigmoid.")


def no_probabilities(predictions: np.ndarray, name: str) -> Finding | None:
    """Refuse predictions that a loss with from_logits=False cannot take."""
    low, high = float(predictions.min()), float(predictions.max())
    if low >= -1e-3 and high <= 1 + 1e-3:
        return None
    evidence = f"the model predicts {low:.3g} to {high:.3g}, and {name} has from_logits=False"
    return Refusal("logits_as_probabilities", evidence, "Set from_logits=True, or end the model in a sigmoid.")


_KEEP_VALUES = (
    layers.Reshape,
    layers.Permute,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling2D,
    layers.UpSampling3D,
)


def _gives_logits(model: keras.Model) -> bool | None:
    """Whether the model ends in a learned layer without activation; None if its structure does not tell."""
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
