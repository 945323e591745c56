"""Scores of predicted masks: of a data set by pixels, of objects, of edges; with intervals, and what is trivial."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy import ndimage

SCORES = ("f1", "iou", "precision", "recall")
TOLERANCE = 2.0
"""Pixels by which an edge may be off."""

_RESAMPLES = 1000
_OBJECT_IOU = 0.5


@dataclass(frozen=True)
class ImageScores:
    """What was counted in one image, a row for each of K foreground classes."""

    name: str
    group: str
    counts: np.ndarray
    """True positives, false positives, false negatives, true negatives: pixels, int64 `(K, 4)`."""
    correct: int
    """Pixels with the right class; of labels those of each label."""
    pixels: int
    """Pixels that are not ignored, likewise."""
    objects: np.ndarray
    """Objects found, false alarms, objects missed, int64 `(K, 3)`."""
    edges: np.ndarray
    """Boundary F1, and 95% Hausdorff distance in pixels, float64 `(K, 2)`; NaN where they are not defined."""


def score_image(name: str, group: str, right: np.ndarray, found: np.ndarray, valid: np.ndarray) -> ImageScores:
    """Compare a predicted mask with the right one; `Task.layers` and `Task.judged` make the arguments of masks.

    Args:
        name: of the image.
        group: the group that it belongs to.
        right: where the mask has each of K foreground classes, bool `(H, W, K)`.
        found: where the prediction has them.
        valid: which pixels count, bool `(H, W, 1)`, or of labels, each judged by itself, `(H, W, K)`.
    """
    found, judged = found & valid, np.broadcast_to(valid, right.shape)
    counts, objects, edges = [], [], []
    for index in range(right.shape[2]):
        # Copies: OpenCV and SciPy need the pixels of a class beside each other.
        of_mask, of_prediction = right[..., index].copy(), found[..., index].copy()
        pixels = np.count_nonzero(judged[..., index])
        tp, positive, raised = (np.count_nonzero(area) for area in (of_mask & of_prediction, of_mask, of_prediction))
        counts.append((tp, raised - tp, positive - tp, pixels - positive - raised + tp))
        objects.append(match_objects(of_mask, of_prediction))
        edges.append(compare_edges(of_mask, of_prediction))
    agree = right == found if valid.shape[2] > 1 else (right == found).all(-1, keepdims=True)
    correct, pixels = np.count_nonzero(agree & valid), np.count_nonzero(valid)
    return ImageScores(name, group, np.array(counts), int(correct), int(pixels), np.array(objects), np.array(edges))


def match_objects(right: np.ndarray, found: np.ndarray) -> tuple[int, int, int]:
    """Return the number of objects found, of false alarms, and of objects missed.

    Objects are connected areas; pixels that touch at a corner are connected. One is found if the IoU with one of the
    prediction is more than 0.5; then no other can have that.

    Args:
        right, found: bool `(H, W)`.

    >>> right, found = np.zeros((2, 4, 9), bool)
    >>> right[:, :2] = right[:, 4:6] = found[:, :3] = found[:, 8:] = True
    >>> match_objects(right, found)
    (1, 1, 1)
    """
    number, labels = cv2.connectedComponents(right.view(np.uint8), connectivity=8)
    raised, found_labels = cv2.connectedComponents(found.view(np.uint8), connectivity=8)
    both = (labels > 0) & (found_labels > 0)
    pairs, overlap = np.unique(labels[both].astype(np.int64) * raised + found_labels[both], return_counts=True)
    sizes, found_sizes = np.bincount(labels.ravel()), np.bincount(found_labels.ravel())
    union = sizes[pairs // raised] + found_sizes[pairs % raised] - overlap
    hits = int((overlap > _OBJECT_IOU * union).sum())
    return hits, raised - 1 - hits, number - 1 - hits


def compare_edges(right: np.ndarray, found: np.ndarray, tolerance: float = TOLERANCE) -> tuple[float, float]:
    """Return the boundary F1 and the 95% Hausdorff distance of two masks.

    The edge of a mask are its pixels that touch, at a side, one that is outside. Precision is the share of the
    predicted edge that lies within the tolerance of the right one, recall the reverse (Csurka et al., "What is a good
    evaluation measure for semantic segmentation?", 2013). The distance is the larger one of the 95th percentiles, from
    each edge to the other. Distances are SciPy's exact Euclidean ones.

    Args:
        right, found: bool `(H, W)`.
        tolerance: in pixels.

    Returns:
        F1, NaN if both masks are empty; the distance in pixels, NaN if one is.
    """
    if not right.any() or not found.any():
        return (0.0 if right.any() or found.any() else np.nan), np.nan
    # What is outside of both does not matter.
    rows, columns = (np.flatnonzero((right | found).any(axis=axis)) for axis in (1, 0))
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    edges = [area & ~ndimage.binary_erosion(area) for area in (np.pad(right[part], 1), np.pad(found[part], 1))]
    to_right, to_found = (ndimage.distance_transform_edt(~edge) for edge in edges)
    of_found, of_right = to_right[edges[1]], to_found[edges[0]]
    precision, recall = (of_found <= tolerance).mean(), (of_right <= tolerance).mean()
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return float(f1), float(max(np.percentile(of_found, 95), np.percentile(of_right, 95)))


def ratios(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Return F1, IoU, precision and recall of counts `(…, K, 4)`, each float64 `(…, K)`; NaN for an absent class.

    >>> {name: float(value[0]) for name, value in ratios(np.array([[2, 0, 2, 4]])).items()}
    {'f1': 0.6666666666666666, 'iou': 0.5, 'precision': 1.0, 'recall': 0.5}
    """
    tp, fp, fn = (counts[..., index].astype(np.float64) for index in range(3))
    values = {"f1": (2 * tp, 2 * tp + fp + fn), "iou": (tp, tp + fp + fn), "precision": (tp, tp + fp)}
    values["recall"] = (tp, tp + fn)
    contained = tp + fn > 0
    return {
        name: np.where(contained, np.divide(above, below, out=np.zeros_like(above), where=below > 0), np.nan)
        for name, (above, below) in values.items()
    }


def mean_of_classes(values: np.ndarray) -> np.ndarray:
    """Return the mean over the last axis without NaN; 0 where there is nothing else."""
    known = ~np.isnan(values)
    return np.where(known, values, 0).sum(-1) / np.maximum(known.sum(-1), 1)


def image_f1(image: ImageScores) -> float:
    """Return the mean F1 over the classes of an image; without foreground 1 if nothing was raised, else 0."""
    if (image.counts[:, 0] + image.counts[:, 2]).any():
        return float(mean_of_classes(ratios(image.counts)["f1"]))
    return float(not image.counts[:, 1].any())


def intervals(images: Sequence[ImageScores]) -> dict[str, tuple[float, float]]:
    """Return a 95% interval of the mean over classes of each score: by the bootstrap over images, 1000 resamples.

    Says how much the score depends on which images are in the set; not how much on the seed of the training.
    """
    totals = resample(np.stack([image.counts for image in images]))
    return {name: percentiles(mean_of_classes(values)) for name, values in ratios(totals).items()}


def resample(counts: np.ndarray) -> np.ndarray:
    """Return the sum of counts, `(N, …)`, over 1000 samples of N images with replacement, `(1000, …)`.

    The samples are the same for the same N, so that two models are compared on the same ones.
    """
    number = len(counts)
    weights = np.random.default_rng(0).multinomial(number, np.full(number, 1 / number), size=_RESAMPLES)
    return np.tensordot(weights.astype(np.float64), counts.astype(np.float64), axes=1)


def percentiles(values: np.ndarray) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile."""
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def trivial_scores(counts: np.ndarray, names: Sequence[str], *, overlap: bool = False) -> dict[str, tuple[float, str]]:
    """Return, for each score and the accuracy, the best that the same answer for every pixel would have.

    Args:
        counts: of a data set, `(K, 4)`.
        names: of the K foreground classes.
        overlap: whether a pixel may have several of them.

    Returns:
        The score, and the answer that has it.

    >>> best = trivial_scores(np.array([[0, 0, 75, 25]]), ["membrane"])
    >>> {name: (round(score, 3), answer) for name, (score, answer) in best.items()}["f1"]
    (0.857, 'all membrane')
    """
    positive, valid = (counts[:, 0] + counts[:, 2]).astype(np.float64), counts.sum(1)
    answers = {"all background": np.zeros(len(names), bool)}
    answers |= {f"all {name}": np.arange(len(names)) == index for index, name in enumerate(names)}
    answers |= {"every label": np.ones(len(names), bool)} if overlap else {}
    best: dict[str, tuple[float, str]] = {}
    for answer, chosen in answers.items():
        constant = np.stack(
            [positive * chosen, (valid - positive) * chosen, positive * ~chosen, (valid - positive) * ~chosen], axis=-1
        )
        scores = {name: float(mean_of_classes(values)) for name, values in ratios(constant).items()}
        if overlap:
            right, judged = np.where(chosen, positive, valid - positive).sum(), valid.sum()
        else:
            right, judged = positive[chosen].sum() if chosen.any() else valid[0] - positive.sum(), valid[0]
        scores["accuracy"] = float(right / max(judged, 1))
        for name, score in scores.items():
            if name not in best or score > best[name][0]:
                best[name] = (score, answer)
    return best


def summarise(images: Sequence[ImageScores], names: Sequence[str], *, overlap: bool = False) -> dict[str, Any]:
    """Return all scores of a set of images, as plain values for JSON; NaN becomes None.

    Args:
        images: the scores of each.
        names: of the foreground classes.
        overlap: whether a pixel may have several of them.
    """
    counts = np.sum([image.counts for image in images], axis=0)
    objects = np.sum([image.objects for image in images], axis=0).astype(np.float64)
    edges = np.stack([image.edges for image in images])
    by_class = ratios(counts)
    by_class["object_f1"] = ratios(objects)["f1"]
    for place, name in enumerate(("boundary_f1", "hausdorff_95")):
        known = ~np.isnan(edges[..., place])
        total = np.where(known, edges[..., place], 0).sum(0)
        by_class[name] = np.where(known.any(0), total / np.maximum(known.sum(0), 1), np.nan)
    means: dict[str, float | None] = {name: float(mean_of_classes(values)) for name, values in by_class.items()}
    if np.isnan(by_class["hausdorff_95"]).all():
        means["hausdorff_95"] = None  # a distance of 0 would be a perfect one
    means["accuracy"] = sum(image.correct for image in images) / max(sum(image.pixels for image in images), 1)
    return {
        "images": len(images),
        "mean": means,
        "interval_95": intervals(images),
        "trivial": {
            name: {"score": score, "answer": answer}
            for name, (score, answer) in trivial_scores(counts, names, overlap=overlap).items()
        },
        "classes": {
            name: {
                "share": float((counts[index, 0] + counts[index, 2]) / max(counts[index].sum(), 1)),
                **{score: _plain(values[index]) for score, values in by_class.items()},
            }
            for index, name in enumerate(names)
        },
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
