"""Compare models by their scores on the same images."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kseg.errors import KsegError
from kseg.inference.scores import mean_of_classes, percentiles, ratios, resample

_KINDS = ("tp", "fp", "fn", "tn")
_LISTED = 5


@dataclass(frozen=True)
class Scored:
    """What `kseg evaluate` counted with one model."""

    name: str
    images: list[str]
    classes: list[str]
    counts: np.ndarray
    """True and false positives, false and true negatives, int64 `(images, classes, 4)`."""

    @property
    def f1(self) -> float:
        """Mean F1 over the classes, of all images together."""
        return float(mean_of_classes(ratios(self.counts.sum(0))["f1"]))


@dataclass(frozen=True)
class Difference:
    """How one model differs from another on the same images."""

    first: Scored
    other: Scored
    f1: float
    """F1 of the other less that of the first."""
    interval: tuple[float, float]
    """95% interval of that, by the bootstrap over images, with the same images for both."""
    better: list[tuple[str, float]]
    """Images on which the other is better, and by how much F1, the most first."""
    worse: list[tuple[str, float]]
    """Images on which it is worse, likewise."""


def read_scores(path: Path) -> Scored:
    """Read the `images.csv` of an evaluation.

    Args:
        path: a run, or the folder that `kseg evaluate` wrote.

    Raises:
        KsegError: there is none.
    """
    found = [file for file in (path / "images.csv", path / "evaluation/images.csv") if file.is_file()]
    if not found:
        raise KsegError(f"{path} holds no images.csv. Score the run first: kseg evaluate {path / 'best.keras'}")
    with found[0].open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    classes = [name.removeprefix("tp_") for name in (rows[0] if rows else ()) if name.startswith("tp_")]
    if not classes:
        raise KsegError(f"{found[0]} has no columns such as tp_foreground; expected what kseg evaluate wrote.")
    counts = [[[int(row[f"{kind}_{name}"]) for kind in _KINDS] for name in classes] for row in rows]
    return Scored(str(path), [row["image"] for row in rows], classes, np.array(counts))


def compare(first: Scored, other: Scored) -> Difference:
    """Compare two models on the same images.

    Raises:
        KsegError: the images or the classes are not the same.
    """
    if first.classes != other.classes:
        raise KsegError(
            f"{first.name} and {other.name} tell different classes apart: {', '.join(first.classes)}, and "
            f"{', '.join(other.classes)}. They cannot be compared."
        )
    missing = sorted(set(first.images) ^ set(other.images))
    if missing:
        raise KsegError(
            f"{first.name} and {other.name} were scored on different images: {missing[0]} and {len(missing) - 1} more "
            "are in one alone. Evaluate both on one --dataset."
        )
    order = [other.images.index(name) for name in first.images]
    pair = first.counts, other.counts[order]
    scores = [mean_of_classes(ratios(resample(counts))["f1"]) for counts in pair]
    by_image = [mean_of_classes(ratios(counts)["f1"]) for counts in pair]
    gains = sorted(zip(first.images, (by_image[1] - by_image[0]).tolist(), strict=True), key=lambda one: -one[1])
    return Difference(
        first,
        other,
        other.f1 - first.f1,
        percentiles(scores[1] - scores[0]),
        [one for one in gains if one[1] > 0],
        [one for one in reversed(gains) if one[1] < 0],
    )


def describe(scored: Sequence[Scored]) -> str:
    """Return a table of models, each compared with the first; and which images became better and worse most."""
    first, *others = scored
    width = max(len(one.name) for one in scored)
    lines = [f"{'':<{width}}  F1      difference  95% interval          better  worse"]
    lines.append(f"{first.name:<{width}}  {first.f1:.4f}")
    details = []
    for other in others:
        found = compare(first, other)
        low, high = found.interval
        lines.append(
            f"{other.name:<{width}}  {other.f1:.4f}  {found.f1:>+10.4f}  {f'{low:+.4f} to {high:+.4f}':<20}  "
            f"{len(found.better):>6}  {len(found.worse):>5}"
        )
        if low <= 0 <= high:
            lines.append(f"{'':<{width}}  The interval contains 0: the difference may be chance.")
        for title, images in (("Better", found.better), ("Worse", found.worse)):
            details += [f"{title} in {other.name}: {name}  {gain:+.4f}" for name, gain in images[:_LISTED]]
    return "\n".join([*lines, *([""] if details else []), *details])
