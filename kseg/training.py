"""One run, top to bottom: settings -> data -> model -> compile -> callbacks -> fit -> what it gave."""

import itertools
import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kseg import losses
from kseg.callbacks import (
    BestF1Checkpoint,
    CollapseDetector,
    EpochSummary,
    HistoryFile,
    LastCheckpoint,
    TrainingState,
    read_state,
)
from kseg.config import TrainConfig, write_yaml
from kseg.data import (
    Batches,
    Foreground,
    find_foreground,
    open_sources,
    training_batches,
    validation_batches,
)
from kseg.data.sources import Source, readable_errors
from kseg.errors import KsegError
from kseg.metrics import PredictionMonitor, SegmentationMetrics
from kseg.models import unet
from kseg.pictures import save_predictions
from kseg.run_directory import RunDirectory, open_run

_log = logging.getLogger("kseg")

_PICTURES = 10


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave."""

    run: RunDirectory
    state: TrainingState

    @property
    def best_f1(self) -> float | None:
        """The best validation F1, or None if there never was one."""
        best = self.state.best_epoch
        return best and best["val_f1"]


def train(config: TrainConfig, checkpoint: Path | None = None) -> TrainingResult:
    """Train one model and leave everything about it in its run directory.

    Args:
        config: the settings.
        checkpoint: a `last.keras` or `best.keras` to go on from: with its weights, optimizer, epoch, history
            and best F1. Learning rate and loss follow `config`, at the step that was reached.

    Raises:
        KsegError: something that a person can put right: the settings, the data, the checkpoint.
        KeyboardInterrupt: as it came, after saying what is kept and how to go on.
    """
    loss = _loss(config)
    _check_backend(config)
    state = read_state(checkpoint) if checkpoint else TrainingState()
    if state.epoch >= config.epochs:
        raise KsegError(
            f"{checkpoint} has {state.epoch} epochs done; --epochs is {config.epochs}, the number in all. Give more."
        )
    run = open_run(config, checkpoint)
    with run.logging():
        _log.info(f"Run directory: {run.path}  (Keras {keras.__version__} on {keras.config.backend()})")
        keras.utils.set_random_seed(config.seed)

        training, validation, foreground = _data(config)
        config = config.model_copy(update={"foreground": foreground.setting})
        write_yaml(config, run.config)
        with readable_errors(training):
            batches = training_batches(
                training,
                foreground,
                image_size=config.image_shape,
                batch_size=config.batch_size,
                seed=config.seed,
                augmented=config.augment,
                start_epoch=state.epoch,
            )
            validation_set = validation_batches(
                validation, foreground, image_size=config.image_shape, batch_size=config.batch_size
            )

        model = keras.models.load_model(checkpoint, compile=False) if checkpoint else _model(config)
        model.compile(
            optimizer=_optimizer(config, batches.steps),
            loss=loss,
            metrics=[SegmentationMetrics(config.threshold), PredictionMonitor(config.threshold)],
            steps_per_execution=config.steps_per_execution,
        )
        if checkpoint:
            _load_optimizer(model, checkpoint)
            _log.info(f"Going on from {checkpoint}: {state.epoch} epochs done, best F1 {_f1(state)}")
        _log.info(
            f"U-Net of {model.count_params():,} parameters, {batches.steps} steps an epoch, {config.epochs} epochs"
        )

        settings = config.settings() | {"run_dir": None}
        state = TrainingState(state.history, settings)
        last = LastCheckpoint(run.last, state)
        callbacks = [
            CollapseDetector(config.collapse_every),
            EpochSummary(_log.info),
            HistoryFile(run.history, state.history),
            BestF1Checkpoint(run.best, state, _log.info),
            last,
        ]
        try:
            with readable_errors(training):
                model.fit(
                    batches.dataset,
                    steps_per_epoch=batches.steps,
                    validation_data=validation_set.dataset,
                    initial_epoch=state.epoch,
                    epochs=config.epochs,
                    callbacks=callbacks,
                )
        except KeyboardInterrupt:
            _log.info(f"\nStopped. {last.state.epoch} epochs are kept in {run.path}.")
            if last.state.epoch:
                _log.info(f"Go on:       {_go_on(run, config.epochs)}")
            raise
        result = TrainingResult(run, last.state)
        _draw(model, validation_set, result, config.threshold)
        _say_what_it_gave(result, config)
    return result


def _loss(config: TrainConfig) -> keras.losses.Loss:
    try:
        return losses.get(config.loss, **config.loss_arguments)
    except ValueError as error:
        raise KsegError(f"loss_arguments: {error}") from error


def _check_backend(config: TrainConfig) -> None:
    backend = keras.config.backend()
    if backend not in ("jax", "torch"):
        raise KsegError(f"KERAS_BACKEND is {backend}; kseg trains on jax or torch.")
    if backend == "torch" and config.steps_per_execution > 1:
        raise KsegError(
            f"steps_per_execution: {config.steps_per_execution} is not allowed on torch; expected 1, or KERAS_BACKEND=jax."
        )
    if backend == "jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        import jax

        # Compiled steps are kept for the next run: 3 s less in its first epoch. A folder for each host, because
        # code compiled for one processor need not run on another that shares the home directory.
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache/kseg/jax" / platform.node()))


def _data(config: TrainConfig) -> tuple[Source, Source, Foreground]:
    training, validation = open_sources(
        config.dataset, data_dir=config.data_dir, val_fraction=config.val_fraction, seed=config.seed
    )
    if config.dev_mode:
        training, validation = training.take(config.dev_samples), validation.take(config.dev_samples)
    _log.info(f"Training on {len(training)} images of {training.name}")
    _log.info(f"Validating on {len(validation)} images of {validation.name}")
    foreground = find_foreground(training, config.foreground)
    _log.info(f"Foreground: {foreground}")
    return training, validation, foreground


def _model(config: TrainConfig) -> keras.Model:
    return unet(filters=config.filters, dtype="mixed_bfloat16" if config.mixed_precision else "float32")


def _optimizer(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    """AdamW whose learning rate rises from 0 to its peak, then falls along a cosine to 0 at the last step."""
    steps = config.epochs * steps_per_epoch
    warmup_steps = min(round(config.warmup * steps), steps - 1)
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.lr,
        decay_steps=steps - warmup_steps,
        warmup_target=config.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )
    return keras.optimizers.AdamW(
        schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm
    )


def _load_optimizer(model: keras.Model, checkpoint: Path) -> None:
    model.optimizer.build(model.trainable_variables)
    model.load_weights(checkpoint)


def _draw(model: keras.Model, validation: Batches, result: TrainingResult, threshold: float) -> None:
    """Draw what the best model, or the last if none is best, makes of the first validation images."""
    if result.run.best.exists():
        model = keras.models.load_model(result.run.best, compile=False)
    batches = validation.dataset.unbatch().take(_PICTURES).as_numpy_iterator()
    images, masks = map(np.stack, zip(*batches, strict=True))
    logits = keras.ops.convert_to_numpy(model(images, training=False))
    save_predictions(result.run.pictures, images, masks, 1 / (1 + np.exp(-logits)), threshold)


def _say_what_it_gave(result: TrainingResult, config: TrainConfig) -> None:
    run = result.run
    _log.info("")
    _log.info(f"Best F1:     {_f1(result.state)}")
    if run.best.exists():
        _log.info(f"Best model:  {run.best}")
    _log.info(f"Pictures:    {run.pictures}")
    _log.info(f"Go on:       {_go_on(run, 2 * config.epochs)}")
    model = run.best if run.best.exists() else run.last
    _log.info(f"In Python:   import kseg.losses, kseg.metrics; model = keras.models.load_model('{model}')")


def _f1(state: TrainingState) -> str:
    best = state.best_epoch
    return f"{best['val_f1']:.4f} (epoch {best['epoch']})" if best else "none"


def _go_on(run: RunDirectory, epochs: int) -> str:
    return f"python -m kseg.train --checkpoint {run.last} --epochs {epochs}"
