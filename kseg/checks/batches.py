"""Batches of any data set, as NumPy arrays."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kseg import IGNORE
from kseg.errors import KsegError

ENOUGH = 4
"""This many images or masks are proof; fewer only raise a doubt."""

_ARRAY_BATCH = 8


class Batch(NamedTuple):
    """A batch in NumPy."""

    x: Any
    """Images `(B, ..., C)`; or, if the model has several inputs, a structure whose first array they are."""
    y: Any
    """Masks `(B, ...)` or `(B, ..., C)`; or, if the model has several outputs, a structure of them."""
    sample_weight: Any

    @property
    def images(self) -> np.ndarray:
        """The images alone."""
        return keras.tree.flatten(self.x)[0]

    @classmethod
    def of(cls, batch: Any) -> "Batch":
        """Make one from a batch that `fit` takes."""
        made = cls(*keras.tree.map_structure(to_numpy_or_none, keras.utils.unpack_x_y_sample_weight(batch)))
        if made.y is None:
            raise KsegError("The data set has no masks; expected batches (images, masks).")
        return made


def to_numpy(value: Any) -> np.ndarray:
    """Return an array of any backend in NumPy, float64 as Keras's float type."""
    array = value if isinstance(value, np.ndarray) else keras.ops.convert_to_numpy(value)
    return array.astype(keras.config.floatx()) if array.dtype == np.float64 else array


def to_numpy_or_none(value: Any) -> np.ndarray | None:
    """Return an array in NumPy; None stays None."""
    return None if value is None else to_numpy(value)


def batches_of(dataset: Any) -> Iterable[Any]:
    """Return the batches of any data that `fit` takes; arrays are shuffled first, since they may be sorted."""
    if not isinstance(dataset, tuple):
        return dataset
    arrays = [keras.tree.map_structure(to_numpy, array) for array in dataset if array is not None]
    order = np.random.default_rng(0).permutation(len(keras.tree.flatten(arrays)[0]))
    parts = (order[start : start + _ARRAY_BATCH] for start in range(0, len(order), _ARRAY_BATCH))
    return (tuple(keras.tree.map_structure(operator.itemgetter(part), array) for array in arrays) for part in parts)


def masks_of(seen: Sequence[Batch], more: Iterable[Batch] = ()) -> list[Any]:
    """Return the masks of the batches, and of further batches until one has foreground."""
    masks = [batch.y for batch in seen]
    if not any(map(has_foreground, masks)):
        for batch in more:
            masks.append(batch.y)
            if has_foreground(batch.y):
                break
    return masks


def has_foreground(masks: Any) -> bool:
    """Return whether a pixel is foreground; with several outputs True, since their masks are not checked."""
    return not isinstance(masks, np.ndarray) or bool(((masks != 0) & (masks != IGNORE)).any())
