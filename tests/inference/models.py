"""Small models whose predictions are known without training."""

import keras
import numpy as np

from kseg.checkpoints import TrainingState, save_checkpoint
from kseg.metadata import Metadata
from kseg.task import Task


def bright(channels=3, outputs=1, kernel=1, size=(None, None)):
    """A model that finds bright pixels: logits of (mean of the channels - 127.5) / 12.75, averaged over a kernel."""
    images = keras.Input((*size, channels), dtype="uint8")
    x = keras.layers.Rescaling(1 / 12.75, offset=-10)(images)
    layer = keras.layers.Conv2D(outputs, kernel, padding="same", dtype="float32")
    model = keras.Model(images, layer(x))
    weights = np.full((kernel, kernel, channels, outputs), 1 / (kernel**2 * channels), np.float32)
    # Of several outputs the first is for dark pixels, the others for ever brighter ones.
    layer.set_weights([weights * np.arange(1 if outputs == 1 else 0, max(outputs, 2)), np.zeros(outputs, np.float32)])
    model.compile("sgd", loss="mse")
    return model


def save(path, model=None, **metadata):
    """Write a model with its metadata, as a run does."""
    state = TrainingState(metadata=Metadata(**metadata).as_data())
    save_checkpoint(model or bright(), path, state)
    return path


CLASSES = Task("multiclass", ("background", "grey", "white"))
