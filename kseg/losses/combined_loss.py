"""The default loss: a weighted sum of cross-entropy, Dice and focal."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor

from kseg.losses.base import FunctionLoss, check_class_weight, pixels
from kseg.losses.pixel import check_focal, check_smoothing, cross_entropy_of_pixels, focal_of_pixels
from kseg.losses.region import check_region, tversky_of_pixels
from kseg.targets import Activation


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
    class_weight: Sequence[float] | None = None,
    label_smoothing: float = 0.0,
    include_background: bool = False,
    activation: Activation | None = None,
    pixel_weight: KerasTensor | None = None,
) -> KerasTensor:
    """Weighted sum of `cross_entropy`, `dice` and `focal` for each image; Dice leaves absent classes out.

    By sigmoid and by softmax alike Dice is the mean over the foreground classes that the mask contains, 0 if there is
    none. Dice rewards finding small regions. Cross-entropy keeps its gradient where Dice has none, in a model that is
    confidently wrong. Focal stresses the pixels that are still wrong. On an empty mask Dice only lowers every
    prediction; where many masks are empty the model ends up finding nothing, so cross-entropy and focal alone judge
    those images. (At 1% foreground, a third of the masks empty, validation F1 after twelve epochs was 0.354 without and
    0.029 with Dice on empty masks; with the output bias at that share 0.388 and 0.000.)

    Args:
        y_true: masks, `(B, ..., C)`, or `(B, ...)` for one channel: 0 background, 1 foreground, 255 ignored; or class
            indices `(B, ...)` or `(B, ..., 1)` for C > 1 logits.
        y_pred: logits `(B, ..., C)`, or probabilities with `from_logits=False`.
        bce_weight, dice_weight, focal_weight: at least 0, not all 0; `bce_weight` is that of cross-entropy.
        alpha, gamma: see `focal`.
        smooth: see `dice`.
        from_logits: whether `y_pred` is logits.
        class_weight: see `cross_entropy` and `tversky`.
        label_smoothing: that of cross-entropy alone.
        include_background: whether background is one of the classes of Dice.
        activation: see `cross_entropy`.
        pixel_weight: see `cross_entropy` and `tversky`.

    Returns:
        float32 `(B,)`, at least 0.

    Raises:
        ValueError: the shapes do not match, or do not fit the activation; `class_weight` has another length.

    >>> import numpy as np
    >>> mask, logits = np.ones((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), "float32")
    >>> print(round(float(combined(mask, logits)[0]), 4))  # 0.4 * 0.6931 + 0.4 * 0.25 + 0.2 * 0.0433
    0.3859
    """
    batch = pixels(y_true, y_pred, from_logits, pixel_weight, activation)
    region = tversky_of_pixels(batch, 0.5, 0.5, smooth, include_background, class_weight, only_with_foreground=True)
    return (
        bce_weight * cross_entropy_of_pixels(batch, class_weight, label_smoothing)
        + dice_weight * region
        + focal_weight * focal_of_pixels(batch, alpha, gamma, class_weight)
    )


@keras.saving.register_keras_serializable("kseg")
class CombinedSegmentationLoss(FunctionLoss):
    """Cross-entropy, Dice and focal as one Keras loss; see `combined`. The default of the command.

    An empty mask costs its cross-entropy and focal: almost nothing if nothing is predicted. Both keep their gradient
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
        class_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        include_background: bool = False,
        activation: Activation | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "combined",
        dtype: Any = None,
    ) -> None:
        weights = {"bce_weight": bce_weight, "dice_weight": dice_weight, "focal_weight": focal_weight}
        if not (all(weight >= 0 for weight in weights.values()) and sum(weights.values()) > 0):
            raise ValueError(f"The weights are {weights}; expected 0 or more, and one of them above 0.")
        check_focal(alpha, gamma)
        check_region(0.5, 0.5, smooth)
        check_class_weight(class_weight)
        check_smoothing(label_smoothing)
        arguments = {
            **weights,
            "alpha": alpha,
            "gamma": gamma,
            "smooth": smooth,
            "from_logits": from_logits,
            "class_weight": class_weight,
            "label_smoothing": label_smoothing,
            "include_background": include_background,
            "activation": activation,
        }
        super().__init__(combined, arguments, reduction=reduction, name=name, dtype=dtype)
