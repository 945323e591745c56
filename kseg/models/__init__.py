"""Models for segmentation, as plain Keras models of Keras's own layers, and where their training starts."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.models.bias import set_output_bias
from kseg.models.decoders.unet import unet

__all__ = ["set_output_bias", "unet"]
