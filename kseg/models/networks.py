"""Where the networks of encoders come from: keras.applications, and presets of KerasHub."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kseg.errors import KsegError

# Mean and standard deviation of ImageNet's channels, from 0 to 1, as torchvision and Keras have them.
_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_ONE_TO_ONE = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Encoder:
    """How an encoder is made."""

    build: Callable[..., keras.Model]
    """Takes `weights`, `input_shape`, `include_top` and `arguments`, as the functions of keras.applications do."""
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
"""The encoders of keras.applications by their name."""


def find_encoder(name: str) -> Encoder:
    """Return the encoder of a name.

    Args:
        name: of `ENCODERS`; or a preset as KerasHub names it, `hf://user/name`, `kaggle://user/model/framework/name`,
            or a folder with a "/" in its name.

    Raises:
        KsegError: there is no such encoder, or the preset cannot be had.
    """
    if name in ENCODERS:
        return ENCODERS[name]
    if "/" in name:
        return _preset(name)
    raise KsegError(
        f"encoder: {name!r} is not allowed; expected one of {', '.join(ENCODERS)}, or a preset of KerasHub, such as "
        "hf://keras/resnet_18_imagenet or ./folder."
    )


def _preset(name: str) -> Encoder:
    """Return the encoder of a preset, whose `build` gives the weights of the preset unless `weights` is None."""
    try:
        import keras_hub
    except ImportError as error:
        raise KsegError(
            f"encoder: the preset {name} needs keras_hub, which cannot be imported ({error}): pip install 'kseg[hub]'"
        ) from error
    if "://" not in name and not Path(name).is_dir():
        raise KsegError(f"encoder: there is no folder {name}; expected one with the files of a preset of KerasHub.")
    try:
        converter = keras_hub.layers.ImageConverter.from_preset(name)
    except Exception as error:  # whatever a parser or a connection raises
        raise KsegError(
            f"encoder: the preset {name} cannot be had: {_first_line(error)} Expected hf://user/name, "
            "kaggle://user/model/framework/name, or a folder, of a network for images, with its image_converter.json, "
            "which says how images are scaled. Where there is no network, name a folder with the files of the preset."
        ) from error

    def build(*, weights: str | None, input_shape: tuple[int | None, ...], **_: Any) -> keras.Model:
        network = keras_hub.models.Backbone.from_preset(name, load_weights=weights is not None)
        if weights is not None:
            return network
        config = network.get_config()
        shape = "image_shape" if "image_shape" in config else "input_shape"
        policy = keras.config.dtype_policy()
        try:
            return type(network).from_config({**config, shape: input_shape, "dtype": policy})
        except Exception as error:  # whatever the constructor of a network raises
            raise KsegError(
                f"encoder: {type(network).__name__} of {name} cannot be made for images of any size and "
                f"{input_shape[-1]} channels: {_first_line(error)} Expected a convolutional network, such as ResNet, "
                "DenseNet, CSPNet or EfficientNet."
            ) from error

    # KerasHub computes pixel * scale + offset.
    scale = np.broadcast_to(1.0 if converter.scale is None else converter.scale, 3)
    offset = np.broadcast_to(0.0 if converter.offset is None else converter.offset, 3)
    return Encoder(build, tuple(-offset / scale / 255), tuple(1 / scale / 255), {})


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
