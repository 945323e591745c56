"""The learning rate schedule of a run."""

import keras

from kseg.config.train import TrainConfig


def schedule(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """From 0 to the peak, then along a cosine to 0 at the last step."""
    steps = config.epochs * steps_per_epoch
    warmup_steps = min(round(config.warmup * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.lr,
        decay_steps=steps - warmup_steps,
        warmup_target=config.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
