"""Training runs: one run from the settings to the trained model, and the files that it leaves."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.runs.result import TrainingResult
from kseg.runs.training import train

__all__ = ["TrainingResult", "train"]
