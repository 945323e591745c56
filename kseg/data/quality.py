"""Questions about an image or a mask that the audit asks of files, and preflight of batches."""

from collections.abc import Sequence

import numpy as np

from kseg import IGNORE

_INVERTED = 0.6  # share of foreground, and of foreground on the border, from which a mask may be inverted
_ALL_AROUND = 0.9  # share of foreground on the border of a mask that has it all around
_MANY = 4  # masks of either kind
_FULL_SCALE = (IGNORE, 65535)  # white of 8 and of 16 bits
_UPRIGHT = 0.3  # what half of the masks of the same set stay below, in both


def channel_range(image: np.ndarray) -> float:
    """Return the largest difference between two values of the same channel, in an image `(..., C)`; 0 if constant.

    >>> channel_range(np.array([[[1, 7], [4, 7]]]))
    3.0
    """
    pixels = image.reshape(-1, image.shape[-1])
    return float((pixels.max(0).astype(np.float64) - pixels.min(0)).max())


def is_black_and_white(values: np.ndarray) -> bool:
    """Return whether a mask with these values has 255, and nothing else but 0."""
    return bool((values == IGNORE).any()) and bool(np.isin(values, (0, IGNORE)).all())


def find_two_ways_of_writing(masks: Sequence[np.ndarray]) -> tuple[list[int], list[int]]:
    """Return which masks write foreground as white, and which as class indices, where both occur; else nothing.

    White is 255, or 65535 of 16 bits. Where at least as many masks have it beside class indices, it has a meaning of
    its own, such as ignored, and a mask may have no other value.

    Args:
        masks: the values in each mask, ascending.

    >>> find_two_ways_of_writing([np.array([0, 255]), np.array([0, 1]), np.array([0])])
    ([0], [1])
    >>> find_two_ways_of_writing([np.array([0, 255]), np.array([0, 1, 255])])
    ([], [])
    """
    for white in _FULL_SCALE:
        alone = [index for index, values in enumerate(masks) if values.tolist() == [0, white]]
        classes = [index for index, values in enumerate(masks) if np.setdiff1d(values, (0, white)).size]
        with_both = sum(white in masks[index] for index in classes)
        if classes and len(alone) > with_both:
            return alone, classes
    return [], []


def has_soft_edges(values: np.ndarray, counts: np.ndarray) -> bool:
    """Return whether masks were white on black until they were interpolated, or saved as JPEG.

    Then values lie between 0 and 255 on both sides of the middle, some of them near 255, and the light ones are more
    frequent than those in the middle; in a good JPEG all of them are near 0 or 255. Class indices and instance numbers
    are not like that.

    Args:
        values: the values in the masks, ascending.
        counts: the number of pixels with each.
    """
    between = values[(values > 0) & (values < IGNORE)]
    dark, near_white = between < 128, between >= 200
    both_sides = dark.any() and near_white.sum() >= 2 and len(between) >= 4
    good_jpeg = dark.any() and near_white.any() and bool(((between <= 8) | (between >= 247)).all())
    light, middle = counts[(values >= 200) & (values <= IGNORE)].sum(), counts[(values >= 56) & (values < 200)].sum()
    return bool((both_sides or good_jpeg) and light > middle and values[-1] <= IGNORE)


def foreground_share(kinds: np.ndarray, counts: np.ndarray | None = None) -> float:
    """Return the share of foreground, among the pixels that are not ignored; 0 if all are.

    Args:
        kinds: 0, 1 or 255 for each pixel or, with `counts`, for each value.
        counts: the number of pixels with each value.

    >>> foreground_share(np.array([0, 1, 1, 255]))
    0.6666666666666666
    >>> foreground_share(np.array([0, 1, 255]), np.array([30, 10, 60]))
    0.25
    """
    weights = np.ones(kinds.shape, np.int64) if counts is None else counts
    return float(weights[kinds == 1].sum() / max(weights[kinds != IGNORE].sum(), 1))


def border_share(foreground: np.ndarray) -> float:
    """Return the share of foreground in the outermost pixels of a mask, bool `(H, W)`."""
    edges = (foreground[0], foreground[-1], foreground[1:-1, 0], foreground[1:-1, -1])
    return float(np.concatenate(edges).mean())


def find_inverted(shares: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Return the indices of masks that look inverted: foreground all around, in a set whose other masks are not so.

    They are few, or as many as half of a set in which each mask has either next to nothing or next to everything of its
    border. A mask that is all foreground is no sign either way: there are tiles in the middle of a lake.

    Args:
        shares: the share of foreground in each mask.
        borders: the share of foreground on the border of each.
    """
    half = find_inverted_half(shares, borders)
    if len(half):
        return half
    some = shares > 0
    if not some.any() or np.median(shares[some]) > _UPRIGHT or np.median(borders[some]) > _UPRIGHT:
        return np.array([], int)
    return np.flatnonzero((shares > _INVERTED) & (borders > _INVERTED) & (shares < 1))


def find_inverted_half(shares: np.ndarray, borders: np.ndarray) -> np.ndarray:
    """Return the indices of masks with foreground all around, where all others have next to none on their border.

    Nothing if there are few of either, or others in between. Arguments as in `find_inverted`.
    """
    judged = (shares > 0) & (shares < 1)
    around, clear = judged & (borders > _ALL_AROUND), judged & (borders < 1 - _ALL_AROUND)
    told_apart = (around | clear)[judged]
    if min(around.sum(), clear.sum()) < _MANY or told_apart.mean() < _ALL_AROUND:
        return np.array([], int)
    return np.flatnonzero(around)
