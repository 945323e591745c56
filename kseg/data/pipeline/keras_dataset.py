"""Batches as `model.fit` takes them. This file alone of `kseg.data` needs Keras; it is imported when it is needed."""

from collections.abc import Callable, Iterator

import keras
import numpy as np


class BatchDataset(keras.utils.PyDataset):
    """Batches by their number, for Keras.

    Keras asks for one after the other, and begins again for a validation or for another fit. Threads read ahead, so
    Keras needs no workers.
    """

    def __init__(self, read_from: Callable[[int], Iterator[tuple[np.ndarray, ...]]], count: int | None) -> None:
        """Make one.

        Args:
            read_from: from the number of a batch to that batch and all after it.
            count: the number of batches; None: endless.
        """
        super().__init__()
        self._read_from, self._count = read_from, count
        self._batches: Iterator[tuple[np.ndarray, ...]] = iter(())
        self._next = -1

    @property
    def num_batches(self) -> int | None:
        """The number of batches; None: endless."""
        return self._count

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        if self._count is not None and number >= self._count:
            raise IndexError(f"Batch {number} of {self._count}; expected 0 to {self._count - 1}.")
        if number != self._next:
            self._batches = self._read_from(number)
        self._next = number + 1
        return next(self._batches)
