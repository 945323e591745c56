"""The task of a model: binary, multiclass or multilabel, the classes, and what the channels of its output mean."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kseg import IGNORE

Kind = Literal["binary", "multiclass", "multilabel"]


@dataclass(frozen=True)
class Task:
    """What a model tells apart.

    | kind | masks in a batch, uint8 | logits | decision |
    | --- | --- | --- | --- |
    | binary | `(B, H, W, 1)`: 0, 1, 255 | `(B, H, W, 1)` | sigmoid > threshold |
    | multiclass | `(B, H, W, 1)`: 0 to C - 1, 255 | `(B, H, W, C)` | the largest logit |
    | multilabel | `(B, H, W, K)`: 0, 1, 255 | `(B, H, W, K)` | sigmoid > threshold, each label by itself |

    >>> print(Task("multiclass", ("background", "cat", "dog")))
    3 classes: 0 background, 1 cat, 2 dog
    """

    kind: Kind = "binary"
    classes: tuple[str, ...] = ("foreground",)
    """The name of each channel of the output; of a multiclass task the first is background."""

    def __str__(self) -> str:
        if self.kind == "binary":
            return f"binary: {self.classes[0]} against background"
        named = ", ".join(f"{index} {name}" for index, name in enumerate(self.classes))
        return f"{len(self.classes)} {'classes' if self.kind == 'multiclass' else 'labels'}: {named}"

    @property
    def outputs(self) -> int:
        """Number of logits of a pixel."""
        return len(self.classes)

    def layers(self, mask: np.ndarray) -> np.ndarray:
        """Return where a mask has each of the K foreground classes, bool `(…, K)`.

        Args:
            mask: integers `(…)`, class indices; of labels `(…, K)`, 0 and 1 of each. 255 is no class.

        >>> Task("multiclass", ("background", "cat", "dog")).layers(np.uint8([0, 2, 255])).astype(int).tolist()
        [[0, 0], [0, 1], [0, 0]]
        """
        if self.kind == "multilabel":
            return mask == 1
        return mask[..., None] == np.arange(1, len(self.foreground_classes) + 1, dtype=mask.dtype)

    def as_predicted(self, mask: np.ndarray) -> np.ndarray:
        """Return a mask of a batch in the shape of a prediction: class indices `(…, 1)` as `(…)`, labels unchanged."""
        return mask if self.kind == "multilabel" else mask[..., 0]

    def judged(self, mask: np.ndarray) -> np.ndarray:
        """Return which pixels of a mask are not ignored, bool `(…, 1)`; of labels `(…, K)`."""
        return mask != IGNORE if self.kind == "multilabel" else (mask != IGNORE)[..., None]

    @property
    def mask_channels(self) -> int:
        """Channels of a mask in a batch: one, or one for each label."""
        return self.outputs if self.kind == "multilabel" else 1

    @property
    def foreground_classes(self) -> tuple[str, ...]:
        """The names without that of background."""
        return self.classes[1:] if self.kind == "multiclass" else self.classes


def safe_names(names: Sequence[str]) -> list[str]:
    """Return class names for logs and columns: letters, digits and _ alone, each once, always the same ones.

    >>> safe_names(["traffic light", "Straße", "a/b", "a b", ""])
    ['traffic_light', 'Straße', 'a_b', 'a_b_2', 'class']
    """
    safe: list[str] = []
    for name in names:
        stem = re.sub(r"\W+", "_", name).strip("_") or "class"
        number = 1
        while (candidate := stem if number == 1 else f"{stem}_{number}") in safe:
            number += 1
        safe.append(candidate)
    return safe
