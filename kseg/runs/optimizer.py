"""The optimizer of a run, its learning rate, and the callbacks that belong to it."""

import logging
from typing import Any

import keras

from kseg.config.train import OptimizerOptions
from kseg.errors import KsegError
from kseg.optimizers import LossScaleOptimizer, adjustable, slow_encoder

_OPTIMIZERS: dict[str, Any] = {
    "adamw": keras.optimizers.AdamW,
    "sgd": keras.optimizers.SGD,
    "lion": keras.optimizers.Lion,
    "muon": keras.optimizers.Muon,
}
_PLATEAU_EPOCHS, _PLATEAU_FACTOR = 5, 1 / 3

_log = logging.getLogger("kseg")


def make_optimizer(
    options: OptimizerOptions, steps_per_epoch: int, model: keras.Model | None = None, *, scale_loss: bool = False
) -> keras.optimizers.Optimizer:
    """Return the optimizer, with the learning rate of `learning_rate`.

    Args:
        options: the settings.
        steps_per_epoch: batches an epoch.
        model: whose layer `encoder` has another learning rate; needed if the settings say so. With it a warning is
            logged if muon is AdamW for all its weights.
        scale_loss: whether small gradients have to be kept from vanishing, as in float16.

    Raises:
        KsegError: gradients are accumulated over more batches than the run has.
    """
    batches = options.epochs * steps_per_epoch
    if options.accumulate > batches:
        raise KsegError(
            f"accumulate: {options.accumulate} is not allowed: this run has {batches} batches, {steps_per_epoch} an "
            f"epoch, so that its weights would never change. Expected at most {steps_per_epoch}."
        )
    kind: Any = adjustable(_OPTIMIZERS[options.optimizer])
    arguments: dict[str, Any] = {}
    if options.optimizer == "sgd":
        arguments = {"momentum": 0.9, "nesterov": True}
    elif options.optimizer == "muon":
        arguments = {"adam_weight_decay": options.weight_decay}
        if model is not None and not any(len(variable.shape) == 2 for variable in model.trainable_variables):
            _log.warning(
                "⚠️  optimizer: Keras's muon moves matrices, such as those of dense layers, and leaves all else to "
                "AdamW. This model has no matrix, so that muon is adamw here."
            )
    if options.freeze or options.encoder_lr != 1:
        assert model is not None
        kind = slow_encoder(kind)
        encoder = model.get_layer("encoder").trainable_variables
        arguments |= {
            "slow": [variable.path for variable in encoder],
            "factor": options.encoder_lr,
            "frozen_steps": options.freeze * steps_per_epoch // options.accumulate,
        }
    optimizer = kind(
        learning_rate(options, steps_per_epoch),
        weight_decay=options.weight_decay,
        global_clipnorm=options.clip_norm,
        gradient_accumulation_steps=options.accumulate if options.accumulate > 1 else None,
        use_ema=options.ema > 0,
        ema_momentum=options.ema or 0.99,
        **arguments,
    )
    return LossScaleOptimizer(optimizer) if scale_loss else optimizer


def learning_rate(
    options: OptimizerOptions, steps_per_epoch: int
) -> keras.optimizers.schedules.LearningRateSchedule | float:
    """Return the learning rate of each step: from 0 to the peak, then along a cosine to 0 at the last step, or flat.

    For `plateau` it is the first learning rate, a number.
    """
    if options.schedule == "plateau":
        return options.lr
    steps = options.epochs * steps_per_epoch
    warmup_steps = min(round(options.warmup * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else options.lr,
        decay_steps=steps - warmup_steps,
        warmup_target=options.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
        alpha=1.0 if options.schedule == "constant" else 0.0,  # the last rate, relative to the peak
    )


def schedule_callbacks(options: OptimizerOptions, score: str) -> list[keras.callbacks.Callback]:
    """Return Keras's callbacks that the settings ask for; `score` is what they look at, greater is better."""
    callbacks: list[keras.callbacks.Callback] = []
    if options.ema:
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    if options.schedule == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                score, _PLATEAU_FACTOR, patience=_PLATEAU_EPOCHS, mode="max", min_delta=0, verbose=1
            )
        )
    if options.early_stopping:
        callbacks.append(keras.callbacks.EarlyStopping(score, patience=options.early_stopping, mode="max", verbose=1))
    return callbacks


def rate_at(options: OptimizerOptions, steps_per_epoch: int, step: int) -> float:
    """Return the learning rate of a step, counted from 0."""
    rate = learning_rate(options, steps_per_epoch)
    return float(rate(step)) if callable(rate) else rate
