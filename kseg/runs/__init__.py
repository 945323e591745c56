"""Training runs: one run from the settings to the trained model, and the files that it leaves."""

from kseg.runs.training import TrainingResult, train

__all__ = ["TrainingResult", "train"]
