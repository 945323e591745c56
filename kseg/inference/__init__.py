"""What to do with a trained model: predict, evaluate, export."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.inference.predictor import Prediction, Predictor, load

__all__ = ["Prediction", "Predictor", "load"]
