"""Models for segmentation, as plain Keras models of Keras's own layers."""

from kseg.models.unet import unet

__all__ = ["unet"]
