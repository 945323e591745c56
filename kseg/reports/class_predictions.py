"""Pictures of predictions of several classes or labels, next to the images and the masks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kseg import IGNORE
from kseg.data.files.bands import to_rgb
from kseg.reports.grid import save_grid
from kseg.reports.predictions import FALSE_ALARM, HIT, IGNORED, MISSED
from kseg.task import Task

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


def class_palette(number: int, colours: Sequence[str] = ()) -> np.ndarray:
    """Return a colour for each of `number` class indices, uint8 `(number, 3)`: those of the masks, or else VOC's.

    Args:
        number: classes, background among them.
        colours: of the classes in the masks, such as `#ff0000`; taken if there are as many.

    >>> class_palette(2, ["#000000", "#ff8000"]).tolist()
    [[0, 0, 0], [255, 128, 0]]
    """
    if len(colours) != number:
        return voc_palette(number)
    return np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in colours], np.uint8)


def save_class_predictions(
    path: Path,
    images: np.ndarray,
    masks: np.ndarray,
    predicted: np.ndarray,
    task: Task,
    colours: Sequence[str] = (),
) -> None:
    """Draw one row per image: the image, its mask, the prediction, and which pixels are right and wrong.

    Args:
        path: the PNG file to write.
        images: uint8 `(N, H, W, C)`.
        masks: class indices and 255, uint8 `(N, H, W, 1)`; of labels 0, 1 and 255, `(N, H, W, K)`.
        predicted: class indices, integers `(N, H, W)`; of labels 0 and 1, `(N, H, W, K)`.
        task: the classes or labels.
        colours: see `class_palette`.
    """
    names = task.foreground_classes
    palette = np.concatenate(
        [class_palette(len(names) + 1, colours), np.full((IGNORE - len(names), 3), IGNORED[0], np.uint8)]
    )
    rows, shown = [], set()
    for image, mask, prediction in zip(images, masks, predicted, strict=True):
        mask = task.as_predicted(mask)
        right, found, valid = task.layers(mask), task.layers(prediction), task.judged(mask)
        flat = np.where(valid.any(-1), flatten(right), IGNORE), flatten(found)
        shown |= {*np.unique(flat).tolist()} - {IGNORE}
        verdict, score = judge(image, right, found, valid)
        rows.append(((to_rgb(image), palette[flat[0]], palette[flat[1]], verdict), score))
    titles = ("background", *names)
    classes = {titles[index]: palette[index].tolist() for index in sorted(shown)}
    save_grid(path, ("image", "mask", "prediction", "verdict"), rows, _VERDICTS, classes)


def flatten(layers: np.ndarray) -> np.ndarray:
    """Return class indices, uint8 `(H, W)`, 0 for none; where labels overlap, the smallest is on top.

    Args:
        layers: bool `(H, W, K)`.
    """
    flat = np.zeros(layers.shape[:2], np.uint8)
    for index in np.argsort(-layers.sum((0, 1)), kind="stable").tolist():
        flat[layers[..., index]] = index + 1
    return flat


def judge(image: np.ndarray, right: np.ndarray, found: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the image in grey with right and wrong pixels coloured, uint8 `(H, W, 3)`, and its mean F1 as a text.

    Args:
        image: uint8 `(H, W, C)`.
        right: where the mask has each of K classes or labels, bool `(H, W, K)`; a pixel with several labels is right if
            all of them are found and no other.
        found: where the prediction has them.
        valid: which pixels are not ignored, `(H, W, 1)`, or of labels `(H, W, K)`.
    """
    found = np.logical_and(found, valid)
    valid = np.any(valid, -1)
    foreground, raised, equal = np.any(right, -1), np.any(found, -1), np.all(right == found, -1)
    kinds = {
        HIT: foreground & equal,
        _TAKEN: foreground & raised & ~equal,
        MISSED: foreground & ~raised,
        FALSE_ALARM: valid & ~foreground & raised,
        IGNORED: ~valid,
    }
    picture = np.repeat(image.mean(-1, keepdims=True), 3, axis=-1) / 2
    for colour, where in kinds.items():
        picture[where] = picture[where] / 2 + np.array(colour) / 1.5
    return np.clip(picture, 0, 255).astype(np.uint8), _mean_f1(right, found)


def _mean_f1(right: np.ndarray, found: np.ndarray) -> str:
    """Return the mean F1 over the classes that are there as a text, or how many pixels were raised if none is."""
    sizes, raised = right.sum((0, 1)), found.sum((0, 1))
    contained = sizes > 0
    if not contained.any():
        return f"empty, {found.any(-1).sum()} px raised"
    scores = 2 * (right & found).sum((0, 1))[contained] / (sizes + raised)[contained]
    return f"{'mean F1' if len(sizes) > 1 else 'F1'} {scores.mean():.3f}"
