"""Segmentation models made of Keras layers, and their output bias."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.models.bias import set_output_bias
from kseg.models.decoders.unet import unet

__all__ = ["set_output_bias", "unet"]
