"""From a name or a folder to batches: images, uint8 `(B, H, W, 3)`, and masks, uint8 `(B, H, W, 1)`, or K for labels.

    train, validation = open_sources("path/to/folder")
    foreground = find_foreground(train)
    batches = training_batches(train, foreground, image_size=(128, 128), batch_size=8, seed=0)
    model.fit(batches.dataset, steps_per_epoch=batches.steps, epochs=10, shuffle=False)

TensorFlow is imported where a data set of TFDS is read or written, and Keras where `Batches.dataset` is asked for.
"""

import os

from kseg.data.classes import Classes
from kseg.data.labels import Foreground, find_foreground
from kseg.data.mask_reading import read_masks_of_splits
from kseg.data.multilabel import Labels
from kseg.data.pipeline.batches import Batches, training_batches, validation_batches
from kseg.data.sources.base import Source
from kseg.data.sources.open import open_sources
from kseg.data.transforms.distances import signed_distances
from kseg.data.transforms.strengths import Augmentation

__all__ = [
    "Augmentation",
    "Batches",
    "Classes",
    "Foreground",
    "Labels",
    "Source",
    "find_foreground",
    "open_sources",
    "quiet_tensorflow",
    "read_masks_of_splits",
    "signed_distances",
    "training_batches",
    "validation_batches",
]


def quiet_tensorflow() -> None:
    """Switch off TensorFlow's start-up messages; for a command, before anything imports TensorFlow."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # a data pipeline does not need oneDNN, which prints a line
