"""Masks and shapes for the tests of all losses."""

import numpy as np

NAMES = ["bce", "combined", "cross_entropy", "dice", "focal", "iou", "lovasz", "tversky"]

SHAPES = {"image": (3, 16, 24, 1), "volume": (2, 8, 6, 10, 1), "channels": (2, 12, 12, 3), "signal": (2, 50, 1)}


def make_masks(kind, shape, rng):
    mask = np.zeros(shape, np.uint8)
    if kind == "random":
        mask = (rng.random(shape) < 0.3).astype(np.uint8)
    elif kind == "full":
        mask[:] = 1
    elif kind == "ignored":
        mask = rng.choice(np.uint8([0, 1, 255]), shape)
        mask[0] = 255
    elif kind == "one pixel":
        mask[(slice(None), *[size // 2 for size in shape[1:-1]])] = 1
    return mask
