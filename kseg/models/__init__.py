"""Models for segmentation, as plain Keras models of Keras's own layers, and where their training starts."""

from kseg.models.bias import set_output_bias
from kseg.models.decoders.unet import unet

__all__ = ["set_output_bias", "unet"]
