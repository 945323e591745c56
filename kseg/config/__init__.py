"""The settings of the commands: defaults, units, checks."""

from kseg.config.train import TrainConfig

__all__ = ["TrainConfig"]
