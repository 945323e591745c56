"""Connected areas of a mask."""

import cv2
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

_ROWS_PIXELS = 2**24  # pixels that are labelled at once, to bound the memory


def count_instances(area: np.ndarray) -> int:
    """Return the number of connected areas of a mask, bool `(H, W)`; pixels that touch at a corner are connected.

    The mask is labelled some rows at a time, so that a large one needs little memory.

    >>> count_instances(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 1]], bool))
    3
    """
    step = max(_ROWS_PIXELS // area.shape[1], 1)
    total, edges = 0, []
    above = np.zeros(area.shape[1], np.int64)
    for first in range(0, len(area), step):
        number, labels = cv2.connectedComponents(area[first : first + step].view(np.uint8), connectivity=8)
        labels = np.where(labels > 0, labels.astype(np.int64) + total, 0)
        edges.append(_touching(above, labels[0]))
        total, above = total + number - 1, labels[-1]
    pairs = np.concatenate(edges) - 1
    graph = coo_array((np.ones(len(pairs)), pairs.T), shape=(total, total))
    return connected_components(graph, directed=False, return_labels=False) if total else 0


def _touching(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """Return pairs of labels of two rows that touch, `(N, 2)`; 0 is no label."""
    width = len(above)
    shifted = [(above[max(-by, 0) : width - max(by, 0)], below[max(by, 0) : width - max(-by, 0)]) for by in (-1, 0, 1)]
    pairs = np.concatenate([np.stack(pair, axis=1) for pair in shifted])
    return np.unique(pairs[(pairs > 0).all(axis=1)], axis=0)
