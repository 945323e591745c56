"""What all losses share: the preparation of a batch, and a Keras class around a pure function."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.targets import (
    Activation,
    align,
    find_activation,
    ignore_zero_weights,
    log_probability,
    logit,
    not_ignored,
    one_hot,
    pixel_weights,
)


@dataclass(frozen=True)
class Pixels:
    """A batch prepared for the losses; all tensors are float32."""

    foreground: KerasTensor
    """The mask, in [0, 1], `(B, ..., C)`; for softmax one-hot, with background in channel 0. 0 where ignored."""
    logits: KerasTensor
    """The logits, `(B, ..., C)`; 0 where ignored."""
    not_ignored: KerasTensor
    """1, or 0 where ignored; `(B, ..., C)`, for softmax `(B, ..., 1)`."""
    activation: Activation
    """Whether the channels are read each by itself, or one of them is right."""
    weight: KerasTensor | None = None
    """The weights of the pixels `(B, ..., 1)`; None where all are 1."""

    @cached_property
    def log_probability(self) -> KerasTensor:
        """The logarithm of the probability of each class by softmax, `(B, ..., C)`."""
        return ops.log_softmax(self.logits, axis=-1)

    @cached_property
    def probability(self) -> KerasTensor:
        """The probability of each class or channel, `(B, ..., C)`."""
        return ops.exp(self.log_probability) if self.activation == "softmax" else ops.sigmoid(self.logits)

    @property
    def channels(self) -> int:
        """Number of logits of a pixel."""
        return self.logits.shape[-1]

    def mean(self, cost: KerasTensor) -> KerasTensor:
        """Return the weighted cost of each image over the number of its pixels that are not ignored, `(B,)`, or 0.

        Args:
            cost: `(B, ..., C)`, for softmax `(B, ..., 1)`.
        """
        cost = cost * self.not_ignored
        if self.weight is not None:
            cost = cost * self.weight
        total, number = (ops.sum(sum_over_pixels(values), axis=-1) for values in (cost, self.not_ignored))
        return total / ops.maximum(number, 1.0)


def sum_over_pixels(values: KerasTensor) -> KerasTensor:
    """Return the sum over the pixels of each image: float32 `(B, ..., C)` to `(B, C)`.

    On JAX the rows of an image of one channel are summed by a product with ones. In a plain sum XLA may compute what is
    summed one pixel at a time on the CPU: the Dice loss took five times as long in validation as in training, where the
    gradient keeps these values (benchmarks/losses.py). Rows alone, since a product adds up one number after the other:
    over whole images it was wrong by 0.0002.

    >>> import numpy as np
    >>> np.asarray(sum_over_pixels(np.ones((2, 3, 4, 1), "float32"))).tolist()
    [[12.0], [12.0]]
    """
    width, channels = values.shape[-2:]
    if keras.config.backend() == "jax" and len(values.shape) > 3 and channels == 1 and width is not None:
        import jax

        with jax.default_matmul_precision("highest"):  # accelerators may round float32 to fewer bits in a product
            values = ops.matmul(values[..., 0], ops.ones((width, 1)))
    return ops.sum(values, axis=tuple(range(1, len(values.shape) - 1)))


def pixels(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    from_logits: bool,
    pixel_weight: KerasTensor | None = None,
    activation: Activation | None = None,
) -> Pixels:
    """Return foreground, logits and the pixels to count, in float32. A pixel of weight 0 is ignored.

    Ignored pixels are replaced before anything is computed from them, so even a NaN under a 255 does not reach the
    loss or its gradient. With one logit, class indices above 1 are foreground.

    Raises:
        ValueError: the shapes do not match, or do not fit the activation; see `kseg.targets.align` and
            `kseg.targets.find_activation`.
    """
    weight = pixel_weights(pixel_weight, y_pred)
    if pixel_weight is not None and weight is None:
        raise ValueError("pixel_weight has one weight an image; expected one a pixel, (batch, height, width).")
    y_true, y_pred = align(y_true, y_pred)
    activation = find_activation(y_true, y_pred, activation)
    if weight is not None:
        y_true = ignore_zero_weights(y_true, weight)
    valid = not_ignored(y_true)
    if activation == "softmax":
        valid = ops.all(valid, axis=-1, keepdims=True)
        if y_true.shape[-1] == 1:
            y_true = one_hot(y_true, y_pred.shape[-1])
    # Before the logit: its gradient at a NaN would be NaN, even where the logit is not used.
    y_pred = ops.where(valid, y_pred, 0.0 if from_logits else 0.5)
    if not from_logits:
        y_pred = log_probability(y_pred) if activation == "softmax" else logit(y_pred)
    return Pixels(
        foreground=ops.where(valid, ops.clip(y_true, 0.0, 1.0), 0.0),
        logits=y_pred,
        not_ignored=ops.cast(valid, "float32"),
        activation=activation,
        weight=weight,
    )


def weights_of_classes(class_weight: Sequence[float], number: int) -> KerasTensor:
    """Return class weights as float32 `(number,)`.

    Raises:
        ValueError: there is another number of them.
    """
    if len(class_weight) != number:
        raise ValueError(
            f"class_weight has {len(class_weight)} weights; expected {number}, one for each class, with the background "
            "first where it is a class."
        )
    return ops.convert_to_tensor(class_weight, dtype="float32")


def check_class_weight(class_weight: Sequence[float] | None) -> None:
    """Raise ValueError unless class weights are numbers of at least 0, and one is above 0."""
    if class_weight is None:
        return
    if not (all(math.isfinite(weight) and weight >= 0 for weight in class_weight) and any(class_weight)):
        raise ValueError(f"class_weight is {list(class_weight)}; expected 0 or more, and one of them above 0.")


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
