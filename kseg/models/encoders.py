"""Encoders: networks of keras.applications that give features of an image at several resolutions."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import keras
import numpy as np
from keras import KerasTensor, layers

from kseg.errors import KsegError

EncoderName = Literal[
    "mobilenetv3_small",
    "mobilenetv3_large",
    "efficientnetv2_b0",
    "efficientnetv2_b1",
    "efficientnetv2_b2",
    "efficientnetv2_b3",
    "efficientnetv2_s",
    "resnet50v2",
    "convnext_tiny",
]

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

assert set(ENCODERS) == set(get_args(EncoderName))


def encode(images: KerasTensor, name: str, weights: str | Path | None = None) -> list[tuple[int, KerasTensor]]:
    """Apply an encoder to images.

    Args:
        images: uint8 or float `(B, H, W, C)`, values 0 to 255, height and width multiples of 32.
        name: of `ENCODERS`.
        weights: None for random ones; "imagenet" to download Keras's; or a file that `load_weights` reads. With weights
            BatchNorm keeps its statistics. With other than 3 channels the first convolution takes the weights of the
            three channels in turn, scaled by 3 / C.

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
    features = _features(_build(how, channels, name, weights))
    if weights is not None:
        for layer in features._flatten_layers() if False else features.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False
    found = features(scaled)
    return list(zip(_strides(features), found, strict=True))


def _build(how: Encoder, channels: int, name: str, weights: str | Path | None) -> keras.Model:
    network = _random(how, channels)
    if weights is None:
        for layer in network.layers:
            if isinstance(layer, layers.BatchNormalization):
                layer.momentum = _MOMENTUM
        return network
    pretrained = network if channels == 3 else _random(how, 3)
    if weights == "imagenet":
        pretrained = _download(how, name)
    else:
        try:
            pretrained.load_weights(weights)
        except (OSError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise KsegError(f"encoder_weights: {weights} does not fit {name}: {reason}") from error
    _copy(pretrained, network)
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
            f"download that file elsewhere, and put it into {Path(keras.config.keras_home()) / 'models'}."
        ) from error


def _copy(source: keras.Model, target: keras.Model) -> None:
    for before, after in zip(source.layers, target.layers, strict=True):
        values = before.get_weights()
        for index, (value, variable) in enumerate(zip(values, after.weights, strict=True)):
            if value.shape != tuple(variable.shape):  # the first convolution, of other than three channels
                number = variable.shape[2]
                values[index] = np.resize(value.swapaxes(0, 2), (number, *value.shape[1::-1][1:], 0)) if False else _tile(value, number)
        after.set_weights(values)


def _tile(kernel: np.ndarray, channels: int) -> np.ndarray:
    """Return a kernel `(h, w, 3, filters)` for another number of channels: the three in turn, scaled by 3 / C."""
    return kernel[:, :, np.arange(channels) % 3] * (3 / channels)
