"""Checks of the images: a list of batches `(B, ..., C)`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from kseg.checks.batches import ENOUGH
from kseg.checks.models import operations
from kseg.data.quality import channel_range
from kseg.findings import Finding, Severity


def check_images(images: Sequence[np.ndarray], model: keras.Model) -> list[Finding | None]:
    """Check the values of the images, and what the model does to them first."""
    if finding := images_not_finite(images):
        return [finding]
    takes_integers = any("int" in symbol.dtype for symbol in getattr(model, "inputs", None) or ())
    return [
        constant_images(images),
        scaled_twice(images, _first_scale(model), takes_integers),
        not_scaled(images, takes_any_scale(model)),
    ]


def images_not_finite(images: Sequence[np.ndarray]) -> Finding | None:
    """Return an error if a value is NaN or infinite."""
    for batch_number, batch in enumerate(images, 1):
        for image_number, image in enumerate(batch, 1):
            if bad := int((~np.isfinite(image)).sum()):
                evidence = (
                    f"batch {batch_number}, image {image_number}: {bad} of {image.size} values are NaN or infinite"
                )
                return Finding(
                    "images_not_finite", "error", evidence, "Look at that image, and at the number it was divided by."
                )
    return None


def constant_images(images: Sequence[np.ndarray]) -> Finding | None:
    """Return an error if all images are of one colour, a warning if some are."""
    constant = [
        channel_range(image if image.ndim > 2 else image[..., None]) == 0 for batch in images for image in batch
    ]
    if not any(constant):
        return None
    severity: Severity = "error" if all(constant) and len(constant) >= ENOUGH else "warning"
    evidence = f"{sum(constant)} of {len(constant)} images have one colour all over"
    return Finding("constant_images", severity, evidence, "Look at how images are read, scaled and cast.")


def scaled_twice(images: Sequence[np.ndarray], scale: float | None, takes_integers: bool) -> Finding | None:
    """Return a warning if the model's own `scale` makes all values tiny, an error if it rounds them to 0."""
    reach = max(float(np.abs(batch.astype("float32")).max()) for batch in images)
    if takes_integers and reach <= 1 and np.issubdtype(images[0].dtype, np.floating):
        evidence = f"the images are fractions up to {reach:.3g}, and the model takes integers, which cuts them to 0"
        return Finding("scaled_twice", "error", evidence, "Pass images of 0 to 255.")
    if scale is not None and 0 < reach * scale < 0.02:
        evidence = f"the images reach {reach:.3g}, and the model multiplies them by {scale:.3g}"
        return Finding("scaled_twice", "warning", evidence, "Pass images of 0 to 255, or remove its Rescaling.")
    return None


def not_scaled(images: Sequence[np.ndarray], takes_any_scale: bool) -> Finding | None:
    """Return a warning if the values are far above 1, and no layer scales or normalises them."""
    # The deviation decides: one outlier among standardised values is as large as a dark picture of 0 to 255.
    spread = float(np.std(np.concatenate([batch.ravel() for batch in images]), dtype="float64"))
    if takes_any_scale or not spread > 5:
        return None
    evidence = f"the images have a standard deviation of {spread:.3g}, and no layer scales or normalises them"
    return Finding("not_scaled", "warning", evidence, "Begin the model with keras.layers.Rescaling(1 / 255).")


def _first_scale(model: keras.Model) -> float | None:
    """Return the factor of the first Rescaling before any layer with weights; None if there is none."""
    for operation in operations(model):
        if isinstance(operation, layers.Rescaling):
            return float(np.max(np.abs(operation.scale)))
        if getattr(operation, "weights", ()):
            break
    return None


_NORMALISE = (
    layers.Rescaling,
    layers.Normalization,
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


def takes_any_scale(model: keras.Model) -> bool:
    """Return whether the model scales or normalises images by its first layer with weights; True if unknown."""
    learned = 0
    for operation in operations(model):
        of_keras = isinstance(operation, layers.Layer) and type(operation).__module__.startswith("keras.")
        if isinstance(operation, _NORMALISE) or not of_keras or isinstance(operation, layers.Lambda):
            return True
        learned += bool(operation.weights)
        if learned == 2:
            return False
    return learned == 0
