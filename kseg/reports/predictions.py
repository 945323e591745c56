"""Pictures of predictions, next to the images and the masks."""

from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kseg import IGNORE
from kseg.data.files.bands import to_rgb

# Colours that colour-blind people can tell apart (Okabe and Ito).
HIT, FALSE_ALARM, MISSED, IGNORED = (0, 158, 115), (230, 97, 0), (86, 180, 233), (128, 128, 128)
_LEGEND = {
    "hit": HIT,
    "false alarm": FALSE_ALARM,
    "missed": MISSED,
    "ignored": IGNORED,
}


def save_predictions(
    path: Path, images: np.ndarray, masks: np.ndarray, probabilities: np.ndarray, threshold: float
) -> None:
    """Draw one row per image: the image, its mask, the probability, and which pixels are right and wrong.

    Args:
        path: the PNG file to write.
        images: uint8 `(N, H, W, C)`.
        masks: uint8 `(N, H, W, 1)` of 0, 1 and 255.
        probabilities: float `(N, H, W, 1)` in [0, 1].
        threshold: a pixel is predicted foreground if its probability is higher.
    """
    figure = Figure(figsize=(8, 2 * len(images) + 0.6), layout="compressed")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(images), 4, squeeze=False)
    for axes, title in zip(grid[0], ("image", "mask", "probability", "verdict"), strict=True):
        axes.set_title(title, fontsize=10)
    for row, image, mask, probability in zip(grid, images, masks[..., 0], probabilities[..., 0], strict=True):
        row[0].imshow(to_rgb(image))
        row[1].imshow(np.where(mask == IGNORE, 0.5, mask), cmap="gray", vmin=0, vmax=1)
        row[2].imshow(probability, cmap="magma", vmin=0, vmax=1)
        verdict, score = _verdict(image, mask, probability > threshold)
        row[3].imshow(verdict)
        row[3].set_xlabel(score, fontsize=9)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    patches = [Patch(color=(r / 255, g / 255, b / 255), label=name) for name, (r, g, b) in _LEGEND.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    figure.savefig(path, dpi=80)


def _verdict(image: np.ndarray, mask: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the image in grey with right and wrong pixels coloured, and its F1 as a text."""
    foreground, ignored = mask == 1, mask == IGNORE
    positive = positive & ~ignored
    hit, alarm, missed = foreground & positive, positive & ~foreground, foreground & ~positive
    picture = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) / 2
    for where, colour in ((hit, HIT), (alarm, FALSE_ALARM), (missed, MISSED), (ignored, IGNORED)):
        picture[where] = picture[where] / 2 + np.array(colour) / 1.5
    wrong = alarm.sum() + missed.sum()
    score = f"F1 {2 * hit.sum() / (2 * hit.sum() + wrong):.3f}" if foreground.any() else f"empty, {wrong} px raised"
    return np.clip(picture, 0, 255).astype(np.uint8), score
