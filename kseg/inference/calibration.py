"""How far probabilities are right, and what F1 is at every threshold."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

_STEPS = 1000  # thresholds
_BINS = 15


@dataclass
class Calibration:
    """Counts of pixels by their probability, over images of any number and size.

    Args:
        number: the number K of foreground classes.
        softmax: whether the classes exclude each other, background being the first of the outputs.
    """

    number: int
    softmax: bool
    positive: np.ndarray = field(init=False)
    """Pixels of each class by its probability, int64 `(K, 1000)`."""
    total: np.ndarray = field(init=False)
    """All pixels likewise."""
    confidence: np.ndarray = field(init=False)
    """Pixels, sum of probabilities, and right ones in each bin of the reliability picture, float64 `(3, 15)`."""

    def __post_init__(self) -> None:
        self.positive = np.zeros((self.number, _STEPS), np.int64)
        self.total = np.zeros_like(self.positive)
        self.confidence = np.zeros((3, _BINS))

    def add(self, right: np.ndarray, valid: np.ndarray, probabilities: np.ndarray) -> None:
        """Count the pixels of an image.

        Args:
            right: where the mask has each foreground class, bool `(H, W, K)`.
            valid: which pixels count, bool `(H, W, 1)`, or of labels `(H, W, K)`.
            probabilities: float32 `(H, W, outputs)`.
        """
        of_classes = probabilities[..., 1:] if self.softmax else probabilities
        judged = np.broadcast_to(valid, right.shape)
        for index in range(self.number):
            counted = judged[..., index]
            of_class, is_class = of_classes[..., index][counted], right[..., index][counted]
            # A pixel is positive at threshold t / 1000 if its probability is above it.
            step = np.clip(np.ceil(of_class.astype(np.float64) * _STEPS).astype(int) - 1, 0, _STEPS - 1)
            self.total[index] += np.bincount(step, minlength=_STEPS)
            self.positive[index] += np.bincount(step[is_class], minlength=_STEPS)
            if not self.softmax:
                self._add_confidence(of_class, is_class)
        if self.softmax:
            counted = valid[..., 0]
            truth = np.where(right.any(-1), right.argmax(-1) + 1, 0)[counted]
            self._add_confidence(probabilities.max(-1)[counted], probabilities.argmax(-1)[counted] == truth)

    def _add_confidence(self, chance: np.ndarray, is_right: np.ndarray) -> None:
        place = np.clip((chance * _BINS).astype(int), 0, _BINS - 1)
        for row, weights in enumerate((None, chance.astype(np.float64), is_right.astype(np.float64))):
            self.confidence[row] += np.bincount(place, weights, minlength=_BINS)

    def error(self) -> float:
        """Return the expected calibration error: how far probability and truth are apart, averaged over pixels.

        Source: Naeini et al., "Obtaining Well Calibrated Probabilities Using Bayesian Binning", 2015; 15 bins of equal
        width. Of one class it is about the probability of foreground, of several about that of the predicted class, of
        labels about that of each label.
        """
        pixels, chance, right = self.confidence
        return float(np.abs(chance - right).sum() / max(pixels.sum(), 1))

    def f1_by_threshold(self) -> np.ndarray:
        """Return F1 of each class at the thresholds 0, 0.001, …, 0.999, float64 `(K, 1000)`; NaN of an absent class."""
        raised = self.total[:, ::-1].cumsum(1)[:, ::-1]
        hits = self.positive[:, ::-1].cumsum(1)[:, ::-1]
        everything = self.positive.sum(1, keepdims=True)
        return np.where(everything > 0, 2 * hits / np.maximum(raised + everything, 1), np.nan)

    def best_thresholds(self) -> list[tuple[float, float] | None]:
        """Return the threshold with the best F1, and that F1, of each class; None of an absent one."""
        curves = self.f1_by_threshold()
        best: list[tuple[float, float] | None] = []
        for curve in curves:
            place = None if np.isnan(curve).any() else int(curve.argmax())
            best.append(None if place is None else (place / _STEPS, float(curve[place])))
        return best

    def summary(self, names: tuple[str, ...]) -> dict[str, Any]:
        """Return the error and the best thresholds as plain values."""
        found = zip(names, self.best_thresholds(), strict=True)
        return {
            "expected_calibration_error": self.error(),
            "best_threshold": {name: {"threshold": one[0], "f1": one[1]} for name, one in found if one},
        }
