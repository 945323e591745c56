"""Whether masks belong to their images: compares each mask with its own image and with others of the same size.

It asks two questions of thumbnails. Do the edges of the mask lie where the image changes? Does the grey value or a
colour differ between foreground and background? A mask fits its own image better than another one; in a shuffled set
it does not. The answer is about the whole set: one pair proves nothing. On 581 images of nuclei the mask fits its own
image better in 100% of the comparisons, with half of the masks shuffled in 77%, with all shuffled in 50%.

It does not find a few swapped pairs among many, nor a shuffled set whose objects are at the same place in all images,
nor one whose objects differ from the background only in texture or are lost at 64 x 64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kseg.audit.inspection import InspectedPair
from kseg.audit.statistics import SIDE, ImageStatistics, MaskStatistics

FEWEST = 20
"""Fewer pairs tell nothing."""

_CLOSE_TO_CHANCE = 0.1  # what a set reaches of which four in five masks are shuffled
_OTHERS = 8  # images that each mask is compared with


@dataclass(frozen=True)
class Alignment:
    """How often a mask fits its own image better than another one, by the better of the two questions."""

    pairs: int
    better: float

    @property
    def shuffled(self) -> bool:
        """Whether that is about as often as chance, which is half of the time, plus up to three standard errors."""
        return self.better < 0.5 + max(_CLOSE_TO_CHANCE, 3 * np.sqrt(1 / 12 / self.pairs))


Pair = tuple[ImageStatistics, MaskStatistics]


def measure_alignment(pairs: Sequence[InspectedPair]) -> Alignment | None:
    """Compare masks with their own and with other images; None if fewer than 20 pairs can be compared."""
    by_size: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        image, mask = pair.image_statistics, pair.mask_statistics
        if image and mask and image.size == mask.size and _has_content(image.thumbnail, mask.thumbnail):
            by_size.setdefault(mask.size, []).append((image, mask))
    groups = [group for group in by_size.values() if len(group) > 1]
    count = sum(map(len, groups))
    if count < FEWEST:
        return None
    wins = np.concatenate([_wins(group) for group in groups], axis=1)
    return Alignment(count, float(wins.mean(1).max()))


def _has_content(*thumbnails: np.ndarray | None) -> bool:
    return all(thumbnail is not None and np.ptp(thumbnail) > 0 for thumbnail in thumbnails)


def _wins(group: Sequence[Pair]) -> np.ndarray:
    """Return how often the own mask fitted better, for both questions and each of N pairs; `(2, N)`, a draw is half."""
    images = np.stack([np.asarray(image.thumbnail, np.float32) for image, _ in group])
    masks = np.stack([np.asarray(mask.thumbnail, np.float32) for _, mask in group])
    colours = _standardise(images.transpose(0, 3, 1, 2))
    changes, edges, shapes = _standardise(_edges(images.mean(-1))), _standardise(_edges(masks)), _standardise(masks)

    def fit(order: np.ndarray) -> np.ndarray:
        along = np.einsum("np,np->n", changes, edges[order])
        apart = np.einsum("ncp,np->nc", colours, shapes[order])
        return np.stack([along, np.abs(apart).max(1)])

    everyone = np.arange(len(group))
    own = fit(everyone)
    steps = np.unique(np.linspace(1, len(group) - 1, _OTHERS).astype(int))
    mixed = np.random.default_rng(0).permutation(len(group))
    wins = np.zeros(own.shape)
    for step in steps:
        # Each meets the one `step` places further, around a circle, so never itself.
        order = np.empty_like(mixed)
        order[mixed] = np.roll(mixed, step)
        other = fit(order)
        wins += (own > other) + 0.5 * (own == other)
    return wins / len(steps)


def _edges(pictures: np.ndarray) -> np.ndarray:
    """Return the steepness of pictures `(N, 64, 64)`."""
    down, across = np.gradient(pictures, axis=(1, 2))
    return np.hypot(down, across)


def _standardise(pictures: np.ndarray) -> np.ndarray:
    """Return pictures `(…, 64, 64)` as vectors `(…, 4096)` of mean 0 and length 1; products are correlations."""
    vectors = pictures.reshape(*pictures.shape[:-2], SIDE * SIDE)
    vectors = vectors - vectors.mean(-1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
