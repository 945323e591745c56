"""Pictures that are the same, or nearly: in NumPy, in time that grows with their number and not its square."""

from collections.abc import Iterator, Sequence

import numpy as np

from kseg.audits.measures import ImageLook

_BITS_APART = 10  # of 128
_WINDOW = 24  # how many neighbours a picture is compared with, in each of eight orders
_LIKE = 0.985  # correlation of the small pictures
_GREY_APART = 12  # of 255, mean difference of the small pictures


def exact_groups(images: Sequence[ImageLook]) -> list[list[int]]:
    """Groups of two and more with the same pixels, as indices."""
    groups: dict[bytes, list[int]] = {}
    for index, image in enumerate(images):
        groups.setdefault(image.digest, []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def near_groups(images: Sequence[ImageLook]) -> list[list[int]]:
    """Groups of two and more that look the same (resized, recompressed, a little brighter), as indices.

    Two pictures are compared if one of eight parts of their 128-bit hashes is equal and they stand close to each
    other in the order of that part. Turned or mirrored copies are not seen.
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

    for one, other in _candidates(bits):
        if root(one) != root(other) and _alike(small[one], small[other]):
            parent[root(one)] = root(other)
    groups: dict[int, list[int]] = {}
    for index in range(len(images)):
        groups.setdefault(root(index), []).append(index)
    return [group for group in groups.values() if len(group) > 1]


def _candidates(bits: np.ndarray) -> Iterator[tuple[int, int]]:
    """Pairs whose hashes, uint64 `(N, 2)`, differ in few bits."""
    for part in bits.view(np.uint16).T:
        order = np.lexsort((bits[:, 1], bits[:, 0], part))
        for step in range(1, min(_WINDOW, len(order) - 1) + 1):
            one, other = order[:-step], order[step:]
            one, other = one[same := part[one] == part[other]], other[same]
            apart = np.bitwise_count(bits[one] ^ bits[other]).sum(1)
            yield from zip(one[apart <= _BITS_APART].tolist(), other[apart <= _BITS_APART].tolist(), strict=True)


def _alike(one: np.ndarray, other: np.ndarray) -> bool:
    if np.abs(one - other).mean() > _GREY_APART:
        return False
    one, other = one - one.mean(), other - other.mean()
    return float(one @ other) >= _LIKE * float(np.linalg.norm(one) * np.linalg.norm(other))
