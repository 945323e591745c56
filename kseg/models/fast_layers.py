"""Keras's GroupNormalization and MaxPooling2D by the backend's own operation, where that is faster.

Saved models hold Keras's own layers: these here are written as those, so that a file opens where kseg is not installed,
and files of before fit. On JAX they are Keras's.
"""

import keras
from keras import KerasTensor, layers, ops

from kseg.keras_private import save_as_keras


@save_as_keras("keras.layers")
class GroupNormalization(layers.GroupNormalization):
    """`keras.layers.GroupNormalization` of images, channels last; on torch by `torch.nn.functional.group_norm`.

    Equal to Keras's up to rounding, and computed in float32 as there. A training step of the U-Net is 1.3 times as fast
    on torch with it (benchmarks/layers.py).

    >>> GroupNormalization(2)(ops.ones((1, 4, 4, 8))).shape == (1, 4, 4, 8)
    True
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See Keras's layer."""
        # Without scale or offset torch's gradient of channels-last images raises an error.
        plain = len(inputs.shape) == 4 and self.axis in (-1, 3) and self.scale and self.center
        if keras.config.backend() != "torch" or not plain:
            return super().call(inputs)
        from torch.nn import functional

        x = ops.cast(inputs, "float32")
        batch, *_, channels = x.shape
        # torch takes the variance as a difference of two sums: at a mean of 30 and a deviation of 1 it is off by 0.02.
        # The norm does not depend on the mean of a group, so that is subtracted first, and has no gradient.
        mean = x.detach().mean((1, 2)).reshape(batch, self.groups, -1).mean(-1)
        x = x - mean.repeat_interleave(channels // self.groups, 1)[:, None, None]
        weight, bias = self.gamma.value, self.beta.value
        normalised = functional.group_norm(x.permute(0, 3, 1, 2), self.groups, weight, bias, self.epsilon)
        return ops.cast(normalised.permute(0, 2, 3, 1), self.compute_dtype)


@save_as_keras("keras.layers")
class MaxPooling2D(layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D` over squares without overlap; on torch by `torch.nn.functional.max_pool2d`.

    Equal to Keras's to the bit. A training step of the U-Net is 1.05 times as fast on torch with it.

    >>> MaxPooling2D()(ops.ones((1, 4, 4, 8))).shape == (1, 2, 2, 8)
    True
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See Keras's layer."""
        plain = (
            self.padding == "valid"
            and self.data_format == "channels_last"
            and tuple(self.strides) == tuple(self.pool_size)
        )
        if keras.config.backend() != "torch" or not plain:
            return super().call(inputs)
        from torch.nn import functional

        return functional.max_pool2d(inputs.permute(0, 3, 1, 2), self.pool_size).permute(0, 2, 3, 1)


FAST_LAYERS = {"GroupNormalization": GroupNormalization, "MaxPooling2D": MaxPooling2D}
"""For `keras.models.load_model(…, custom_objects=FAST_LAYERS)`, which otherwise makes Keras's own of them."""
