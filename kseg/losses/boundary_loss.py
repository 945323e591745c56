"""The boundary loss: how far predicted pixels are from the boundary of the mask."""

from typing import Any

import keras
from keras import KerasTensor, ops

from kseg.losses.base import FunctionLoss
from kseg.targets import Activation, logit


def boundary(
    distances: KerasTensor,
    y_pred: KerasTensor,
    *,
    from_logits: bool = True,
    include_background: bool = False,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Boundary loss of each image: the mean of probability times signed distance over pixels and channels.

    A false pixel costs as much as it is far from the object, and a right one saves as much as it is deep inside.
    Source: Kervadec et al., "Boundary loss for highly unbalanced segmentation", 2019, equation 5. It has no scale of
    its own and is flat where a model is certain; add it to another loss, with a weight such as 0.01 that may grow.

    Args:
        distances: signed distances in pixels, `(B, ..., C)`, negative inside the mask, NaN where pixels are ignored;
            `kseg.data.signed_distances` makes them.
        y_pred: logits or probabilities of the same shape.
        from_logits: whether they are logits.
        include_background: whether the first channel counts, by softmax.
        activation: "softmax" for classes with their background; None: sigmoid, each channel by itself.
        pixel_weight: the weight of each pixel, `(B, ...)` or `(B, ..., 1)`, at least 0.

    Returns:
        float32 `(B,)`; negative where the prediction is good.

    Raises:
        ValueError: the shapes differ.

    >>> import numpy as np
    >>> distances, logits = np.float32([[[[-1.0], [2.0]]]]), np.zeros((1, 1, 2, 1), "float32")
    >>> print(float(boundary(distances, logits)[0]))
    0.25
    """
    distances, y_pred = ops.cast(distances, "float32"), ops.cast(y_pred, "float32")
    if len(distances.shape) < 3 or tuple(distances.shape[1:]) != tuple(y_pred.shape[1:]):
        raise ValueError(
            f"The distances have shape {tuple(distances.shape)} and the prediction {tuple(y_pred.shape)}; expected the "
            "same, (batch, height, width, channels), with the distances that kseg.data.signed_distances makes."
        )
    valid = ops.isfinite(distances)
    # Both are replaced before they are used: a NaN times 0 would still be NaN in the gradient.
    distances, y_pred = ops.where(valid, distances, 0.0), ops.where(valid, y_pred, 0.0 if from_logits else 0.5)
    if activation == "softmax":
        probability = ops.softmax(y_pred, axis=-1) if from_logits else y_pred
    else:
        probability = ops.sigmoid(y_pred if from_logits else logit(y_pred))
    weight = ops.cast(valid, "float32")
    if pixel_weight is not None:
        own = ops.cast(pixel_weight, "float32")
        weight = weight * (own if len(own.shape) == len(weight.shape) else ops.expand_dims(own, -1))
    if activation == "softmax" and not include_background:
        distances, probability, weight = distances[..., 1:], probability[..., 1:], weight[..., 1:]
    axes = tuple(range(1, len(weight.shape)))
    return ops.divide_no_nan(ops.sum(probability * distances * weight, axis=axes), ops.sum(weight, axis=axes))


@keras.saving.register_keras_serializable("kseg")
class BoundaryLoss(FunctionLoss):
    """`boundary` as a Keras loss: it takes signed distances in place of masks.

    A model that learns from masks too has its logits as two outputs::

        logits = …
        model = keras.Model(images, {"mask": logits, "boundary": logits})
        model.compile(
            "adamw",
            loss={"mask": CombinedSegmentationLoss(), "boundary": BoundaryLoss()},
            loss_weights={"mask": 1.0, "boundary": 0.01},
        )
        model.fit(images, {"mask": masks, "boundary": distances})

    Args:
        from_logits, include_background, activation: as in `boundary`.
        reduction, name, dtype: as in every Keras loss.

    >>> import numpy as np
    >>> print(float(BoundaryLoss()(np.float32([[[[-1.0], [2.0]]]]), np.zeros((1, 1, 2, 1), "float32"))))
    0.25
    """

    def __init__(
        self,
        from_logits: bool = True,
        include_background: bool = False,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "boundary",
        dtype: Any = None,
    ) -> None:
        arguments = {"from_logits": from_logits, "include_background": include_background, "activation": activation}
        super().__init__(boundary, arguments, reduction=reduction, name=name, dtype=dtype)
