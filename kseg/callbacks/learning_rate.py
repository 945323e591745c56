"""The learning rate of a model that is being trained."""

import keras


def current_learning_rate(model: keras.Model | None) -> float | None:
    """Return the learning rate of the next step; None without a model or an optimizer."""
    optimizer = getattr(model, "optimizer", None)
    return None if optimizer is None else float(optimizer.learning_rate)
