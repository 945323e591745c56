"""Checks of the images, a batch an array, `(B, ..., C)`."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers

from kseg.checks.models import operations
from kseg.checks.verdicts import ENOUGH, Refusal
from kseg.findings import Finding


def check_images(images: Sequence[np.ndarray], model: keras.Model) -> list[Finding | None]:
    """What the images show, and what the model does to them first."""
    if refusal := images_not_finite(images):
        return [refusal]
    takes_integers = any("int" in symbol.dtype for symbol in getattr(model, "inputs", None) or ())
    return [
        constant_images(images),
        scaled_twice(images, _first_scale(model), takes_integers),
        not_scaled(images, takes_any_scale(model)),
    ]


def images_not_finite(images: Sequence[np.ndarray]) -> Finding | None:
    """Refuse NaN and infinity."""
    for number, batch in enumerate(images, 1):
        for place, image in enumerate(batch, 1):
            if bad := int((~np.isfinite(image)).sum()):
                evidence = f"batch {number}, image {place}: {bad} of {image.size} values are NaN or infinite"
                return Refusal("images_not_finite", evidence, "Look at that image, and at what it was divided by.")
    return None


def constant_images(images: Sequence[np.ndarray]) -> Finding | None:
    """Refuse images without any content, warn about some."""
    flat = [batch.reshape(len(batch), -1, batch.shape[-1] if batch.ndim > 3 else 1) for batch in images]
    constant = np.concatenate([(pixels == pixels[:, :1]).all((1, 2)) for pixels in flat])
    if not constant.any():
        return None
    kind = Refusal if constant.all() and len(constant) >= ENOUGH else Finding
    evidence = f"{constant.sum()} of {len(constant)} images have one colour all over"
    return kind("constant_images", evidence, "Look at how images are read, scaled and cast.")


def scaled_twice(images: Sequence[np.ndarray], scale: float | None, takes_integers: bool) -> Finding | None:
    """Warn if little is left of the images after the model's own `scale`, refuse if it rounds them to nothing."""
    reach = max(float(np.abs(batch.astype("float32")).max()) for batch in images)
    if takes_integers and reach <= 1 and np.issubdtype(images[0].dtype, np.floating):
        evidence = f"the images are fractions up to {reach:.3g}, and the model takes integers, which cuts them to 0"
        return Refusal("scaled_twice", evidence, "Give it the images as they are, 0 to 255.")
    if scale is not None and 0 < reach * scale < 0.02:
        evidence = f"the images reach {reach:.3g}, and the model multiplies them by {scale:.3g}"
        return Finding(
            "scaled_twice", evidence, "Give it the images as they are, 0 to 255, or leave out its Rescaling."
        )
    return None


def not_scaled(images: Sequence[np.ndarray], takes_any_scale: bool) -> Finding | None:
    """Warn if values spread far over 1 and nothing brings them down."""
    # By their spread, since an outlier among standardised values reaches as far as a dark picture of 0 to 255.
    spread = float(np.std(np.concatenate([batch.ravel() for batch in images]), dtype="float64"))
    if takes_any_scale or not spread > 5:
        return None
    evidence = f"the images have a standard deviation of {spread:.3g}, and no layer scales or normalises them"
    return Finding("not_scaled", evidence, "Begin the model with keras.layers.Rescaling(1 / 255).")


def _first_scale(model: keras.Model) -> float | None:
    """What a Rescaling multiplies by before anything is learned, None if there is none."""
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
    """Whether images are scaled or normalised up to behind the first learned layer, or it cannot be told."""
    learned = 0
    for operation in operations(model):
        known = isinstance(operation, layers.Layer) and type(operation).__module__.startswith("keras.")
        if isinstance(operation, _NORMALISE) or not known or isinstance(operation, layers.Lambda):
            return True
        learned += bool(operation.weights)
        if learned == 2:
            return False
    return learned == 0
