"""Segmentation models made of Keras layers, and their output bias."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.models.bias import set_output_bias
from kseg.models.decoders.encoded import DECODERS, encoded
from kseg.models.decoders.unet import unet
from kseg.models.networks import ENCODERS
from kseg.models.transfer import transfer_weights

__all__ = ["DECODERS", "ENCODERS", "encoded", "set_output_bias", "transfer_weights", "unet"]
