"""What all losses share: the preparation of a batch, and a Keras class around a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.targets import align, ignore_zero_weights, logit, not_ignored, pixel_weights


class Pixels(NamedTuple):
    """A batch prepared for the losses; all fields are float32 `(B, ..., C)`."""

    foreground: KerasTensor
    """The mask, in [0, 1]; 0 where ignored."""
    logits: KerasTensor
    """The logits; 0 where ignored."""
    not_ignored: KerasTensor
    """1, or 0 where ignored."""
    weight: KerasTensor | None = None
    """The weights of the pixels `(B, ..., 1)`; None where all are 1."""

    def weighted(self, values: KerasTensor) -> KerasTensor:
        """Return values of the pixels times their weights; 0 where ignored."""
        values = values * self.not_ignored
        return values if self.weight is None else values * self.weight


def pixels(
    y_true: KerasTensor, y_pred: KerasTensor, from_logits: bool, pixel_weight: KerasTensor | None = None
) -> Pixels:
    """Return foreground, logits and the pixels to count, in float32. A pixel of weight 0 is ignored.

    Ignored pixels are replaced before anything is computed from them, so even a NaN under a 255 does not reach the
    loss or its gradient. Class indices above 1 are foreground.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.
    """
    weight = pixel_weights(pixel_weight, y_pred)
    if pixel_weight is not None and weight is None:
        raise ValueError("pixel_weight has one weight an image; expected one a pixel, (batch, height, width).")
    y_true, y_pred = align(y_true, y_pred)
    if weight is not None:
        y_true = ignore_zero_weights(y_true, weight)
    valid = not_ignored(y_true)
    # Before the logit: its gradient at a NaN would be NaN, even where the logit is not used.
    y_pred = ops.where(valid, y_pred, 0.0 if from_logits else 0.5)
    return Pixels(
        foreground=ops.where(valid, ops.clip(y_true, 0.0, 1.0), 0.0),
        logits=y_pred if from_logits else logit(y_pred),
        not_ignored=ops.cast(valid, "float32"),
        weight=weight,
    )


class FunctionLoss(keras.losses.Loss):
    """A pure function `(y_true, y_pred, **arguments) -> (B,)` as a Keras loss.

    `sample_weight`, as in `fit`, is one weight an image, `(B,)`, which multiplies the loss of the image; or one a
    pixel, `(B, H, W)` or `(B, H, W, 1)`, which the function takes as `pixel_weight`. Any other shape raises ValueError.

    Args:
        function: computes the loss of each image; takes `pixel_weight` too.
        arguments: the keyword arguments of `function`; Keras saves them as the config.
        reduction: how Keras reduces the values of a batch.
        name: the name of the loss.
        dtype: what Keras casts masks and predictions to; sums are always float32.
    """

    def __init__(
        self,
        function: Callable[..., KerasTensor],
        arguments: dict[str, Any],
        *,
        reduction: str | None,
        name: str | None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self._function = function
        self._arguments = arguments

    def __call__(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> KerasTensor:
        weight = pixel_weights(sample_weight, ops.convert_to_tensor(y_pred))
        if weight is None:
            return super().__call__(y_true, y_pred, sample_weight)
        # Keras weighs what `call` returns, one value an image; so the weights of pixels go in with the mask.
        return super().__call__((y_true, weight), y_pred)

    def call(self, y_true: Any, y_pred: KerasTensor) -> KerasTensor:
        mask, weight = y_true if isinstance(y_true, tuple) else (y_true, None)
        arguments = self._arguments if weight is None else {**self._arguments, "pixel_weight": weight}
        return self._function(mask, y_pred, **arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype, **self._arguments}
