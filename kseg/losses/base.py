"""What all losses share: the pixels they look at, and the Keras class around a pure function."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import KerasTensor, ops

from kseg.targets import align, known, logit


class Pixels(NamedTuple):
    """A batch as every loss sees it, all float32 `(B, ..., C)`."""

    foreground: KerasTensor
    """The share of foreground, in [0, 1]; 0 where ignored."""
    logits: KerasTensor
    """What the model says; 0 where ignored."""
    known: KerasTensor
    """1, or 0 where ignored."""


def pixels(y_true: KerasTensor, y_pred: KerasTensor, from_logits: bool) -> Pixels:
    """The foreground, the logits and the known pixels of a batch, in float32.

    Ignored pixels are replaced before anything is computed from them, so not even a NaN under a 255
    reaches the loss or its gradient. Class indices above 1 are foreground.
    """
    y_true, y_pred = align(y_true, y_pred)
    is_known = known(y_true)
    logits = y_pred if from_logits else logit(y_pred)
    return Pixels(
        foreground=ops.where(is_known, ops.clip(y_true, 0.0, 1.0), 0.0),
        logits=ops.where(is_known, logits, 0.0),
        known=ops.cast(is_known, "float32"),
    )


class FunctionLoss(keras.losses.Loss):
    """A pure function `(y_true, y_pred, **arguments) -> (B,)` as a Keras loss.

    Args:
        function: the loss of each image.
        arguments: what `function` takes by name; they are the configuration that Keras saves.
        reduction: how Keras reduces the values of a batch.
        name: the name of the loss.
        dtype: what Keras casts masks and predictions to; the sums are float32 whatever it is.
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
