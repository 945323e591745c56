"""One run, top to bottom: settings -> data -> model -> compile -> callbacks -> fit -> what it gave."""

import logging
import os
import platform
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kseg import IGNORE, losses
from kseg.callbacks import (
    BestF1Checkpoint,
    CollapseDetector,
    CollapseError,
    EpochSummary,
    HistoryFile,
    LastCheckpoint,
    TrainingState,
    preflight,
    read_state,
)
from kseg.config import TrainConfig, write_yaml
from kseg.data import Batches, Foreground, find_foreground, open_sources, training_batches, validation_batches
from kseg.data.sources import Source, readable_errors
from kseg.errors import KsegError
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.models import set_output_bias, unet
from kseg.pictures import save_predictions
from kseg.run_directory import RunDirectory, open_run

_log = logging.getLogger("kseg")

_PICTURES = 10
_BATCHES_FOR_PRIOR = 25
# Below this share of foreground a run starts sooner, and ends higher, with its output bias there; above it, now the one
# and now the other (benchmarks/start.py).
_RARE = 0.02


@dataclass(frozen=True)
class TrainingResult:
    """What a run gave."""

    run: RunDirectory
    state: TrainingState

    @property
    def best_f1(self) -> float | None:
        """The best validation F1, or None if there never was one; with `threshold: auto` that of the best threshold."""
        best = self.state.best_epoch
        return best and best[self.state.score]


def train(config: TrainConfig, checkpoint: Path | None = None) -> TrainingResult:
    """Train one model and leave everything about it in its run directory.

    Args:
        config: the settings.
        checkpoint: a `last.keras` or `best.keras` to go on from: with its weights, optimizer, epoch, history and
            best F1. The loss, and the learning rate at the step that was reached, follow `config`.

    Raises:
        KsegError: something that a person can put right: the settings, the data, the checkpoint; what
            `kseg.preflight` refuses.
        CollapseError: the run failed, and `on_collapse` says to stop, or has nothing left to try.
        KeyboardInterrupt: as it came, after saying what is kept and how to go on.
    """
    _check_backend(config)
    loss = _loss(config)
    state = _state(config, checkpoint)
    training, validation = _sources(config)
    run = open_run(config, checkpoint)
    with run.logging():
        _log.info(f"Run directory: {run.path}  (Keras {keras.__version__} on {keras.config.backend()})")
        keras.utils.set_random_seed(config.seed)

        _log.info(f"Training on {len(training)} images of {training.name}")
        _log.info(f"Validating on {len(validation)} images of {validation.name}")
        foreground = find_foreground(training, config.foreground)
        _log.info(f"Foreground: {foreground}")
        config = config.model_copy(update={"foreground": foreground.setting})
        write_yaml(config, run.config)
        batches, validation_set = _batches(config, training, validation, foreground, state.epoch)

        model = keras.models.load_model(checkpoint, compile=False) if checkpoint else _new_model(config, batches)
        threshold = 0.5 if config.threshold == "auto" else config.threshold
        model.compile(
            optimizer=_optimizer(config, batches.steps),
            loss=loss,
            metrics=[SegmentationMetrics(threshold), PredictionMonitor(threshold), ThresholdCurve()],
            steps_per_execution=config.steps_per_execution,
        )
        if checkpoint:
            _load_optimizer(model, checkpoint)
            _log.info(f"Going on from {checkpoint}: {state.epoch} epochs done, best F1 {_f1(state)}")
        _log.info(f"{model.count_params():,} parameters, {batches.steps} steps an epoch, {config.epochs} epochs")
        if keras.config.backend() == "jax":
            _log.info("The first step is compiled, which takes some seconds")

        _log.info("Looking at the first batches and one gradient")
        with readable_errors(config.dataset):
            preflight(model, batches.dataset)

        score = "val_best_f1" if config.threshold == "auto" else "val_f1"
        state = TrainingState(state.history, config.settings() | {"run_dir": None}, score)
        state = _fit(model, batches, validation_set, config, run, state)
        _draw(model, validation_set, run, threshold if state.threshold is None else state.threshold)
        result = TrainingResult(run, state)
        _say_what_it_gave(result, config)
    return result


def _check_backend(config: TrainConfig) -> None:
    backend = keras.config.backend()
    if backend not in ("jax", "torch"):
        raise KsegError(f"KERAS_BACKEND is {backend}; kseg trains on jax or torch.")
    if backend == "torch" and config.steps_per_execution > 1:
        raise KsegError(f"steps_per_execution: {config.steps_per_execution} is not allowed on torch; expected 1.")
    if backend == "jax" and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        import jax

        # Compiled steps are kept for the next run: 3 s less in its first epoch. A folder for each host, because
        # code compiled for one processor need not run on another that shares the home directory.
        jax.config.update("jax_compilation_cache_dir", str(Path.home() / ".cache/kseg/jax" / platform.node()))


def _loss(config: TrainConfig) -> keras.losses.Loss:
    try:
        return losses.get(config.loss, **config.loss_arguments)
    except ValueError as error:
        raise KsegError(f"loss_arguments: {error}") from error


def _state(config: TrainConfig, checkpoint: Path | None) -> TrainingState:
    state = read_state(checkpoint) if checkpoint else TrainingState()
    if state.epoch >= config.epochs:
        raise KsegError(
            f"{checkpoint} has {state.epoch} epochs done; --epochs is {config.epochs}, the number in all. Give more."
        )
    return state


def _sources(config: TrainConfig) -> tuple[Source, Source]:
    training, validation = open_sources(
        config.dataset, data_dir=config.data_dir, val_fraction=config.val_fraction, seed=config.seed
    )
    if config.dev_mode:
        return training.take(config.dev_samples), validation.take(config.dev_samples)
    return training, validation


def _batches(
    config: TrainConfig, training: Source, validation: Source, foreground: Foreground, start_epoch: int
) -> tuple[Batches, Batches]:
    size = {"image_size": config.image_shape, "batch_size": config.batch_size}
    batches = training_batches(
        training,
        foreground,
        **size,
        seed=config.seed,
        augmented=config.augment,
        start_epoch=start_epoch,
        foreground_crops=config.foreground_crops,
        steps_per_execution=config.steps_per_execution,
    )
    return batches, validation_batches(validation, foreground, **size)


def _new_model(config: TrainConfig, batches: Batches) -> keras.Model:
    """A U-Net, maybe with its output bias at the share of foreground."""
    model = unet(filters=config.filters, dtype="mixed_bfloat16" if config.mixed_precision else "float32")
    if config.output_bias != "zero":
        masks = np.stack([mask for _, mask in batches.dataset.take(_BATCHES_FOR_PRIOR).as_numpy_iterator()])
        share = (masks == 1).sum() / max((masks != IGNORE).sum(), 1)
        if 0 < share < (_RARE if config.output_bias == "auto" else 1):
            set_output_bias(model, share)
            _log.info(f"Output bias at {share:.4g} foreground")
    return model


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
    return keras.optimizers.AdamW(schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm)


def _load_optimizer(model: keras.Model, checkpoint: Path) -> None:
    """Moments and step count from the checkpoint; the schedule stays the new one."""
    model.optimizer.build(model.trainable_variables)
    model.load_weights(checkpoint)


def _fit(
    model: keras.Model,
    batches: Batches,
    validation: Batches,
    config: TrainConfig,
    run: RunDirectory,
    state: TrainingState,
) -> TrainingState:
    last = LastCheckpoint(run.last, state)
    try:
        with readable_errors(config.dataset):
            model.fit(
                batches.dataset,
                shuffle=False,  # it is shuffled
                steps_per_epoch=batches.steps,
                validation_data=validation.dataset,
                initial_epoch=state.epoch,
                epochs=config.epochs,
                callbacks=[
                    EpochSummary(_log.info),
                    CollapseDetector(config.collapse_every, config.on_collapse, config.max_recoveries),
                    HistoryFile(run.history, state.history),
                    BestF1Checkpoint(run.best, state, _log.info),
                    last,
                ],
            )
    except (KeyboardInterrupt, CollapseError):
        _log.info(f"\nStopped. {last.state.epoch} epochs are kept in {run.path}.")
        if last.state.epoch:
            _log.info(f"Go on:       {_go_on(run, config.epochs)}")
        raise
    return last.state


def _draw(model: keras.Model, validation: Batches, run: RunDirectory, threshold: float) -> None:
    """Draw what the best model, or the last if none is best, makes of the first validation images."""
    if run.best.exists():
        model = keras.models.load_model(run.best, compile=False)
    examples = validation.dataset.unbatch().take(_PICTURES).as_numpy_iterator()
    images, masks = map(np.stack, zip(*examples, strict=True))
    probabilities = keras.ops.sigmoid(model(images, training=False))
    save_predictions(run.pictures, images, masks, keras.ops.convert_to_numpy(probabilities), threshold)


def _say_what_it_gave(result: TrainingResult, config: TrainConfig) -> None:
    run, state = result.run, result.state
    _log.info("")
    _log.info(f"Best F1:     {_f1(state)}")
    if not result.best_f1:
        _log.warning(
            "⚠️  No epoch found any foreground. Look at the pictures and at scripts/debug_masks.py; "
            "try the combined loss, more epochs, or another --lr."
        )
    if run.best.exists():
        _log.info(f"Best model:  {run.best}")
    _log.info(f"Pictures:    {run.pictures}")
    _log.info(f"Go on:       {_go_on(run, 2 * config.epochs)}")
    model = run.best if run.best.exists() else run.last
    if state.threshold is not None:
        with np.errstate(divide="ignore"):  # of a model that has learned nothing it is 0: everything is foreground
            logit = np.log(state.threshold) - np.log1p(-state.threshold)
        _log.info(f"Threshold:   {state.threshold:.4g}, so masks are where logits > {logit:.4g}")
    _log.info(f"In Python:   import kseg.losses, kseg.metrics, keras; model = keras.models.load_model('{model}')")


def _f1(state: TrainingState) -> str:
    best = state.best_epoch
    if not best:
        return "none"
    threshold = "" if state.threshold is None else f" at threshold {state.threshold:.3g}"
    return f"{best[state.score]:.4f}{threshold} (epoch {best['epoch']})"


def _go_on(run: RunDirectory, epochs: int) -> str:
    return f"python -m kseg.train --checkpoint {run.last} --epochs {epochs}"
