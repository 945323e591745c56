"""The default loss: cross-entropy, Dice and focal together."""

from typing import Any

import keras
from keras import KerasTensor

from kseg.losses.base import FunctionLoss, pixels
from kseg.losses.pixel import bce_of, check_focal, focal_of
from kseg.losses.region import check_region, tversky_of


def combined(
    y_true: KerasTensor,
    y_pred: KerasTensor,
    *,
    bce_weight: float = 0.4,
    dice_weight: float = 0.4,
    focal_weight: float = 0.2,
    alpha: float | None = 0.25,
    gamma: float = 2.0,
    smooth: float = 1.0,
    from_logits: bool = True,
) -> KerasTensor:
    """The weighted sum of `bce`, `dice` and `focal`, for each image; without Dice where the mask is empty.

    Dice rewards finding small regions, BCE keeps the gradient where Dice has none (a model that is wrong
    and sure), focal leans on the pixels that are still wrong. On an empty mask Dice says only "predict less than a
    pixel in all", and where many masks are empty it pushes every prediction down until nothing is found: the
    other two judge those images. (At 1% foreground, a third of the masks empty, validation F1 after twelve epochs was
    0.354 without and 0.029 with Dice on empty masks; with the output bias at that share 0.388 and 0.000.)

    Args:
        y_true: masks, `(B, ..., C)` or `(B, ...)`: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        bce_weight, dice_weight, focal_weight: at least 0, not all 0.
        alpha, gamma: see `focal`.
        smooth: see `dice`.
        from_logits: whether `y_pred` holds logits.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(combined(mask, logits)[0]), 4))  # 0.4 * 0.6931 + 0.4 * 0.25 + 0.2 * 0.0433
    0.3859
    """
    batch = pixels(y_true, y_pred, from_logits)
    return (
        bce_weight * bce_of(batch)
        + dice_weight * tversky_of(batch, 0.5, 0.5, smooth, only_with_foreground=True)
        + focal_weight * focal_of(batch, alpha, gamma)
    )


@keras.saving.register_keras_serializable("kseg")
class CombinedSegmentationLoss(FunctionLoss):
    """BCE, Dice and focal as one Keras loss; see `combined`. The default of the command.

    An empty mask costs what it costs in BCE and focal: next to nothing if nothing is predicted. A model that is
    wrong and sure keeps its gradient, from those two.

    Raises:
        ValueError: a weight is below 0, all are 0, or an argument of a part is out of its range.

    >>> import numpy as np
    >>> print(round(float(CombinedSegmentationLoss()(np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1)))), 4))
    0.3859
    """

    def __init__(
        self,
        bce_weight: float = 0.4,
        dice_weight: float = 0.4,
        focal_weight: float = 0.2,
        alpha: float | None = 0.25,
        gamma: float = 2.0,
        smooth: float = 1.0,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "combined",
        dtype: Any = None,
    ) -> None:
        weights = {"bce_weight": bce_weight, "dice_weight": dice_weight, "focal_weight": focal_weight}
        if not (all(weight >= 0 for weight in weights.values()) and sum(weights.values()) > 0):
            raise ValueError(f"The weights are {weights}; expected 0 or more, and one of them above 0.")
        check_focal(alpha, gamma)
        check_region(0.5, 0.5, smooth)
        arguments = {**weights, "alpha": alpha, "gamma": gamma, "smooth": smooth, "from_logits": from_logits}
        super().__init__(combined, arguments, reduction=reduction, name=name, dtype=dtype)
