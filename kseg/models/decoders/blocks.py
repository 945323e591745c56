"""What decoders are built of."""

from typing import Any

from keras import KerasTensor, layers

from kseg.models.fast_layers import GroupNormalization


def convolve(
    x: KerasTensor, width: int, name: str, dtype: Any = None, *, rate: int = 1, relu: bool = True
) -> KerasTensor:
    """Apply a 3 x 3 convolution, GroupNorm in groups of 8 channels, and ReLU.

    Args:
        x: `(B, H, W, C)`.
        width: number of filters, a multiple of 8.
        name: the beginning of the layers' names.
        dtype: a dtype or policy.
        rate: how far the nine points of the kernel are apart, in pixels.
        relu: whether the ReLU is there; not before the logits: where it is 0, a logit is its bias.
    """
    x = layers.Conv2D(
        width,
        3,
        padding="same",
        use_bias=False,
        dilation_rate=rate,
        kernel_initializer="he_normal",
        dtype=dtype,
        name=f"{name}_conv",
    )(x)
    x = GroupNormalization(width // 8, dtype=dtype, name=f"{name}_norm")(x)
    return layers.ReLU(dtype=dtype, name=f"{name}_relu")(x) if relu else x


def reduce(x: KerasTensor, width: int, name: str, dtype: Any = None) -> KerasTensor:
    """Apply a 1 x 1 convolution to another number of channels."""
    return layers.Conv2D(width, 1, dtype=dtype, name=name)(x)


def enlarge(x: KerasTensor, factor: int, name: str, dtype: Any = None) -> KerasTensor:
    """Enlarge by linear interpolation."""
    if factor == 1:
        return x
    return layers.UpSampling2D(factor, interpolation="bilinear", dtype=dtype, name=name)(x)
