"""The default loss: a weighted sum of cross-entropy, Dice and focal."""

from typing import Any

import keras
from keras import KerasTensor

from kseg.losses.base import FunctionLoss, pixels
from kseg.losses.pixel import bce_of_pixels, check_focal, focal_of_pixels
from kseg.losses.region import check_region, tversky_of_pixels


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
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Weighted sum of `bce`, `dice` and `focal` for each image; images with an empty mask leave Dice out.

    Dice rewards finding small regions. BCE keeps its gradient where Dice has none, in a model that is confidently
    wrong. Focal stresses the pixels that are still wrong. On an empty mask Dice only lowers every prediction; where
    many masks are empty the model ends up finding nothing, so BCE and focal alone judge those images. (At 1%
    foreground, a third of the masks empty, validation F1 after twelve epochs was 0.354 without and 0.029 with Dice on
    empty masks; with the output bias at that share 0.388 and 0.000.)

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        bce_weight, dice_weight, focal_weight: at least 0, not all 0.
        alpha, gamma: see `focal`.
        smooth: see `dice`.
        from_logits: whether `y_pred` is logits.
        pixel_weight: see `bce` and `tversky`.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match; see `kseg.targets.align`.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(combined(mask, logits)[0]), 4))  # 0.4 * 0.6931 + 0.4 * 0.25 + 0.2 * 0.0433
    0.3859
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight)
    return (
        bce_weight * bce_of_pixels(batch)
        + dice_weight * tversky_of_pixels(batch, 0.5, 0.5, smooth, only_with_foreground=True)
        + focal_weight * focal_of_pixels(batch, alpha, gamma)
    )


@keras.saving.register_keras_serializable("kseg")
class CombinedSegmentationLoss(FunctionLoss):
    """BCE, Dice and focal as one Keras loss; see `combined`. The default of the command.

    An empty mask costs its BCE and focal: almost nothing if nothing is predicted. BCE and focal keep their gradient
    when a model is confidently wrong.

    Raises:
        ValueError: a weight is below 0, all weights are 0, or another argument is out of range.

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
