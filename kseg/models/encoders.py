"""Encoders: networks of keras.applications that give features of an image at several resolutions."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, layers

from kseg.errors import KsegError
from kseg.keras_private import quick_initializers

STRIDES = (2, 4, 8, 16, 32)
"""By how much the sides of the features are smaller than those of the image; ConvNeXt has none of stride 2."""
DIVISOR = 32
"""Height and width of images are multiples of this."""

# Mean and standard deviation of ImageNet's channels, from 0 to 1, as torchvision and Keras have them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ONE_TO_ONE = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

# With the 0.99 of keras.applications the running statistics need hundreds of steps; short epochs have a dozen.
_MOMENTUM = 0.9


@dataclass(frozen=True)
class Encoder:
    """How an encoder is made."""

    build: Callable[..., keras.Model]
    mean: Sequence[float]
    """Of each channel of an image, from 0 to 1, as the pretrained weights expect."""
    deviation: Sequence[float]
    arguments: dict[str, Any] = field(default_factory=lambda: {"include_preprocessing": False})


_applications = keras.applications

ENCODERS: dict[str, Encoder] = {
    "mobilenetv3_small": Encoder(_applications.MobileNetV3Small, *_ONE_TO_ONE),
    "mobilenetv3_large": Encoder(_applications.MobileNetV3Large, *_ONE_TO_ONE),
    "efficientnetv2_b0": Encoder(_applications.EfficientNetV2B0, _MEAN, _DEVIATION),
    "efficientnetv2_b1": Encoder(_applications.EfficientNetV2B1, _MEAN, _DEVIATION),
    "efficientnetv2_b2": Encoder(_applications.EfficientNetV2B2, _MEAN, _DEVIATION),
    "efficientnetv2_b3": Encoder(_applications.EfficientNetV2B3, _MEAN, _DEVIATION),
    "efficientnetv2_s": Encoder(_applications.EfficientNetV2S, *_ONE_TO_ONE),
    "resnet50v2": Encoder(_applications.ResNet50V2, *_ONE_TO_ONE, {}),
    "convnext_tiny": Encoder(_applications.ConvNeXtTiny, _MEAN, _DEVIATION),
}
"""The encoders by their name."""


@quick_initializers()
def encode(
    images: KerasTensor, name: str, weights: str | Path | None = None, *, keep_statistics: bool | None = None
) -> list[tuple[int, KerasTensor]]:
    """Apply an encoder to images.

    Args:
        images: uint8 or float `(B, H, W, C)`, values 0 to 255, height and width multiples of 32.
        name: of `ENCODERS`.
        weights: None for random ones; "imagenet" to download Keras's; or a file that `load_weights` reads. With other
            than 3 channels the first convolution takes the weights of the three channels in turn, scaled by 3 / C.
        keep_statistics: whether BatchNorm keeps its statistics in training; None: if there are weights.

    Returns:
        Stride and features, the largest first.

    Raises:
        KsegError: there is no such encoder, or the weights cannot be had or do not fit.
    """
    if name not in ENCODERS:
        raise KsegError(f"encoder: {name!r} is not allowed; expected one of {', '.join(ENCODERS)}.")
    how, channels = ENCODERS[name], images.shape[-1]
    mean, deviation = np.resize(how.mean, channels), np.resize(how.deviation, channels)
    scaled = layers.Rescaling((1 / (255 * deviation)).tolist(), (-mean / deviation).tolist(), name="scale")(images)
    network = _random(how, channels)
    if weights is not None:
        _copy(_pretrained(how, name, weights), network)
    for layer in network.layers:
        if isinstance(layer, layers.BatchNormalization):
            if weights is not None if keep_statistics is None else keep_statistics:
                layer.trainable = False
            else:
                layer.momentum = _MOMENTUM
    strides, outputs = _find_features(network)
    features = keras.Model(network.input, outputs, name="encoder")
    return list(zip(strides, features(scaled), strict=True))


def _find_features(network: keras.Model) -> tuple[list[int], list[KerasTensor]]:
    """Return the last output of each stride, and the strides."""
    pictures = [
        layer
        for layer in network.layers
        if not isinstance(layer, layers.InputLayer | layers.ZeroPadding2D) and len(layer.output.shape) == 4
    ]
    every = keras.Model(network.input, [layer.output for layer in pictures])
    side = 4 * DIVISOR
    shapes = every.compute_output_shape((1, side, side, network.input.shape[-1]))
    last = {side // shape[1]: layer.output for layer, shape in zip(pictures, shapes, strict=True) if shape[1]}
    found = [stride for stride in STRIDES if stride in last]
    return found, [last[stride] for stride in found]


def _pretrained(how: Encoder, name: str, weights: str | Path) -> keras.Model:
    if weights == "imagenet":
        return _download(how, name)
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


def _download(how: Encoder, name: str) -> keras.Model:
    try:
        return how.build(include_top=False, weights="imagenet", input_shape=(None, None, 3), **how.arguments)
    except Exception as error:  # whatever a network raises
        raise KsegError(
            f"encoder_weights: the ImageNet weights of {name} cannot be had: {error}. Where there is no network, "
            "download that file elsewhere, and put it into the folder models of Keras's own, usually ~/.keras/models."
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
    """Return a kernel `(h, w, 3, filters)` for another number of channels: the three in turn, scaled by 3 / C."""
    return kernel[:, :, np.arange(channels) % 3] * (3 / channels)
