"""Keras metrics for segmentation, exact for any number of pixels: over all pixels, or averaged over images.

All take masks of any dtype and predictions `(B, ..., C)`. The shapes decide how they are read, as in the losses:

- as many mask channels as logits, `(B, ..., C)`, or `(B, ...)` for one: 0 is background, 1 or more foreground, each
  channel by itself. Positive means probability > threshold, so a logit of 0 is background.
- class indices, `(B, ...)` or `(B, ..., 1)`, for C > 1 logits: the class with the largest logit is predicted.
  Background, class 0, is in no mean, except in `MeanIoU` and in the accuracy.

255 is ignored. `sample_weight` is `(B,)` for images, `(B, ...)` or `(B, ..., 1)` for pixels: a weight of 0 leaves an
image or a pixel out, any other counts it once. A class that no mask contains has no score, NaN, and is in no mean.
"""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import keras
import numpy as np
from keras import KerasTensor, ops

from kseg.backend import one_program
from kseg.metrics import ratios
from kseg.metrics.counts import (
    ExactSums,
    confusion_counts,
    confusion_matrices,
    leave_out,
    prediction_threshold,
    with_output,
)
from kseg.targets import Activation, find_activation
from kseg.task import safe_names

Average = Literal["macro", "micro"]


class _CountingMetric(keras.metrics.Metric):
    """A metric whose state is the exact totals, class by class, of the counts that `_count` returns for each image.

    The state is made in the first update, which tells the number of classes.

    Args:
        threshold: a pixel is positive if its probability is greater; above 0 and below 1. Without effect by softmax.
        from_logits: whether predictions are logits.
        name: the name in the logs.
        dtype: has no effect; the state is int32 and the result float32.
        activation: "softmax" for one-hot masks with their background; None: the shapes decide.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, the shapes do not match, or the number of classes
            is not that of the first update.
    """

    totals: ClassVar[tuple[str, ...]]
    default_name: ClassVar[str]

    def __init__(
        self,
        threshold: float = 0.5,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
        activation: Activation | None = None,
    ) -> None:
        super().__init__(name=name or self.default_name, dtype=dtype)
        self.threshold = threshold
        self.from_logits = from_logits
        self.activation = activation
        self._above = prediction_threshold(threshold, from_logits)
        self._exact: ExactSums | None = None
        self._classes = 1
        self._has_background = False

    def update_state(self, y_true: KerasTensor, y_pred: KerasTensor, sample_weight: Any = None) -> None:
        y_true, y_pred = leave_out(y_true, y_pred, sample_weight)
        activation = find_activation(y_true, y_pred, self.activation)
        self._begin(y_pred.shape[-1], activation)
        self._sums.add(ops.reshape(self._counts_of(y_true, y_pred, activation), (-1, self._size)))

    def _counts_of(self, y_true: KerasTensor, y_pred: KerasTensor, activation: Activation) -> KerasTensor:
        """Return the counts to add for each image, int32 `(B, ...)` of `_size` values, from an aligned batch."""
        return self._count(confusion_counts(y_true, y_pred, self._above, activation))

    def _begin(self, classes: int, activation: Activation) -> None:
        """Make the state for so many classes, or check that it is for as many."""
        if self._exact is None:
            self._classes, self._has_background = classes, activation == "softmax"
        elif classes != self._classes or self._has_background != (activation == "softmax"):
            raise ValueError(
                f"{self.name} has counted {self._classes} classes, and the prediction has {classes} by {activation}; "
                "expected the same in all batches. Make a new metric."
            )

    @property
    def _sums(self) -> ExactSums:
        if self._exact is None:
            self._exact = ExactSums(self, self._size)
        return self._exact

    @property
    def _size(self) -> int:
        """Number of totals of all classes."""
        return self._classes * len(self.totals)

    # Reading must not make the state: before the first update the number of classes is not known.

    def _as_tensor(self) -> KerasTensor:
        return ops.zeros((self._size,)) if self._exact is None else self._exact.as_tensor()

    def _as_array(self) -> np.ndarray:
        return np.zeros(self._size, np.int64) if self._exact is None else self._exact.as_array()

    def _count(self, confusion: KerasTensor) -> KerasTensor:
        """Return the counts to add, int32 `(B, C, len(totals))`, from tp, fp, fn, tn, int32 `(B, C, 4)`."""
        raise NotImplementedError

    def _by_class(self) -> list[KerasTensor]:
        """Return each total as float32 `(C,)`, one value a class."""
        return ops.unstack(ops.reshape(self._as_tensor(), (self._classes, len(self.totals))), axis=-1)

    def _foreground(self, values: KerasTensor) -> KerasTensor:
        """Return the values of the foreground classes, from those of all."""
        return values[1:] if self._has_background else values

    def counts(self) -> dict[str, Any]:
        """Return the exact totals since the last reset, as Python integers; of several classes a list for each."""
        by_class = self._exact_by_class()
        of_total = by_class[0] if self._classes == 1 else by_class.T
        return dict(zip(self.totals, of_total.tolist(), strict=True))

    def _exact_by_class(self) -> np.ndarray:
        """Return the exact totals of each class, int64 `(C, len(totals))`."""
        return self._as_array().reshape(self._classes, -1)

    def get_config(self) -> dict[str, Any]:
        own = {"threshold": self.threshold, "from_logits": self.from_logits, "activation": self.activation}
        return {**super().get_config(), **own}


class _PixelMetric(_CountingMetric):
    """A metric of all pixels together; by softmax its state is the confusion matrix of the classes."""

    totals = ("tp", "fp", "fn", "tn")

    def _counts_of(self, y_true: KerasTensor, y_pred: KerasTensor, activation: Activation) -> KerasTensor:
        if activation == "softmax":
            return confusion_matrices(y_true, y_pred)
        return confusion_counts(y_true, y_pred, self._above)

    @property
    def _size(self) -> int:
        return self._classes**2 if self._has_background else super()._size

    def confusion(self) -> np.ndarray:
        """Return the exact counts since the last reset: by softmax int64 `(C, C)`, how many pixels of each class were
        predicted as each, rows of the masks; else tp, fp, fn, tn of each channel, int64 `(K, 4)`.

        On JAX, inside a batch, call `model.jax_state_sync()` first.
        """
        return self._as_array().reshape(self._classes, -1)

    def _exact_by_class(self) -> np.ndarray:
        counts = self.confusion()
        if not self._has_background:
            return counts
        return np.stack(_one_against_all(counts, np.eye(self._classes, dtype=np.int64), np.sum), axis=-1)

    def _by_class(self) -> list[KerasTensor]:
        if not self._has_background:
            return super()._by_class()
        matrix = ops.reshape(self._as_tensor(), (self._classes, self._classes))
        return _one_against_all(matrix, ops.eye(self._classes), ops.sum)

    def _accuracy(self, by_class: list[KerasTensor]) -> KerasTensor:
        """Return the share of the pixels that are right; by sigmoid, of the pixels of all channels."""
        tp, fp, fn, tn = by_class
        if self._has_background:  # each pixel is in the counts of every class
            return ops.divide_no_nan(ops.sum(tp), (tp + fp + fn + tn)[0])
        return ratios.accuracy(*(ops.sum(total) for total in (tp, fp, fn, tn)))


def _one_against_all(matrix: Any, diagonal: Any, total: Callable[..., Any]) -> list[Any]:
    """Return tp, fp, fn, tn of each class, each `(C,)`, from a confusion matrix `(C, C)`, with the sum of a library."""
    tp, wrong = total(matrix * diagonal, axis=0), matrix * (1 - diagonal)
    fp, fn = total(wrong, axis=0), total(wrong, axis=1)
    return [tp, fp, fn, total(matrix) - tp - fp - fn]


def _contained(by_class: Sequence[KerasTensor]) -> KerasTensor:
    """Return which classes the masks contain, bool `(C,)`, from tp, fp, fn, tn."""
    tp, _, fn, _ = by_class
    return ops.greater(tp + fn, 0.0)


def _score_classes(ratio: Callable[..., KerasTensor], by_class: list[KerasTensor]) -> KerasTensor:
    """Return the score of each class, `(C,)`; NaN for a class that no mask contains."""
    return ops.where(_contained(by_class), ratio(*by_class), float("nan"))


_SCORES = {"f1": ratios.f1, "iou": ratios.iou, "precision": ratios.precision, "recall": ratios.recall}


@one_program()
def _mean_scores(*foreground: KerasTensor) -> list[KerasTensor]:
    """Return the mean of each score over the classes that the masks contain; 0 if they contain none.

    Args:
        foreground: tp, fp, fn, tn of the foreground classes, each float32 `(C,)`.
    """
    contained = _contained(foreground)
    return [_mean_of_contained(ratio(*foreground), contained) for ratio in _SCORES.values()]


def _mean_of_contained(values: KerasTensor, contained: KerasTensor) -> KerasTensor:
    weights = ops.cast(contained, "float32")
    return ops.divide_no_nan(ops.sum(ops.where(contained, values, 0.0)), ops.sum(weights))


@keras.saving.register_keras_serializable("kseg")
class SegmentationMetrics(_PixelMetric):
    """F1, IoU, precision, recall and accuracy over all pixels.

    `result()` is a dict, and Keras logs each value: `f1`, `iou`, `precision`, `recall`, `accuracy`, in validation with
    the prefix `val_`. 0/0 is 0. Of several classes the first four are means over the foreground classes that the masks
    contain; with `class_names` there is one value a class beside them, such as `f1_cat` and `iou_cat`.

    Args:
        threshold: a pixel is positive if its probability is greater; above 0 and below 1. Without effect by softmax.
        from_logits: whether predictions are logits.
        name: the name of the metric; the logs have the names of its values.
        dtype: has no effect; the state is int32 and the result float32.
        class_names: a name for each channel, by softmax with that of background first.
        activation: "softmax" for one-hot masks with their background; None: the shapes decide.
        output_name: in a model of several outputs the name of the output, which is put before the names in the logs.

    Raises:
        ValueError: the threshold is out of range; in `update_state`, the shapes do not match, or the number of names is
            not that of the channels.

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

    def __init__(
        self,
        threshold: float = 0.5,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
        class_names: Sequence[str] | None = None,
        activation: Activation | None = None,
        output_name: str | None = None,
    ) -> None:
        super().__init__(threshold, from_logits, name, dtype, activation)
        self.output_name = output_name
        self.class_names = None if class_names is None else tuple(class_names)

    def result(self) -> dict[str, KerasTensor]:
        by_class = self._by_class()
        means = dict(zip(_SCORES, _mean_scores(*map(self._foreground, by_class)), strict=True))
        results = {**means, "accuracy": self._accuracy(by_class), **self._of_each_class(by_class)}
        return with_output(self.output_name, results)

    def _of_each_class(self, by_class: list[KerasTensor]) -> dict[str, KerasTensor]:
        if self.class_names is None or self._classes == 1:
            return {}
        names = safe_names(self.class_names)[self._has_background :]
        return {
            f"{score}_{name}": value
            for score, ratio in (("f1", ratios.f1), ("iou", ratios.iou))
            for name, value in zip(names, ops.unstack(self._foreground(_score_classes(ratio, by_class))), strict=True)
        }

    def _begin(self, classes: int, activation: Activation) -> None:
        if self.class_names is not None and len(self.class_names) != classes:
            raise ValueError(
                f"class_names are {', '.join(self.class_names)}, and the prediction has {classes} channels; expected a "
                "name for each, with that of background first where it is a class."
            )
        super()._begin(classes, activation)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "class_names": self.class_names, "output_name": self.output_name}


class _PixelRatio(_PixelMetric):
    """One score over all pixels.

    Args:
        threshold, from_logits, name, dtype, activation: see `SegmentationMetrics`.
        average: of several classes, "macro" is the mean over the foreground classes that the masks contain; "micro" the
            score of their pixels added up; None gives one value a class, background included where it is one, and NaN
            for a class that no mask contains.

    Raises:
        ValueError: `average` is none of the three; as from `SegmentationMetrics`.
    """

    _direction = "up"
    ratio: ClassVar[Callable[..., KerasTensor]]

    def __init__(
        self,
        threshold: float = 0.5,
        from_logits: bool = True,
        name: str | None = None,
        dtype: Any = None,
        average: Average | None = "macro",
        activation: Activation | None = None,
    ) -> None:
        super().__init__(threshold, from_logits, name, dtype, activation)
        if average not in ("macro", "micro", None):
            raise ValueError(f"average is {average!r}; expected 'macro', 'micro' or None.")
        self.average = average

    def result(self) -> KerasTensor:
        ratio, by_class = type(self).ratio, self._by_class()
        if self.average == "macro":
            foreground = [self._foreground(total) for total in by_class]
            return _mean_of_contained(ratio(*foreground), _contained(foreground))
        if self.average == "micro":
            return ratio(*(ops.sum(self._foreground(total)) for total in by_class))
        return _score_classes(ratio, by_class)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "average": self.average}


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


@keras.saving.register_keras_serializable("kseg", name="MeanClassIoU")  # files of kseg 0.1 call ImageIoU MeanIoU
class MeanIoU(_PixelMetric):
    """Mean IoU over all classes that the masks contain, background among them, as in VOC and Cityscapes; 0 without any.

    Of one logit it is the mean over background and foreground. Of several labels, each read by itself, it is the mean
    over the labels.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 1, 0, 0]]), np.float32([[2, -1, 3, -4]])[..., None]
    >>> print(round(float(MeanIoU()(mask, logits)), 4))
    0.3333
    """

    _direction = "up"
    default_name = "mean_class_iou"

    def result(self) -> KerasTensor:
        by_class = self._by_class()
        if self._classes == 1:  # background is foreground with both seen the other way round
            tp, fp, fn, tn = by_class
            by_class = [ops.concatenate(pair) for pair in ((tn, tp), (fn, fp), (fp, fn), (tp, tn))]
        return _mean_of_contained(ratios.iou(*by_class), _contained(by_class))


@keras.saving.register_keras_serializable("kseg")
class ConfusionMatrix(_PixelMetric):
    """How many pixels of each class were predicted as each class: rows of the masks, columns of the predictions.

    `result()` is float32 `(C, C)`, and `confusion()` the exact int64 counts. Masks and predictions are those of
    softmax: class indices, or one-hot masks, `(B, ..., C)`, for C > 1 logits. Keras logs no matrix: call it yourself,
    or take `SegmentationMetrics`, which has `confusion()` too.

    Args:
        from_logits: whether predictions are logits.
        name: the name in the logs.
        dtype: has no effect; the state is int32 and the result float32.

    Raises:
        ValueError: in `update_state`, the shapes do not match, there is one logit, or another number of them than in
            the first update.

    >>> import numpy as np
    >>> metric = ConfusionMatrix()
    >>> metric.update_state(np.uint8([[[0, 1], [2, 2]]]), np.float32(np.eye(3)[[[[0, 1], [1, 2]]]]))
    >>> metric.confusion().tolist()
    [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    """

    default_name = "confusion_matrix"

    def __init__(self, from_logits: bool = True, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(from_logits=from_logits, name=name, dtype=dtype, activation="softmax")

    def result(self) -> KerasTensor:
        return ops.reshape(self._as_tensor(), (self._classes, -1))

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        return {name: config[name] for name in ("name", "dtype", "from_logits")}


@keras.saving.register_keras_serializable("kseg")
class PixelAccuracy(_PixelMetric):
    """Share of the pixels that are correct; 0/0 is 0. High for an empty prediction where foreground is rare.

    >>> import numpy as np
    >>> mask, logits = np.uint8([[1, 0, 0, 0]]), np.float32([[-2, -1, -3, -4]])[..., None]
    >>> print(float(PixelAccuracy()(mask, logits)))
    0.75
    """

    _direction = "up"
    default_name = "accuracy"

    def result(self) -> KerasTensor:
        return self._accuracy(self._by_class())


class _ImageMean(_CountingMetric):
    """The mean of a score over the images that have foreground.

    An image with an empty mask has no score: its F1 and IoU are 0 or 0/0 for any prediction. Such images are left out;
    `counts()["empty"]` is their number, and `FalseAlarmRate` judges them. An image with only ignored pixels does not
    count.

    A score is rounded to a multiple of 2^-24 before it is added, so that the sum is a sum of integers and no result
    depends on the order of the images or the batch size. Of several classes it is the mean over the foreground classes
    that the masks contain, each averaged over the images that have it.
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
        score, images, _ = map(self._foreground, self._by_class())
        return _mean_of_contained(ops.divide_no_nan(score * 2.0**-24, images), ops.greater(images, 0.0))


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

    Of several classes it is the mean over the foreground classes, each of the images without it.

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
        alarms = ops.cast(ops.greater(confusion[..., 1], 0), "int32")
        return ops.stack([alarms * empty, empty], axis=-1)

    def result(self) -> KerasTensor:
        alarms, empty = map(self._foreground, self._by_class())
        return _mean_of_contained(ops.divide_no_nan(alarms, empty), ops.greater(empty, 0.0))


def _with_and_without_foreground(confusion: KerasTensor) -> tuple[KerasTensor, KerasTensor]:
    """Return 1 for images with foreground, and 1 for images with pixels but no foreground; both int32 `(B, C)`."""
    tp, fp, fn, tn = ops.unstack(confusion, axis=-1)
    with_foreground = ops.greater(tp + fn, 0)
    empty = ops.logical_and(ops.logical_not(with_foreground), ops.greater(fp + tn, 0))
    return ops.cast(with_foreground, "int32"), ops.cast(empty, "int32")
