"""Whether masks belong to their images: each beside its own and beside others of the same size.

Two things are asked of thumbnails. Do the mask's edges lie where the image changes? Do the grey or a colour differ
between foreground and background? A mask that belongs to its image does better there than beside a stranger; a set
that was shuffled does no better. It is asked of the set, not of a pair: one picture proves nothing. On 581 images of
nuclei the own mask fits better in 100% of the comparisons, with half of the masks shuffled in 77%, with all in 50%.

It cannot see a few swapped pairs among many, nor a set whose objects stand in the same place in all images, nor
objects that differ from their ground in texture alone or are lost at 64 x 64.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kseg.audit.inspection import Look
from kseg.audit.statistics import SIDE

FEWEST = 20
"""Pairs, below which there is no telling."""

_CLOSE_TO_CHANCE = 0.1  # as if four of five masks were another image's
_STRANGERS = 8  # for each mask


@dataclass(frozen=True)
class Alignment:
    """How often an own mask fits its image better than a stranger's, on the better of the two questions."""

    pairs: int
    better: float

    @property
    def shuffled(self) -> bool:
        """Whether it is hardly more often than chance would have it: half, and up to three standard errors."""
        return self.better < 0.5 + max(_CLOSE_TO_CHANCE, 3 * np.sqrt(1 / 12 / self.pairs))


def measure_alignment(looks: Sequence[Look]) -> Alignment | None:
    """Compare own masks with strangers'; None where fewer than 20 pairs can be compared."""
    groups: dict[tuple[int, int], list[Look]] = {}
    for look in looks:
        if _comparable(look):
            groups.setdefault(look.mask.size, []).append(look)
    groups = {size: group for size, group in groups.items() if len(group) > 1}
    pairs = sum(map(len, groups.values()))
    if pairs < FEWEST:
        return None
    wins = np.concatenate([_wins(group) for group in groups.values()], axis=1)
    return Alignment(pairs, float(wins.mean(1).max()))


def _comparable(look: Look) -> bool:
    if look.image is None or look.mask is None or look.image.size != look.mask.size:
        return False
    return look.mask.thumbnail is not None and bool(np.ptp(look.mask.thumbnail)) and bool(np.ptp(look.image.thumbnail))


def _wins(group: Sequence[Look]) -> np.ndarray:
    """For both questions and each of N pairs, how often the own mask did better; `(2, N)`, a draw is half."""
    images = np.stack([look.image.thumbnail for look in group]).astype(np.float32)
    masks = np.stack([look.mask.thumbnail for look in group]).astype(np.float32)
    colours = _standardised(images.transpose(0, 3, 1, 2))
    changes, edges, shapes = _standardised(_edges(images.mean(-1))), _standardised(_edges(masks)), _standardised(masks)

    def fit(order: np.ndarray) -> np.ndarray:
        along = np.einsum("np,np->n", changes, edges[order])
        apart = np.einsum("ncp,np->nc", colours, shapes[order])
        return np.stack([along, np.abs(apart).max(1)])

    everyone = np.arange(len(group))
    own = fit(everyone)
    steps = np.unique(np.linspace(1, len(group) - 1, _STRANGERS).astype(int))
    mixed = np.random.default_rng(0).permutation(len(group))
    wins = np.zeros(own.shape)
    for step in steps:
        # Each with the one `step` places on, around a circle: nobody meets its own.
        order = np.empty_like(mixed)
        order[mixed] = np.roll(mixed, step)
        strange = fit(order)
        wins += (own > strange) + 0.5 * (own == strange)
    return wins / len(steps)


def _edges(pictures: np.ndarray) -> np.ndarray:
    """How steep pictures `(N, 64, 64)` are."""
    down, across = np.gradient(pictures, axis=(1, 2))
    return np.hypot(down, across)


def _standardised(pictures: np.ndarray) -> np.ndarray:
    """Pictures `(…, 64, 64)` as vectors `(…, 4096)` of mean 0 and length 1, whose product is a correlation."""
    vectors = pictures.reshape(*pictures.shape[:-2], SIDE * SIDE)
    vectors = vectors - vectors.mean(-1, keepdims=True)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
