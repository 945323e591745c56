"""Pictures of predictions, next to the images and the masks."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps

from kseg import IGNORE
from kseg.data.files.bands import to_rgb
from kseg.reports.grid import save_grid

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
    rows = []
    for image, mask, probability in zip(images, masks[..., 0], probabilities[..., 0], strict=True):
        grey = np.where(mask == IGNORE, IGNORED[0], 255 * (mask == 1)).astype(np.uint8)
        bright = colormaps["magma"](probability, bytes=True)[..., :3]
        verdict, score = _verdict(image, mask, probability > threshold)
        rows.append(((to_rgb(image), np.repeat(grey[..., None], 3, axis=-1), bright, verdict), score))
    save_grid(path, ("image", "mask", "probability", "verdict"), rows, _LEGEND)


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
