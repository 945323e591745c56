"""From batches of images to probabilities: one model or the mean of several, and of mirrored, turned, scaled images."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import cv2
import keras
import numpy as np
from scipy import special

from kseg.errors import KsegError
from kseg.metadata import Metadata

TestTimeAugmentation = Literal["mirrors", "turns", "scales"]
"""Other views of an image to average with it: mirrored; turned by quarters; 0.75 and 1.25 times as large."""

_SCALES = (0.75, 1.0, 1.25)


@dataclass(frozen=True)
class _View:
    """How an image is looked at, and how what was seen is put back."""

    turns: int = 0
    mirrored: bool = False
    scale: float = 1.0

    def see(self, images: np.ndarray, multiple: int) -> np.ndarray:
        images = images[:, :, ::-1] if self.mirrored else images
        images = np.rot90(images, self.turns, axes=(1, 2))
        size = [max(round(side * self.scale / multiple), 1) * multiple for side in images.shape[1:3]]
        return np.ascontiguousarray(images if self.scale == 1 else resize_linear(images, (size[0], size[1])))

    def put_back(self, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        size = size[::-1] if self.turns % 2 else size
        seen = seen if self.scale == 1 else resize_linear(seen, (size[0], size[1]))
        seen = np.rot90(seen, -self.turns, axes=(1, 2))
        return seen[:, :, ::-1] if self.mirrored else seen


def resize_linear(arrays: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize arrays `(B, H, W, C)` to a height and width by linear interpolation, of the same dtype."""
    # OpenCV takes at most four channels at once, and drops the axis of a single one.
    parts = [arrays[..., first : first + 4] for first in range(0, arrays.shape[3], 4)]
    resized = [[cv2.resize(np.ascontiguousarray(one), size[::-1]) for one in part] for part in parts]
    return np.stack([np.dstack(channels) for channels in zip(*resized, strict=True)])


class Network:
    """Gives probabilities for batches of images.

    Args:
        models: one model, or several whose probabilities are averaged.
        metadata: what they have in common.
        tta: which other views of an image are averaged with it.
        batch_size: images in a call of a model. The last call is filled up, so that each size is compiled once.
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        metadata: Metadata,
        *,
        tta: Sequence[TestTimeAugmentation] = (),
        batch_size: int = 1,
    ) -> None:
        if batch_size < 1:
            raise KsegError(f"batch_size: {batch_size} is not allowed; expected 1 or more.")
        self._models = models
        self._metadata = metadata
        self._batch_size = batch_size
        self._views = [
            _View(turns, mirrored, scale)
            for scale in (_SCALES if "scales" in tta else (1.0,))
            for mirrored in ((False, True) if "mirrors" in tta else (False,))
            for turns in (_turns(tta))
        ]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return the probability of each channel of the output, float32 `(B, H, W, outputs)`.

        Args:
            images: uint8 `(B, H, W, C)`, height and width multiples of the model's, which go through it together.
        """
        size = images.shape[1], images.shape[2]
        total = np.zeros((), np.float32)
        for view in self._views:
            seen = view.see(images, self._metadata.size_multiple)
            for model in self._models:
                logits = np.asarray(model.predict_on_batch(seen), np.float32)
                total = total + view.put_back(activate(logits, self._metadata), size)
        return total / np.float32(len(self._views) * len(self._models))

    def predict_each(self, images: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the probabilities of each of some images of one size; they go through the models in batches.

        Args:
            images: each uint8 `(H, W, C)`. They are read as they are needed, a batch at a time.
        """
        waiting = iter(images)
        number = 0  # of images so far
        while batch := list(islice(waiting, self._batch_size)):
            number += len(batch)
            # A single image goes alone: filled up it would cost as much as a batch.
            missing = self._batch_size - len(batch) if number > 1 else 0
            yield from self.probabilities(np.stack(batch + batch[-1:] * missing))[: len(batch)]


def _turns(tta: Sequence[TestTimeAugmentation]) -> tuple[int, ...]:
    """Return numbers of quarter turns. Half a turn and a mirror image are a mirror image in the other direction."""
    if "turns" in tta:
        return (0, 1, 2, 3)
    return (0, 2) if "mirrors" in tta else (0,)


def activate(logits: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Return the probabilities of logits `(…, outputs)`: softmax for several classes, else sigmoid."""
    if metadata.task.kind == "multiclass":
        return special.softmax(logits, axis=-1)
    return special.expit(logits)
