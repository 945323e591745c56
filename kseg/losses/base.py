"""What all losses share: the preparation of a batch, and a Keras class around a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.targets import align, logit, not_ignored


class Pixels(NamedTuple):
    """A batch prepared for the losses; all fields are float32 `(B, ..., C)`."""

    foreground: KerasTensor
    """The mask, in [0, 1]; 0 where ignored."""
    logits: KerasTensor
    """The logits; 0 where ignored."""
    not_ignored: KerasTensor
    """1, or 0 where ignored."""


def pixels(y_true: KerasTensor, y_pred: KerasTensor, from_logits: bool) -> Pixels:
    """Return foreground, logits and the pixels to count, in float32.

    Ignored pixels are replaced before anything is computed from them, so even a NaN under a 255 does not reach the
    loss or its gradient. Class indices above 1 are foreground.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.
    """
    y_true, y_pred = align(y_true, y_pred)
    valid = not_ignored(y_true)
    logits = y_pred if from_logits else logit(y_pred)
    return Pixels(
        foreground=ops.where(valid, ops.clip(y_true, 0.0, 1.0), 0.0),
        logits=ops.where(valid, logits, 0.0),
        not_ignored=ops.cast(valid, "float32"),
    )


class FunctionLoss(keras.losses.Loss):
    """A pure function `(y_true, y_pred, **arguments) -> (B,)` as a Keras loss.

    Args:
        function: computes the loss of each image.
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

    def call(self, y_true: KerasTensor, y_pred: KerasTensor) -> KerasTensor:
        return self._function(y_true, y_pred, **self._arguments)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dtype": self.dtype, **self._arguments}
