"""Keras's optimizers, with a schedule that can change without compiling again, and with a slower encoder."""

import kseg.backend  # noqa: F401 (first: names a wrong KERAS_BACKEND before Keras fails on it)
from kseg.optimizers.adjustable import (
    CosineDecay,
    LossScaleOptimizer,
    adjustable,
    adjustable_schedule,
    stored_variables,
)
from kseg.optimizers.slow_encoder import slow_encoder

__all__ = ["CosineDecay", "LossScaleOptimizer", "adjustable", "adjustable_schedule", "slow_encoder", "stored_variables"]
