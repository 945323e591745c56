"""Finds pictures that are the same, or nearly, in a time that grows with their number and not with its square."""

from collections.abc import Iterator, Sequence

import numpy as np

from kseg.audit.statistics import ImageStatistics

_BITS_APART = 10  # of 128
_WINDOW = 24  # number of neighbours that a picture is compared with, in each of eight orders
_LIKE = 0.985  # correlation of the small pictures
_GREY_APART = 25  # of 255, mean difference of the small pictures


def exact_groups(images: Sequence[ImageStatistics]) -> list[list[int]]:
    """Return groups of two or more images with the same pixels, as indices."""
    groups: dict[bytes, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.digest, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_groups(images: Sequence[ImageStatistics]) -> list[list[int]]:
    """Return groups of two or more images that look the same (resized, recompressed, a bit brighter), as indices.

    Two pictures are compared if one of the eight parts of their 128-bit hashes is equal, and they are close to each
    other in the order of that part. Turned or mirrored copies are not found.
    """
    if len(images) < 2:
        return []
    bits = np.stack([image.bits for image in images])
    small = np.stack([image.small for image in images]).reshape(len(images), -1).astype(np.float32)
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = index = parent[parent[index]]
        return index

    for ones, others in _candidates(bits):
        similar = _are_similar(small[ones], small[others])
        for one, other in zip(ones[similar].tolist(), others[similar].tolist(), strict=True):
            parent[root(one)] = root(other)
    groups: dict[int, list[int]] = {}
    for index in range(len(images)):
        groups.setdefault(root(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _candidates(bits: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices of pictures and of their partners whose hashes, uint64 `(N, 2)`, differ in few bits."""
    for part in bits.view(np.uint16).T:
        order = np.lexsort((bits[:, 1], bits[:, 0], part))
        for step in range(1, min(_WINDOW, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            one, other = one[same := part[one] == part[other]], other[same]
            close = np.bitwise_count(bits[one] ^ bits[other]).sum(1) <= _BITS_APART
            yield one[close], other[close]


def _are_similar(ones: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return which pictures `(N, P)` look like their partners, bool `(N,)`."""
    apart = np.abs(ones - others).mean(1)
    ones, others = ones - ones.mean(1, keepdims=True), others - others.mean(1, keepdims=True)
    lengths = np.linalg.norm(ones, axis=1) * np.linalg.norm(others, axis=1)
    return (apart <= _GREY_APART) & ((ones * others).sum(1) >= _LIKE * lengths)
