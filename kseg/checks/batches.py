"""What is looked at: batches in NumPy, out of any data set."""

import operator
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from kseg import IGNORE
from kseg.errors import KsegError

_ARRAY_BATCH = 8


class Batch(NamedTuple):
    """A batch in NumPy."""

    x: Any
    """Images `(B, ..., C)`; a structure whose first array they are, if the model takes more."""
    y: Any
    """Masks `(B, ...)` or `(B, ..., C)`; a structure of them, if the model has several outputs."""
    sample_weight: Any

    @property
    def images(self) -> np.ndarray:
        """The images alone."""
        return keras.tree.flatten(self.x)[0]

    @classmethod
    def of(cls, batch: Any) -> "Batch":
        """A batch as `fit` takes it."""
        found = cls(*keras.tree.map_structure(to_numpy, keras.utils.unpack_x_y_sample_weight(batch)))
        if found.y is None:
            raise KsegError("The data set has no masks; expected batches (images, masks).")
        return found


def to_numpy(value: Any) -> np.ndarray | None:
    """The array of any backend, float64 as Keras would take it; None stays None."""
    if value is not None and not isinstance(value, np.ndarray):
        value = keras.ops.convert_to_numpy(value)
    return value.astype(keras.config.floatx()) if value is not None and value.dtype == np.float64 else value


def batches_of(dataset: Any) -> Iterable[Any]:
    """The batches of whatever `fit` takes; of arrays, batches from all over them, since they may be sorted."""
    if not isinstance(dataset, tuple):
        return dataset
    arrays = [keras.tree.map_structure(to_numpy, array) for array in dataset if array is not None]
    order = np.random.default_rng(0).permutation(len(keras.tree.flatten(arrays)[0]))
    parts = (order[start : start + _ARRAY_BATCH] for start in range(0, len(order), _ARRAY_BATCH))
    return (tuple(keras.tree.map_structure(operator.itemgetter(part), array) for array in arrays) for part in parts)


def masks_of(seen: Sequence[Batch], more: Iterable[Batch] = ()) -> list[Any]:
    """The masks of the batches, and of more batches until one has foreground."""
    masks = [batch.y for batch in seen]
    if not any(map(has_foreground, masks)):
        for batch in more:
            masks.append(batch.y)
            if has_foreground(batch.y):
                break
    return masks


def has_foreground(masks: Any) -> bool:
    """Whether a pixel is neither background nor ignored; taken for granted of several outputs."""
    return not isinstance(masks, np.ndarray) or bool(((masks != 0) & (masks != IGNORE)).any())
