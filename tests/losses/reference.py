"""The losses in NumPy and float64, image by image, from the pixels that are not ignored."""

import numpy as np


def _valid_pixels(y_true, y_pred):
    for mask, logits in zip(np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64), strict=True):
        for channel in range(mask.shape[-1]):
            valid = mask[..., channel] != 255
            yield np.minimum(mask[..., channel][valid], 1), logits[..., channel][valid]


def _pixel(y_true, y_pred, cost):
    """The mean over all pixels of an image, of all channels, that are not ignored."""
    channels = y_true.shape[-1]
    costs = [cost(y, x) for y, x in _valid_pixels(y_true, y_pred)]
    images = [np.concatenate(costs[i : i + channels]) for i in range(0, len(costs), channels)]
    return np.array([image.mean() if image.size else 0.0 for image in images])


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def bce(y_true, y_pred):
    return _pixel(y_true, y_pred, lambda y, x: y * np.logaddexp(0, -x) + (1 - y) * np.logaddexp(0, x))


cross_entropy = bce


def focal(y_true, y_pred, alpha=0.25, gamma=2.0):
    foreground, background = (1, 1) if alpha is None else (alpha, 1 - alpha)

    def cost(y, x):
        foreground_cost = foreground * (1 - sigmoid(x)) ** gamma * np.logaddexp(0, -x)
        background_cost = background * sigmoid(x) ** gamma * np.logaddexp(0, x)
        return np.where(y == 1, foreground_cost, background_cost)

    return _pixel(y_true, y_pred, cost)


def tversky(y_true, y_pred, alpha=0.3, beta=0.7, smooth=1.0):
    scores = []
    for y, x in _valid_pixels(y_true, y_pred):
        p = sigmoid(x)
        tp, fp, fn = (y * p).sum(), ((1 - y) * p).sum(), (y * sigmoid(-x)).sum()
        scores.append((alpha * fp + beta * fn) / (tp + alpha * fp + beta * fn + smooth))
    return np.reshape(scores, (len(y_true), -1)).mean(axis=1)


def dice(y_true, y_pred, smooth=1.0):
    return tversky(y_true, y_pred, 0.5, 0.5, smooth)


def iou(y_true, y_pred, smooth=1.0):
    return tversky(y_true, y_pred, 1.0, 1.0, smooth)


def dice_with_foreground(y_true, y_pred, smooth=1.0):
    """Dice, and 0 for each channel whose mask is empty."""
    scores = []
    for y, x in _valid_pixels(y_true, y_pred):
        p = sigmoid(x)
        tp, fp, fn = (y * p).sum(), ((1 - y) * p).sum(), (y * sigmoid(-x)).sum()
        scores.append((0.5 * fp + 0.5 * fn) / (tp + 0.5 * fp + 0.5 * fn + smooth) if y.any() else 0.0)
    return np.reshape(scores, (len(y_true), -1)).mean(axis=1)


def lovasz_of(errors, foreground):
    """1 - IoU after each further error, the largest first, times the error: from sets, one pixel at a time."""
    before, total = 0.0, 0.0
    found = union = int(foreground.sum())  # with no pixel wrong, the prediction is the foreground
    for pixel in np.argsort(-errors, kind="stable"):
        found, union = (found - 1, union) if foreground[pixel] else (found, union + 1)
        lost = 1 - found / union
        total += errors[pixel] * (lost - before)
        before = lost
    return total


def lovasz(y_true, y_pred):
    hinges = [(np.maximum(1 - x * (2 * y - 1), 0), y == 1) for y, x in _valid_pixels(y_true, y_pred)]
    return np.reshape([lovasz_of(*hinge) for hinge in hinges], (len(y_true), -1)).mean(axis=1)


def combined(y_true, y_pred):
    parts = bce(y_true, y_pred), dice_with_foreground(y_true, y_pred), focal(y_true, y_pred)
    return 0.4 * parts[0] + 0.4 * parts[1] + 0.2 * parts[2]
