"""One run, top to bottom: settings -> data -> model -> compile -> callbacks -> fit -> what it gave."""

import logging
import os
import platform
from pathlib import Path

import keras
import numpy as np

from kseg import IGNORE, losses
from kseg.callbacks import CollapseDetector, EpochSummary, HistoryFile, RunCheckpoint, preflight
from kseg.checkpoints import checkpoints_in
from kseg.config.train import TrainConfig, changed_settings
from kseg.data import Batches, Foreground, find_foreground, open_sources, training_batches, validation_batches
from kseg.data.bridge import readable_errors
from kseg.data.sources.base import Source
from kseg.data.transforms.strengths import find_augmentation
from kseg.errors import KsegError
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.models import set_output_bias, unet
from kseg.reports.predictions import save_predictions
from kseg.runs.directory import RunDirectory, open_run
from kseg.runs.messages import TrainingResult, best_f1_text, go_on, say_what_goes_on, say_what_it_gave
from kseg.runs.optimizer import schedule
from kseg.storage.atomic import explain_write_errors

_log = logging.getLogger("kseg")

_PICTURES = 10
_BATCHES_FOR_PRIOR = 25
# Below this share of foreground a run starts sooner, and ends higher, with its output bias there; above it, now the one
# and now the other (benchmarks/start.py).
_RARE = 0.02


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
        rates = schedule(config, batches.steps)
        threshold = 0.5 if config.threshold == "auto" else config.threshold
        model.compile(
            optimizer=keras.optimizers.AdamW(rates, weight_decay=config.weight_decay, global_clipnorm=config.clip_norm),
            loss=loss,
            metrics=[SegmentationMetrics(threshold), PredictionMonitor(threshold), ThresholdCurve()],
            steps_per_execution=config.steps_per_execution,
        )
        _log.info(f"{model.count_params():,} parameters, {batches.steps} steps an epoch, {config.epochs} epochs")
        if keras.config.backend() == "jax":
            _log.info("The first step is compiled, which takes some seconds")
        if saved.found:
            say_what_goes_on(saved, changes, config, batches.steps)
        else:
            _log.info("Looking at the first batches and one gradient")
            with readable_errors(config.dataset):
                preflight(model, batches.dataset)

        _fit(model, batches, validation_set, config, run, saved)
        state = saved.state
        _draw(model, validation_set, run, threshold if state.threshold is None else state.threshold)
        result = TrainingResult(run, state)
        say_what_it_gave(result, config)
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
        print_fn=_log.info,
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
    _log.info(f"Best F1:     {best_f1_text(saved.state)}")
    return True


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
            _log.info(f"\nGo on:       {go_on(run)}")
        raise


def _draw(model: keras.Model, validation: Batches, run: RunDirectory, threshold: float) -> None:
    """Draw what the best model, or the last if none is best, makes of the first validation images."""
    if run.best.exists():
        model.load_weights(run.best)
    examples = validation.dataset.unbatch().take(_PICTURES).as_numpy_iterator()
    images, masks = map(np.stack, zip(*examples, strict=True))
    probabilities = keras.ops.sigmoid(model(images, training=False))
    with explain_write_errors(run.path):
        save_predictions(run.pictures, images, masks, keras.ops.convert_to_numpy(probabilities), threshold)
