"""Decoders on an encoder: U-Net, FPN, DeepLabV3+, and the all-MLP head of SegFormer.

All take the encoder's features and give logits at the size of the image.
"""

from pathlib import Path
from typing import Any

import keras
from keras import KerasTensor, layers

from kseg.keras_private import quick_initializers
from kseg.models.decoders.blocks import convolve, enlarge, reduce
from kseg.models.encoders import encode
from kseg.models.fast_layers import GroupNormalization

Features = list[tuple[int, KerasTensor]]
"""Stride and features, the largest first."""

_UNET_WIDTHS = {16: 128, 8: 64, 4: 32, 2: 24, 1: 16}
_ATROUS_RATES = (3, 6, 9)


def unet_decoder(features: Features, dtype: Any) -> KerasTensor:
    """Join features level by level, as the U-Net does (Ronneberger et al., 2015); `(B, H, W, 16)`."""
    stride, x = features[-1]
    skips = dict(features[:-1])
    for level, width in _UNET_WIDTHS.items():
        if level >= stride:
            continue
        x = enlarge(reduce(x, width, f"up{level}_reduce", dtype), 2, f"up{level}_upsample", dtype)
        if level in skips:
            x = layers.Concatenate(dtype=dtype, name=f"up{level}_skip")([skips[level], x])
        x = convolve(x, width, f"up{level}a", dtype)
        x = convolve(x, width, f"up{level}b", dtype, relu=level > 1)
    return x


def fpn_decoder(features: Features, dtype: Any, width: int = 64) -> KerasTensor:
    """Add up a feature pyramid at stride 4 (Kirillov et al., "Panoptic Feature Pyramid Networks", 2019)."""
    pyramid = [(stride, reduce(x, width, f"lateral{stride}", dtype)) for stride, x in features if stride >= 4]
    stride, top = pyramid[-1]
    levels = [(stride, top)]
    for stride, lateral in reversed(pyramid[:-1]):
        top = layers.Add(dtype=dtype, name=f"top{stride}")([lateral, enlarge(top, 2, f"top{stride}_upsample", dtype)])
        levels.append((stride, top))
    joined: list[KerasTensor] = []
    for stride, x in levels:
        while stride > 4:
            x = enlarge(
                convolve(x, width, f"level{len(joined)}_{stride}", dtype), 2, f"level{len(joined)}_{stride}_up", dtype
            )
            stride //= 2
        joined.append(x)
    x = layers.Add(dtype=dtype, name="sum")(joined)
    return enlarge(convolve(x, width, "last", dtype, relu=False), 4, "last_upsample", dtype)


def deeplab_decoder(features: Features, dtype: Any, width: int = 96) -> KerasTensor:
    """Look at the deepest features at several rates, then sharpen at stride 4 (Chen et al., DeepLabV3+, 2018)."""
    by_stride = dict(features)
    deep = by_stride[16]
    branches = [convolve(reduce(deep, width, "near", dtype), width, "near", dtype)]
    branches += [convolve(deep, width, f"rate{rate}", dtype, rate=rate) for rate in _ATROUS_RATES]
    deepest = enlarge(reduce(by_stride[32], width, "deepest", dtype), 2, "deepest_upsample", dtype)
    x = layers.Concatenate(dtype=dtype, name="rates")([*branches, deepest])
    x = enlarge(convolve(reduce(x, width, "project", dtype), width, "project", dtype), 4, "project_upsample", dtype)
    x = layers.Concatenate(dtype=dtype, name="skip")([reduce(by_stride[4], 48, "skip_reduce", dtype), x])
    x = convolve(x, width, "sharpen_a", dtype)
    return enlarge(convolve(x, width, "sharpen_b", dtype, relu=False), 4, "last_upsample", dtype)


def mlp_decoder(features: Features, dtype: Any, width: int = 64) -> KerasTensor:
    """Reduce all features alike, and join them at stride 4 (Xie et al., SegFormer, 2021)."""
    used = [(stride, x) for stride, x in features if stride >= 4]
    joined = [
        enlarge(reduce(x, width, f"mlp{stride}", dtype), stride // 4, f"mlp{stride}_up", dtype) for stride, x in used
    ]
    x = layers.Concatenate(dtype=dtype, name="all")(joined)
    x = GroupNormalization(width // 8, dtype=dtype, name="all_norm")(reduce(x, width, "fuse", dtype))
    return enlarge(x, 4, "last_upsample", dtype)


DECODERS = {"unet": unet_decoder, "fpn": fpn_decoder, "deeplabv3plus": deeplab_decoder, "mlp": mlp_decoder}
"""The decoders by their name."""


@quick_initializers()
def encoded(
    channels: int = 3,
    outputs: int = 1,
    *,
    decoder: str = "unet",
    encoder: str = "mobilenetv3_large",
    encoder_weights: str | Path | None = None,
    keep_statistics: bool | None = None,
    dtype: Any = None,
) -> keras.Model:
    """Return a model of an encoder and a decoder, from uint8 images to float32 logits.

    Scaling is inside. Height and width are free, in multiples of 32.

    Args:
        channels: number of channels of the images.
        outputs: number of channels of the logits.
        decoder: of `DECODERS`.
        encoder: of `kseg.models.ENCODERS`, or a preset of KerasHub, such as "hf://keras/resnet_18_imagenet".
        encoder_weights: None, "imagenet", "preset", or a file; see `kseg.models.encoders.encode`.
        keep_statistics: whether the encoder's BatchNorm keeps its statistics in training; None: if there are weights.
        dtype: a dtype or policy, such as "mixed_bfloat16"; the logits are always float32.

    Returns:
        A model from `(B, H, W, channels)` to logits `(B, H, W, outputs)`.

    Raises:
        KsegError: there is no such encoder, or its weights cannot be had or do not fit.
        ValueError: there is no such decoder.

    >>> encoded(outputs=4, decoder="fpn", encoder="mobilenetv3_small").output_shape
    (None, None, None, 4)
    """
    if decoder not in DECODERS:
        raise ValueError(f"decoder is {decoder!r}; expected one of {', '.join(DECODERS)}.")
    policy = keras.config.dtype_policy()
    images = keras.Input((None, None, channels), dtype="uint8", name="image")
    keras.config.set_dtype_policy(dtype or policy)  # keras.applications takes no dtype
    try:
        features = encode(images, encoder, encoder_weights, keep_statistics=keep_statistics)
    finally:
        keras.config.set_dtype_policy(policy)
    x = DECODERS[decoder](features, dtype)
    logits = layers.Conv2D(outputs, 1, dtype="float32", name="logits")(x)
    return keras.Model(images, logits, name=f"{decoder}_{encoder.rpartition('/')[2] or 'preset'}")
