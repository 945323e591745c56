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
    CollapseDetector,
    EpochSummary,
    HistoryFile,
    RunCheckpoint,
    TrainingState,
    preflight,
)
from kseg.checkpoints import checkpoints_in, disk_errors
from kseg.config import TrainConfig, changed_settings
from kseg.data import Batches, Foreground, find_foreground, open_sources, training_batches, validation_batches
from kseg.data.augmentation import find_augmentation
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


def train(config: TrainConfig, checkpoint: Path | None = None, *, resume: bool = False) -> TrainingResult:
    """Train one model and leave everything about it in its run directory.

    Args:
        config: the settings.
        checkpoint: a `last.keras` or `best.keras` to go on from. The loss, and the learning rate at the step that was
            reached, follow `config`.
        resume: go on from the newest checkpoint in `config.run_dir`, or start there if there is none. A run that is
            finished is left as it is.

    Raises:
        KsegError: something that a person can put right: the settings, the data, the checkpoint, the disk; what
            `kseg.preflight` refuses.
        CollapseError: the run failed, and `on_collapse` says to stop, or has nothing left to try.
        KeyboardInterrupt: as it came, after saying what is kept and how to go on.
        SystemExit: likewise, after SIGTERM.
    """
    _check_backend(config)
    loss = _loss(config)
    training, validation, faults = _sources(config)
    foreground = find_foreground(training, config.foreground)
    config = config.model_copy(update={"foreground": foreground.setting, "bit_depth": training.bit_depth})
    run = open_run(config, checkpoint, resume=resume)
    with run.logging():
        _log.info(f"Run directory: {run.path}  (Keras {keras.__version__} on {keras.config.backend()})")
        data = f"training on {training.contents()}, validating on {validation.contents()}"
        saved = _checkpoints(config, run, checkpoint, data)
        changes = _changes(saved, config, data)
        if _is_over(saved, config, checkpoint):
            return TrainingResult(run, saved.state)
        run.write_settings(config)
        _log.info(f"Training on {len(training)} images of {training.name}")
        _log.info(f"Validating on {len(validation)} images of {validation.name}")
        _log.info(f"Layout: {training.layout}")
        if faults:
            run.skipped.write_text("\n".join(faults) + "\n")
            _log.warning(f"⚠️  {len(faults)} images are left out of every epoch: they cannot be read. See {run.skipped}")
        if training.channels != 3:
            _log.info(f"Images: {training.channels} channels")
        if training.bit_depth > 8:
            _log.info(f"Images: 16 bits a channel, where 0 to {2**training.bit_depth - 1} become 0 to 255")
        _log.info(f"Foreground: {foreground}")
        _log.info(f"Augmentation: {config.augment}: {find_augmentation(config.augment)}")
        keras.utils.set_random_seed(config.seed)
        batches, validation_set = _batches(config, training, validation, foreground, saved.start)

        _log.info(f"Training images are {batches.kept}")
        _log.info(f"Validation images are {validation_set.kept}")
        model = unet(training.channels, config.filters, dtype="mixed_bfloat16" if config.mixed_precision else "float32")
        if not saved.found:
            _set_output_bias(model, config, batches)
        schedule = _schedule(config, batches.steps)
        threshold = 0.5 if config.threshold == "auto" else config.threshold
        model.compile(
            optimizer=keras.optimizers.AdamW(
                schedule, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm
            ),
            loss=loss,
            metrics=[SegmentationMetrics(threshold), PredictionMonitor(threshold), ThresholdCurve()],
            steps_per_execution=config.steps_per_execution,
        )
        _log.info(f"{model.count_params():,} parameters, {batches.steps} steps an epoch, {config.epochs} epochs")
        if keras.config.backend() == "jax":
            _log.info("The first step is compiled, which takes some seconds")
        if saved.found:
            _say_what_goes_on(saved, changes, config, batches.steps)
        else:
            _log.info("Looking at the first batches and one gradient")
            with readable_errors(config.dataset):
                preflight(model, batches.dataset)

        _fit(model, batches, validation_set, config, run, saved)
        state = saved.state
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


def _checkpoints(config: TrainConfig, run: RunDirectory, checkpoint: Path | None, data: str) -> RunCheckpoint:
    return RunCheckpoint(
        run.path,
        checkpoint=checkpoint,
        every=config.checkpoint_every,
        keep=config.keep,
        score="val_best_f1" if config.threshold == "auto" else "val_f1",
        settings=config.settings() | {"run_dir": None},
        data=data,
        say=_log.info,
    )


def _changes(saved: RunCheckpoint, config: TrainConfig, data: str) -> list[str]:
    """What is set otherwise than in the checkpoint.

    Raises:
        KsegError: it is something that cannot be changed in mid-run, or a model that cannot be in that file.
    """
    found = saved.found
    if not found:
        return []
    # Before so large a model is made: each of its first convolutions has 3 x 3 x filters x filters weights.
    if 9 * config.filters**2 * 4 > saved.origin.stat().st_size:
        raise KsegError(f"{saved.origin} is too small a file for a U-Net of {config.filters} filters.")
    changes = changed_settings(found.settings, config)
    if found.data not in ("", data):
        raise KsegError(f"The data cannot be changed in mid-run: {found.data} -> {data}. Start another run.")
    return changes


def _is_over(saved: RunCheckpoint, config: TrainConfig, checkpoint: Path | None) -> bool:
    """Whether there is nothing left to do.

    Raises:
        KsegError: though a checkpoint was named to go on from.
    """
    if saved.state.epoch < config.epochs:
        return False
    more = f"{saved.state.epoch} epochs done; --epochs is {config.epochs}, the number in all. Give more to go on."
    if checkpoint:
        raise KsegError(f"{checkpoint} has {more}")
    _log.info(f"The run is finished: {more}")
    _log.info(f"Best F1:     {_f1(saved.state)}")
    return True


def _say_what_goes_on(saved: RunCheckpoint, changes: list[str], config: TrainConfig, steps: int) -> None:
    _log.info(f"Going on from {saved.origin}: {saved.state.progress}, best F1 {_f1(saved.state)}")
    for change in changes:
        _log.info(f"Changed since: {change}")
    before = saved.found.settings.get("epochs", config.epochs)
    if before != config.epochs:
        step = saved.state.epoch * steps + saved.state.batch
        rate, former = (
            float(_schedule(config.model_copy(update={"epochs": epochs}), steps)(step))
            for epochs in (config.epochs, before)
        )
        _log.info(
            f"Learning rate: it now falls to 0 at the end of epoch {config.epochs}, so it goes on with {rate:.3g} "
            f"instead of {former:.3g}"
        )


def _sources(config: TrainConfig) -> tuple[Source, Source, list[str]]:
    """What to train and to validate on, and what is wrong with the examples that were left out."""
    training, validation = open_sources(
        config.dataset,
        data_dir=config.data_dir,
        train_split=config.train_split,
        val_split=config.val_split,
        val_fraction=config.val_fraction,
        seed=config.seed,
        take=config.dev_samples if config.dev_mode else None,
        bit_depth=config.bit_depth,
        colours=config.colours,
    )
    if config.on_bad_example == "error":
        return training, validation, []
    (training, faults), (validation, more) = training.readable(), validation.readable()
    faults += more
    if not (len(training) and len(validation)):
        raise KsegError(f"Too much of {config.dataset} cannot be read; nothing is left. The first fault: {faults[0]}")
    return training, validation, faults


def _batches(
    config: TrainConfig, training: Source, validation: Source, foreground: Foreground, start: tuple[int, int]
) -> tuple[Batches, Batches]:
    size = {
        "image_size": config.image_shape,
        "resize": config.resize,
        "batch_size": config.batch_size,
        "cache": config.cache,
    }
    batches = training_batches(
        training,
        foreground,
        **size,
        seed=config.seed,
        augment=config.augment,
        start=start,
        foreground_crops=config.foreground_crops,
        steps_per_execution=config.steps_per_execution,
    )
    return batches, validation_batches(validation, foreground, **size)


def _set_output_bias(model: keras.Model, config: TrainConfig, batches: Batches) -> None:
    """Start at the share of foreground, if that is asked for or low."""
    if config.output_bias == "zero":
        return
    masks = np.stack([mask for _, mask in batches.dataset.take(_BATCHES_FOR_PRIOR).as_numpy_iterator()])
    share = (masks == 1).sum() / max((masks != IGNORE).sum(), 1)
    if 0 < share < (_RARE if config.output_bias == "auto" else 1):
        set_output_bias(model, share)
        _log.info(f"Output bias at {share:.4g} foreground")


def _schedule(config: TrainConfig, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """From 0 to the peak, then along a cosine to 0 at the last step."""
    steps = config.epochs * steps_per_epoch
    warmup_steps = min(round(config.warmup * steps), steps - 1)
    return keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup_steps else config.lr,
        decay_steps=steps - warmup_steps,
        warmup_target=config.lr if warmup_steps else None,
        warmup_steps=warmup_steps,
    )


def _fit(
    model: keras.Model,
    batches: Batches,
    validation: Batches,
    config: TrainConfig,
    run: RunDirectory,
    saved: RunCheckpoint,
) -> None:
    try:
        with readable_errors(config.dataset):
            model.fit(
                batches.dataset,
                shuffle=False,  # it is shuffled
                steps_per_epoch=batches.steps,
                validation_data=validation.dataset,
                epochs=config.epochs,
                callbacks=[
                    EpochSummary(_log.info),
                    CollapseDetector(config.collapse_every, config.on_collapse, config.max_recoveries),
                    HistoryFile(run.history),
                    saved,
                ],
            )
    except BaseException:
        if checkpoints_in(run.path):
            _log.info(f"\nGo on:       {_go_on(run)}")
        raise


def _draw(model: keras.Model, validation: Batches, run: RunDirectory, threshold: float) -> None:
    """Draw what the best model, or the last if none is best, makes of the first validation images."""
    if run.best.exists():
        model.load_weights(run.best)
    examples = validation.dataset.unbatch().take(_PICTURES).as_numpy_iterator()
    images, masks = map(np.stack, zip(*examples, strict=True))
    probabilities = keras.ops.sigmoid(model(images, training=False))
    with disk_errors(run.path):
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
    _log.info(f"Go on:       {_go_on(run)} --epochs {2 * config.epochs}")
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


def _go_on(run: RunDirectory) -> str:
    return f"python -m kseg.train --run-dir {run.path} --resume"
