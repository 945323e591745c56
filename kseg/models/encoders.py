"""Encoders: networks that give features of an image at several resolutions."""

import math
import warnings
from pathlib import Path

import keras
import numpy as np
from keras import KerasTensor, layers

from kseg.errors import KsegError
from kseg.keras_private import all_layers, quick_initializers
from kseg.models.networks import Encoder, find_encoder

STRIDES = (2, 4, 8, 16, 32)
"""By how much the sides of the features are smaller than those of the image; ConvNeXt has none of stride 2."""
DIVISOR = 32
"""Height and width of images are multiples of this."""

# With the 0.99 of keras.applications the running statistics need hundreds of steps; short epochs have a dozen.
_MOMENTUM = 0.9


@quick_initializers()
def encode(
    images: KerasTensor, name: str, weights: str | Path | None = None, *, keep_statistics: bool | None = None
) -> list[tuple[int, KerasTensor]]:
    """Apply an encoder to images.

    Args:
        images: uint8 or float `(B, H, W, C)`, values 0 to 255, height and width multiples of 32.
        name: see `kseg.models.networks.find_encoder`.
        weights: None for random ones; "imagenet" to download Keras's; "preset" for those of a preset of KerasHub; or a
            file that `load_weights` reads. With other than 3 channels the first convolution takes the weights of the
            three channels in turn, and those that share one's weights a share each; fewer than 3 channels are repeated
            first. So equal channels give what three equal ones give.
        keep_statistics: whether BatchNorm keeps its statistics in training; None: if there are weights.

    Returns:
        Stride and features, the largest first.

    Raises:
        KsegError: there is no such encoder, it has not the features that decoders need, or the weights cannot be had
            or do not fit.
    """
    how, channels = find_encoder(name), images.shape[-1]
    if channels < 3:
        images = layers.Concatenate(name="repeat")([images] * math.ceil(3 / channels))
        channels = images.shape[-1]
    mean, deviation = np.resize(how.mean, channels), np.resize(how.deviation, channels)
    scaled = layers.Rescaling((1 / (255 * deviation)).tolist(), (-mean / deviation).tolist(), name="scale")(images)
    network = _random(how, channels)
    if weights is not None:
        _copy(_pretrained(how, name, weights), network)
    for layer in all_layers(network):
        if isinstance(layer, layers.BatchNormalization):
            if weights is not None if keep_statistics is None else keep_statistics:
                layer.trainable = False
            else:
                layer.momentum = _MOMENTUM
    strides, outputs = _find_features(network)
    if missing := [stride for stride in STRIDES[1:] if stride not in strides]:
        raise KsegError(
            f"encoder: {name} has features of {', '.join(map(str, strides)) or 'no'} strides; decoders need 4, 8, 16 "
            f"and 32, and there is none of {', '.join(map(str, missing))}."
        )
    features = keras.Model(network.input, outputs, name="encoder")
    return list(zip(strides, features(scaled), strict=True))


def _find_features(network: keras.Model) -> tuple[list[int], list[KerasTensor]]:
    """Return the last output of each stride, and the strides."""
    pictures = [
        layer
        for layer in network.layers
        if not isinstance(layer, layers.InputLayer | layers.ZeroPadding2D)
        and isinstance(layer.output, KerasTensor)
        and len(layer.output.shape) == 4
    ]
    every = keras.Model(network.input, [layer.output for layer in pictures])
    side = 4 * DIVISOR
    shapes = every.compute_output_shape((1, side, side, network.input.shape[-1]))
    last = {side // shape[1]: layer.output for layer, shape in zip(pictures, shapes, strict=True) if shape[1]}
    found = [stride for stride in STRIDES if stride in last]
    return found, [last[stride] for stride in found]


def _pretrained(how: Encoder, name: str, weights: str | Path) -> keras.Model:
    if weights in ("imagenet", "preset"):
        return _download(how, name, str(weights))
    network = _random(how, 3)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # where a part does not fit, Keras warns and leaves it random
            network.load_weights(weights)
    except (OSError, ValueError, UserWarning) as error:
        reason = str(error).partition("\n")[0]
        raise KsegError(f"encoder_weights: {weights} does not fit {name}: {reason}") from error
    return network


def _random(how: Encoder, channels: int) -> keras.Model:
    with warnings.catch_warnings():
        # Keras doubts other numbers of channels than 1 and 3.
        warnings.filterwarnings("ignore", "This model usually expects 1 or 3 input channels", UserWarning)
        return how.build(include_top=False, weights=None, input_shape=(None, None, channels), **how.arguments)


def _download(how: Encoder, name: str, weights: str) -> keras.Model:
    try:
        return how.build(include_top=False, weights=weights, input_shape=(None, None, 3), **how.arguments)
    except Exception as error:  # whatever a network raises
        place = "name a folder with the files of the preset"
        if weights == "imagenet":
            place = "download that file elsewhere, and put it into the folder models of Keras's own, ~/.keras/models"
        raise KsegError(
            f"encoder_weights: the weights {weights} of {name} cannot be had: {error}. Where there is no network, "
            f"{place}."
        ) from error


def _copy(source: keras.Model, target: keras.Model) -> None:
    """Copy all weights; the first convolution may be for another number of channels."""
    for before, after in zip(source.layers, target.layers, strict=True):
        shapes = [tuple(variable.shape) for variable in after.weights]
        values = before.get_weights()
        after.set_weights(
            [
                value if value.shape == shape else _tile(value, shape[2])
                for value, shape in zip(values, shapes, strict=True)
            ]
        )


def _tile(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return a kernel `(h, w, 3, filters)` for more channels: the three in turn, divided by how often each is taken."""
    taken = np.arange(channels) % 3
    return kernel[:, :, taken] / np.bincount(taken)[taken][:, None]
