"""Scores from float counts of any shape. 0/0 is 0, as in scikit-learn."""

from keras import KerasTensor, ops


def f1(tp: KerasTensor, fp: KerasTensor, fn: KerasTensor, tn: KerasTensor) -> KerasTensor:
    """F1, the same number as Dice: `2 tp / (2 tp + fp + fn)`.

    >>> print(round(float(f1(2.0, 1.0, 1.0, 0.0)), 4))
    0.6667
    """
    return ops.divide_no_nan(2.0 * tp, 2.0 * tp + fp + fn)


def iou(tp: KerasTensor, fp: KerasTensor, fn: KerasTensor, tn: KerasTensor) -> KerasTensor:
    """Intersection over union of the foreground: `tp / (tp + fp + fn)`.

    >>> print(float(iou(2.0, 1.0, 1.0, 0.0)))
    0.5
    """
    return ops.divide_no_nan(tp, tp + fp + fn)


def precision(tp: KerasTensor, fp: KerasTensor, fn: KerasTensor, tn: KerasTensor) -> KerasTensor:
    """Share of the predicted pixels that are foreground: `tp / (tp + fp)`.

    >>> print(float(precision(3.0, 1.0, 0.0, 0.0)))
    0.75
    """
    return ops.divide_no_nan(tp, tp + fp)


def recall(tp: KerasTensor, fp: KerasTensor, fn: KerasTensor, tn: KerasTensor) -> KerasTensor:
    """Share of the foreground that was predicted: `tp / (tp + fn)`.

    >>> print(float(recall(3.0, 0.0, 1.0, 0.0)))
    0.75
    """
    return ops.divide_no_nan(tp, tp + fn)


def accuracy(tp: KerasTensor, fp: KerasTensor, fn: KerasTensor, tn: KerasTensor) -> KerasTensor:
    """Share of the pixels that are correct: `(tp + tn) / (tp + fp + fn + tn)`. Says little where foreground is rare.

    >>> print(float(accuracy(1.0, 1.0, 0.0, 2.0)))
    0.75
    """
    return ops.divide_no_nan(tp + tn, tp + fp + fn + tn)
