"""The optimizer of a run and its learning rate."""

import keras

from kseg.config.train import OptimizerOptions


def make_optimizer(options: OptimizerOptions, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """Return AdamW with the learning rate of `learning_rate`."""
    return keras.optimizers.AdamW(
        learning_rate(options, steps_per_epoch),
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm,
    )


def learning_rate(options: OptimizerOptions, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Return the learning rate of each step: from 0 to the peak, then along a cosine to 0 at the last step."""
    steps = options.epochs * steps_per_epoch
    warmup_steps = min(round(options.warmup * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else options.lr,
        decay_steps=steps - warmup_steps,
        warmup_target=options.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
