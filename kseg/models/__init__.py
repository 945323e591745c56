"""Segmentation models made of Keras layers, and their output bias."""

from kseg.models.bias import set_output_bias
from kseg.models.decoders.unet import unet

__all__ = ["set_output_bias", "unet"]
