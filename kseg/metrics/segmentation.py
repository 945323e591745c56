"""Keras metrics for segmentation, exact for any number of pixels: over all pixels, or averaged over images.

All take masks `(B, ..., C)`, or `(B, ...)` for one channel, of any dtype (0 background, 1 or more foreground, 255
ignored), predictions `(B, ..., C)`, and `sample_weight`: `(B,)` for images, `(B, ...)` or `(B, ..., 1)` for pixels. A
weight of 0 leaves an image or a pixel out, any other counts it once. Positive means probability > threshold, so a logit
of 0 is background.
"""

from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import KerasTensor, ops

from kseg.metrics import ratios
from kseg.metrics.counts import ExactSums, confusion_counts, prediction_threshold


class _CountingMetric(keras.metrics.Metric):
    """A metric whose state is the exact totals of the counts that `_count` returns for each image.

    Args:
        threshold: a pixel is positive if its probability is greater; above 0 and below 1.
        from_logits: whether predictions are logits.
        name: the name in the logs.
        dtype: has no effect; the state is int32 and the result float32.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, the shapes do not match.
    """

    totals: ClassVar[tuple[str, ...]]
    default_name: ClassVar[str]

    def __init__(
        self,
        threshold: float = 0.5,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.threshold = threshold
        self.from_logits = from_logits
        self._above = prediction_threshold(threshold, from_logits)
        self._sums = ExactSums(self, len(self.totals))

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        self._sums.add(self._count(confusion_counts(y_true, y_pred, self._above, sample_weight)))

    def _count(self, confusion: KerasTensor) -> KerasTensor:
        """Return the counts to add, int32 `(B, len(totals))`, from tp, fp, fn, tn of each image, int32 `(B, 4)`."""
        raise NotImplementedError

    def counts(self) -> dict[str, int]:
        """Return the exact totals since the last reset, as Python integers."""
        return dict(zip(self.totals, self._sums.as_integers(), strict=True))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "threshold": self.threshold, "from_logits": self.from_logits}


class _PixelMetric(_CountingMetric):
    """A metric of all pixels together."""

    totals = ("tp", "fp", "fn", "tn")

    def _count(self, confusion: KerasTensor) -> KerasTensor:
        return confusion


@keras.saving.register_keras_serializable("kseg")
class SegmentationMetrics(_PixelMetric):
    """F1, IoU, precision, recall and accuracy over all pixels.

    `result()` is a dict, and Keras logs each value: `f1`, `iou`, `precision`, `recall`, `accuracy`, in validation with
    the prefix `val_`. 0/0 is 0.

    >>> import numpy as np
    >>> metrics = SegmentationMetrics()
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, -1, 3, -4]])[..., None]
    >>> metrics.update_state(mask, logits)
    >>> {name: round(float(value), 4) for name, value in metrics.result().items()}
    {'f1': 0.5, 'iou': 0.3333, 'precision': 0.5, 'recall': 0.5, 'accuracy': 0.5}
    >>> metrics.counts()
    {'tp': 1, 'fp': 1, 'fn': 1, 'tn': 1}
    """

    default_name = "segmentation_metrics"

    def result(self) -> dict[str, KerasTensor]:
        counts = self._sums.as_floats()
        return {
            "f1": ratios.f1(*counts),
            "iou": ratios.iou(*counts),
            "precision": ratios.precision(*counts),
            "recall": ratios.recall(*counts),
            "accuracy": ratios.accuracy(*counts),
        }


class _PixelRatio(_PixelMetric):
    """One score over all pixels."""

    _direction = "up"
    ratio: ClassVar[Callable[..., KerasTensor]]

    def result(self) -> KerasTensor:
        return type(self).ratio(*self._sums.as_floats())


@keras.saving.register_keras_serializable("kseg")
class F1Score(_PixelRatio):
    """F1 over all pixels: `2 tp / (2 tp + fp + fn)`, the same number as Dice; 0/0 is 0.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, -1, 3, -4]])[..., None]
    >>> print(float(F1Score()(mask, logits)))
    0.5
    """

    default_name = "f1"
    ratio = staticmethod(ratios.f1)


@keras.saving.register_keras_serializable("kseg")
class IoU(_PixelRatio):
    """Intersection over union of the foreground, over all pixels: `tp / (tp + fp + fn)`; 0/0 is 0.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, -1, 3, -4]])[..., None]
    >>> print(round(float(IoU()(mask, logits)), 4))
    0.3333
    """

    default_name = "iou"
    ratio = staticmethod(ratios.iou)


@keras.saving.register_keras_serializable("kseg")
class Precision(_PixelRatio):
    """Precision over all pixels: `tp / (tp + fp)`; 0/0 is 0.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, 2, 3, 4]])[..., None]
    >>> print(float(Precision()(mask, logits)))
    0.5
    """

    default_name = "precision"
    ratio = staticmethod(ratios.precision)


@keras.saving.register_keras_serializable("kseg")
class Recall(_PixelRatio):
    """Recall over all pixels: `tp / (tp + fn)`; 0/0 is 0.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, 2, 3, 4]])[..., None]
    >>> print(float(Recall()(mask, logits)))
    1.0
    """

    default_name = "recall"
    ratio = staticmethod(ratios.recall)


@keras.saving.register_keras_serializable("kseg")
class PixelAccuracy(_PixelRatio):
    """Share of the pixels that are correct; 0/0 is 0. High for an empty prediction where foreground is rare.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 0, 0, 0]]), np.float32([[-2, -1, -3, -4]])[..., None]
    >>> print(float(PixelAccuracy()(mask, logits)))
    0.75
    """

    default_name = "accuracy"
    ratio = staticmethod(ratios.accuracy)


class _ImageMean(_CountingMetric):
    """The mean of a score over the images that have foreground.

    An image with an empty mask has no score: its F1 and IoU are 0 or 0/0 for any prediction. Such images are left out;
    `counts()["empty"]` is their number, and `FalseAlarmRate` judges them. An image with only ignored pixels does not
    count.

    A score is rounded to a multiple of 2^-24 before it is added, so that the sum is a sum of integers and no result
    depends on the order of the images or the batch size.
    """

    _direction = "up"
    totals = ("score", "images", "empty")
    ratio: ClassVar[Callable[..., KerasTensor]]

    def _count(self, confusion: KerasTensor) -> KerasTensor:
        scores = type(self).ratio(*ops.unstack(ops.cast(confusion, "float32"), axis=-1))
        fixed_point = ops.cast(ops.round(scores * 2.0**24), "int32")
        with_foreground, empty = _with_and_without_foreground(confusion)
        return ops.stack([fixed_point * with_foreground, with_foreground, empty], axis=-1)

    def result(self) -> KerasTensor:
        score, images, _ = self._sums.as_floats()
        return ops.divide_no_nan(score * 2.0**-24, images)


@keras.saving.register_keras_serializable("kseg")
@keras.saving.register_keras_serializable("kseg", name="MeanF1")  # the name in older files
class ImageF1(_ImageMean):
    """Mean F1 of the images that have foreground; images with an empty mask are left out. 0 if no image has any.

    >>> import numpy as np
    >>> metric = ImageF1()
    >>> mask, logits = np.uint8([[1, 1], [1, 0], [0, 0]]), np.float32([[2, 2], [-2, -2], [2, 2]])[..., None]
    >>> print(float(metric(mask, logits)))
    0.5
    >>> metric.counts()["images"], metric.counts()["empty"]
    (2, 1)
    """

    default_name = "mean_f1"
    ratio = staticmethod(ratios.f1)


@keras.saving.register_keras_serializable("kseg")
@keras.saving.register_keras_serializable("kseg", name="MeanIoU")  # the name in older files
class ImageIoU(_ImageMean):
    """Mean IoU of the images that have foreground; images with an empty mask are left out. 0 if no image has any.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1], [1, 0]]), np.float32([[2, 2], [2, 2]])[..., None]
    >>> print(float(ImageIoU()(mask, logits)))
    0.75
    """

    default_name = "mean_iou"
    ratio = staticmethod(ratios.iou)


@keras.saving.register_keras_serializable("kseg")
class FalseAlarmRate(_CountingMetric):
    """Share of the images with an empty mask in which any pixel was predicted; 0 if there are none.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[0, 0], [0, 0], [1, 1]]), np.float32([[-2, 2], [-2, -2], [2, 2]])[..., None]
    >>> print(float(FalseAlarmRate()(mask, logits)))
    0.5
    """

    _direction = "down"
    default_name = "false_alarm_rate"
    totals = ("alarms", "empty")

    def _count(self, confusion: KerasTensor) -> KerasTensor:
        _, empty = _with_and_without_foreground(confusion)
        alarms = ops.cast(ops.greater(confusion[:, 1], 0), "int32")
        return ops.stack([alarms * empty, empty], axis=-1)

    def result(self) -> KerasTensor:
        return ops.divide_no_nan(*self._sums.as_floats())


def _with_and_without_foreground(confusion: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return 1 for images with foreground, and 1 for images with pixels but no foreground; both int32 `(B,)`."""
    tp, fp, fn, tn = ops.unstack(confusion, axis=-1)
    with_foreground = ops.greater(tp + fn, 0)
    empty = ops.logical_and(ops.logical_not(with_foreground), ops.greater(fp + tn, 0))
    return ops.cast(with_foreground, "int32"), ops.cast(empty, "int32")
