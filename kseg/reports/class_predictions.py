"""Pictures of predictions of several classes, next to the images and the masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from kseg import IGNORE
from kseg.data.files.bands import to_rgb
from kseg.reports.predictions import FALSE_ALARM, HIT, IGNORED, MISSED

# Colours that colour-blind people can tell apart (Okabe and Ito): another class than the mask's.
_TAKEN = (240, 228, 66)
_VERDICTS = {
    "right": HIT,
    "taken for another class": _TAKEN,
    "missed": MISSED,
    "false alarm": FALSE_ALARM,
    "ignored": IGNORED,
}
_BITS = 8


def voc_palette(number: int) -> np.ndarray:
    """Return the colours of Pascal VOC's masks for class indices, uint8 `(number, 3)`.

    The bits of an index go to red, green and blue in turn, the highest bits of a colour first, as in the devkit of VOC.

    >>> voc_palette(4).tolist()
    [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    """
    index = np.arange(number)[:, None]
    shifts = 3 * np.arange(_BITS)[None]
    bits = [(index >> shifts + channel & 1) << (_BITS - 1 - np.arange(_BITS)) for channel in range(3)]
    return np.stack([channel.sum(1) for channel in bits], axis=1).astype(np.uint8)


def save_class_predictions(
    path: Path, images: np.ndarray, masks: np.ndarray, predicted: np.ndarray, names: Sequence[str]
) -> None:
    """Draw one row per image: the image, its mask, the predicted classes, and which pixels are right and wrong.

    Args:
        path: the PNG file to write.
        images: uint8 `(N, H, W, C)`.
        masks: class indices and 255, uint8 `(N, H, W, 1)`.
        predicted: class indices, integers `(N, H, W)`.
        names: the name of each class, background first.
    """
    palette = np.concatenate([voc_palette(len(names)), np.full((IGNORE + 1 - len(names), 3), IGNORED[0], np.uint8)])
    figure = Figure(figsize=(8, 2 * len(images) + 1.2), layout="compressed")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(images), 4, squeeze=False)
    for axes, title in zip(grid[0], ("image", "mask", "prediction", "verdict"), strict=True):
        axes.set_title(title, fontsize=10)
    for row, image, mask, prediction in zip(grid, images, masks[..., 0], predicted, strict=True):
        row[0].imshow(to_rgb(image))
        row[1].imshow(palette[mask])
        row[2].imshow(palette[prediction])
        verdict, score = judge_classes(image, mask, prediction, len(names))
        row[3].imshow(verdict)
        row[3].set_xlabel(score, fontsize=9)
        for axes in row:
            axes.set(xticks=[], yticks=[])
    shown = np.unique(np.concatenate([masks.ravel(), predicted.ravel()]))
    classes = [_patch(palette[index], names[index]) for index in shown if index < len(names)]
    verdicts = [_patch(np.array(colour), name) for name, colour in _VERDICTS.items()]
    figure.legend(handles=classes, loc="outside upper center", ncols=6, fontsize=8, frameon=False)
    figure.legend(handles=verdicts, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.savefig(path, dpi=80)


def _patch(colour: np.ndarray, label: str) -> Patch:
    return Patch(facecolor=tuple(colour / 255), edgecolor="grey", linewidth=0.5, label=label)


def judge_classes(image: np.ndarray, mask: np.ndarray, predicted: np.ndarray, number: int) -> tuple[np.ndarray, str]:
    """Return the image in grey with right and wrong pixels coloured, uint8 `(H, W, 3)`, and its mean F1 as a text."""
    valid, foreground, found = mask != IGNORE, (mask != 0) & (mask != IGNORE), predicted != 0
    kinds = {
        HIT: foreground & (mask == predicted),
        _TAKEN: foreground & found & (mask != predicted),
        MISSED: foreground & ~found,
        FALSE_ALARM: valid & ~foreground & found,
        IGNORED: ~valid,
    }
    picture = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) / 2
    for colour, where in kinds.items():
        picture[where] = picture[where] / 2 + np.array(colour) / 1.5
    scores = [
        2 * ((mask == k) & (predicted == k)).sum() / ((mask == k).sum() + (valid & (predicted == k)).sum())
        for k in range(1, number)
        if (mask == k).any()
    ]
    wrong = (valid & found).sum()
    mean = "mean F1" if number > 2 else "F1"
    score = f"{mean} {np.mean(scores):.3f}" if scores else f"empty, {wrong} px raised"
    return np.clip(picture, 0, 255).astype(np.uint8), score
