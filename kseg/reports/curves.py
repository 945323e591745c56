"""A picture of F1 at every threshold, and of how far probabilities are right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def save_curves(path: Path, names: Sequence[str], f1: np.ndarray, confidence: np.ndarray) -> None:
    """Draw F1 of each class against the threshold, and beside it the reliability picture.

    Args:
        path: the PNG file to write.
        names: of K classes.
        f1: at equally spaced thresholds from 0 on, `(K, thresholds)`; NaN where a class is absent.
        confidence: number of pixels, sum of their probabilities, and number of right ones in each bin, `(3, bins)`.
    """
    figure = Figure(figsize=(9, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    thresholds = np.arange(f1.shape[1]) / f1.shape[1]
    for name, curve in zip(names, f1, strict=True):
        if not np.isnan(curve).any():
            best = int(curve.argmax())
            (line,) = left.plot(thresholds, curve, label=f"{name}: best {curve[best]:.3f} at {thresholds[best]:.2f}")
            left.plot(thresholds[best], curve[best], "o", color=line.get_color())
    left.set(xlim=(0, 1), ylim=(0, 1), xlabel="threshold", ylabel="F1")
    if left.lines:
        left.legend(fontsize=8, loc="lower center")
    left.grid(alpha=0.3)
    pixels, chance, hits = confidence
    known = pixels > 0
    right.plot([0, 1], [0, 1], color="grey", linewidth=1)
    right.plot(chance[known] / pixels[known], hits[known] / pixels[known], "o-", label="share that is right")
    bins = len(pixels)
    right.bar(
        (np.arange(bins) + 0.5) / bins,
        pixels / max(pixels.sum(), 1),
        width=0.9 / bins,
        alpha=0.3,
        label="share of pixels",
    )
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted probability", ylabel="share")
    right.legend(fontsize=8, loc="upper left")
    right.grid(alpha=0.3)
    figure.savefig(path, dpi=100)
