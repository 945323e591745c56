"""One run, top to bottom: settings -> data -> model -> compile -> callbacks -> fit -> result."""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
from scipy.special import expit

from kseg.backend import check_backend, keep_compiled_programs
from kseg.callbacks import CollapseDetector, EpochSeconds, EpochSummary, HistoryFile, RunCheckpoint
from kseg.callbacks.summary import Detail
from kseg.checkpoints import checkpoints_in
from kseg.checks.preflight import preflight
from kseg.config.train import DataOptions, ModelOptions, OptimizerOptions, RunOptions, TrainConfig
from kseg.data import Batches
from kseg.data.files.masks import class_colours
from kseg.distribution import by_this_process_alone, check_batch, find_devices, over_devices
from kseg.errors import KsegError
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from kseg.processes import is_first, lost_process_named, process_count, process_index
from kseg.progress import is_watched
from kseg.reports.class_predictions import save_class_predictions
from kseg.reports.predictions import save_predictions
from kseg.runs.data import RunData, log_data, make_batches, open_data
from kseg.runs.data_files import check_data_files
from kseg.runs.directory import EPOCH_LEVEL, RunDirectory, open_run
from kseg.runs.memory import check_memory
from kseg.runs.messages import format_best, log_result, log_resumed, resume_command
from kseg.runs.model import check_task, make_loss, make_metadata, make_model, start_model
from kseg.runs.optimizer import make_optimizer, schedule_callbacks
from kseg.runs.places import remember_places
from kseg.runs.report import write_report
from kseg.runs.result import TrainingResult
from kseg.runs.trackers import make_trackers
from kseg.storage.atomic import explain_write_errors
from kseg.task import Task

_log = logging.getLogger("kseg")

_PICTURES = 10
_FEW_DEVICES = 8


def train(
    config: TrainConfig, checkpoint: Path | None = None, *, resume: bool = False, detail: Detail = "normal"
) -> TrainingResult:
    """Train one model and write everything about it into its run directory.

    Args:
        config: the settings.
        checkpoint: a `last.keras` or `best.keras` to resume from. The loss, and the learning rate from that step on,
            follow `config`.
        resume: resume from the newest checkpoint in `config.run_dir`, or start there if there is none. A finished
            run is left unchanged.
        detail: how much the console shows. quiet: a line an epoch, warnings and the result; normal: three lines an
            epoch; verbose: also the curves of every epoch. `history.csv` has all scores in any case.

    Returns:
        The run's files, its state, its history, and its best model.

    Raises:
        KsegError: something that a person can put right: the settings, the data, the checkpoint, the disk, or what
            `kseg.preflight` refuses; or another process of this run has ended.
        CollapseError: the run failed, and `on_collapse` says to stop, or all recoveries failed.
        KeyboardInterrupt: after Ctrl-C, once a checkpoint is written and the way to resume is logged.
        SystemExit: likewise, after SIGTERM.
    """
    options = _Options.of(config)
    data, loss = _open(options)
    config = config.model_copy(update=data.resolved_settings())
    devices = find_devices(options.run.devices)
    for batch_size in (options.data.batch_size, min(options.data.batch_size, len(data.training))):
        check_batch(batch_size, len(devices))
    run = open_run(options.run, config.dataset, checkpoint, resume=resume)
    with (
        lost_process_named(),
        run.removed_if_refused(),
        run.logging(detail),
        keep_compiled_programs(),
        over_devices(devices),
    ):
        _log.info(f"Run directory: {run.path}  (Keras {keras.__version__} on {keras.config.backend()})")
        saved = _find_checkpoint(run, config, options, data, checkpoint)
        changes = _check_resumable(saved, config, options.model, data.summary)
        if _is_finished(saved, config.epochs, checkpoint):
            return TrainingResult(run, saved.state)
        _write_settings(run, config, data, saved)
        log_data(data, options.data, run)
        if devices:
            _log_devices(devices, batch_size)

        keras.utils.set_random_seed(options.data.seed)
        batches, validation = make_batches(data, options.data, saved.start)
        model = _make_compiled(options, data, loss, batches, saved)
        _log.info(f"{model.count_params():,} parameters, {batches.steps} steps an epoch, {config.epochs} epochs")
        if keras.config.backend() == "jax":
            _log.info("The first step is compiled, which takes some seconds")
        with _way_to_resume(run, config.settings()):
            if saved.found:
                log_resumed(saved, changes, options.optimizer, batches.steps)
            else:
                _log.info("Checking the first batches and one gradient")
                preflight(model, batches.of_process(0, max(len(devices), 1)))  # what one device takes
            detector = CollapseDetector(
                options.run.collapse_every,
                options.run.on_collapse,
                options.run.max_recoveries,
                preflight=False,  # done above
            )
            trackers = make_trackers(run, options.run, config) if is_first() else []
            run.keep()
            model.fit(
                batches.of_process(process_index(), process_count()).dataset,
                shuffle=False,  # the batches come in the order of the epoch
                steps_per_epoch=batches.steps,
                validation_data=validation.of_process(process_index(), process_count()).dataset,
                epochs=config.epochs,
                verbose=int(is_watched(sys.stdout) and detail != "quiet" and is_first()),
                callbacks=[
                    _make_summary(data, detail),
                    detector,
                    # After the detector, which looks at the weights that are trained, not at their average.
                    *schedule_callbacks(options.optimizer, saved.state.score),
                    HistoryFile(run.history),
                    EpochSeconds(run.seconds),
                    *trackers,
                    saved,
                ],
            )
        result = TrainingResult(run, saved.state)
        if is_first():
            with by_this_process_alone():
                _draw(_for_this_process(model, data, options.model), validation, result, data.task, config)
            write_report(run)
            for tracker in trackers:
                tracker.finish()
            log_result(result, config, data.task, detector)
    return result


class _Options(NamedTuple):
    """The settings, by the part of the run that takes them."""

    data: DataOptions
    model: ModelOptions
    optimizer: OptimizerOptions
    run: RunOptions

    @classmethod
    def of(cls, config: TrainConfig) -> "_Options":
        return cls(DataOptions.of(config), ModelOptions.of(config), OptimizerOptions.of(config), RunOptions.of(config))


def _open(options: _Options) -> tuple[RunData, keras.losses.Loss]:
    """Open the data sets, and make the loss, which may weigh classes by their share of them.

    Raises:
        KsegError: the settings are impossible, with these data or with any.
    """
    if check_backend() == "torch" and options.data.steps_per_execution > 1:
        raise KsegError(f"steps_per_execution: {options.data.steps_per_execution} is not allowed on torch; expected 1.")
    check_memory(options.model, options.data)
    make_loss(options.model)  # before any file is read: it may be impossible
    data = open_data(options.data)
    check_task(data.task, options.model)
    return data, make_loss(options.model, data.masks.rule.shares)


def _find_checkpoint(
    run: RunDirectory, config: TrainConfig, options: _Options, data: RunData, checkpoint: Path | None
) -> RunCheckpoint:
    """Return the callback that writes checkpoints, and has found the one to resume from, if there is one."""
    return RunCheckpoint(
        run.path,
        checkpoint=checkpoint,
        every=options.run.checkpoint_every,
        keep=options.run.keep,
        score="val_best_f1" if options.model.threshold == "auto" else "val_f1",
        settings=config.settings() | {"run_dir": None},
        data=data.summary,
        metadata=make_metadata(data, config),
        print_fn=_log.info,
    )


def _write_settings(run: RunDirectory, config: TrainConfig, data: RunData, saved: RunCheckpoint) -> None:
    """Write the settings and the places of the data into the run directory, if the data are those of the checkpoint.

    Raises:
        KsegError: files of the data have changed since, or the disk is full.
    """
    if not is_first():
        return
    with explain_write_errors(run.path):
        check_data_files(data.data_files(), run.path, saved.origin)
    run.write_settings(config)
    remember_places(run.path, config)


def _make_compiled(
    options: _Options, data: RunData, loss: keras.losses.Loss, batches: Batches, saved: RunCheckpoint
) -> keras.Model:
    """Make the model and compile it. Its weights are those of its start; `fit` reads those of a checkpoint."""
    if saved.found:
        model = make_model(data.training.channels, data.task, options.model, fresh=False)
    else:
        model = start_model(data, options.model, batches)
    threshold = options.model.fixed_threshold
    scale_loss = options.model.mixed_precision == "float16"
    model.compile(
        optimizer=make_optimizer(options.optimizer, batches.steps, model, scale_loss=scale_loss),
        loss=loss,
        metrics=[
            SegmentationMetrics(threshold, class_names=data.task.classes),
            PredictionMonitor(threshold),
            ThresholdCurve(label_names=data.task.classes if data.task.kind == "multilabel" else ()),
        ],
        steps_per_execution=options.data.steps_per_execution,
    )
    return model


def _make_summary(data: RunData, detail: Detail) -> EpochSummary:
    """Make the callback that prints each epoch."""
    shares = data.masks.rule.foreground_shares
    return EpochSummary(partial(_log.log, EPOCH_LEVEL), data.task.foreground_classes, shares, detail=detail)


def _for_this_process(model: keras.Model, data: RunData, options: ModelOptions) -> keras.Model:
    """Return a model that this process can use without the others: a copy, if there are others."""
    if process_count() == 1:
        return model
    copy = make_model(data.training.channels, data.task, options, fresh=False)
    copy.set_weights(model.get_weights())
    return copy


def _log_devices(devices: Sequence[str], batch_size: int) -> None:
    """Log on how many devices of how many processes a batch is trained."""
    among = f" in {process_count()} processes" if process_count() > 1 else ""
    names = f": {', '.join(devices)}" if len(devices) <= _FEW_DEVICES else ""
    own = batch_size // len(devices)
    _log.info(f"Devices: {len(devices)}{among}, {own} images on each of a batch of {batch_size}{names}")


def _check_resumable(saved: RunCheckpoint, config: TrainConfig, model: ModelOptions, data: str) -> list[str]:
    """Return which settings differ from those of the checkpoint.

    Raises:
        KsegError: a setting or the data differs that must not change in mid-run, or the model cannot be in that file.
    """
    if not (saved.found and saved.origin):
        return []
    # Checked before a model that large is made.
    if is_first() and model.least_bytes > saved.origin.stat().st_size:
        raise KsegError(f"{saved.origin} is too small a file for a U-Net of {model.filters} filters.")
    changes = config.changes(saved.found.settings)
    if saved.found.data not in ("", data):
        raise KsegError(f"The data cannot be changed in mid-run: {saved.found.data} -> {data}. Start another run.")
    return changes


def _is_finished(saved: RunCheckpoint, epochs: int, checkpoint: Path | None) -> bool:
    """Whether all epochs are done.

    Raises:
        KsegError: they are, and a checkpoint was named to resume from.
    """
    if saved.state.epoch < epochs:
        return False
    done = f"{saved.state.epoch} epochs done; --epochs is {epochs}, the number in all. Give more to continue."
    if checkpoint:
        raise KsegError(f"{checkpoint} has {done}")
    _log.info(f"The run is finished: {done}")
    _log.info(f"Best F1:     {format_best(saved.state)}")
    return True


@contextlib.contextmanager
def _way_to_resume(run: RunDirectory, settings: Mapping[str, Any]) -> Iterator[None]:
    """If the run is interrupted or fails, log how to resume it, provided it has written a checkpoint."""
    try:
        yield
    except BaseException:
        if checkpoints_in(run.path):
            _log.info(f"\nResume:      {resume_command(run, settings)}")
        raise


def _predicted(model: keras.Model, batches: Batches) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield each image with its mask and logits, without the blanks that fill up the last batch."""
    for images, masks, *weights in batches:
        # One compiled program; a model that is called runs a hundred small ones.
        logits = model.predict_on_batch(images)
        for index, example in enumerate(zip(images, masks, logits, strict=True)):
            if not weights or weights[0][index]:
                yield example


def _draw(
    model: keras.Model,
    validation: Batches,
    result: TrainingResult,
    task: Task,
    config: TrainConfig,
) -> None:
    """Draw what the best model, or the last if none is best, predicts for the first validation images."""
    run = result.run
    if run.best.exists():
        model.load_weights(run.best)
    images, masks, logits = map(np.stack, zip(*islice(_predicted(model, validation), _PICTURES), strict=True))
    threshold, best = config.fixed_threshold, result.state.threshold
    with explain_write_errors(run.path):
        if task.kind == "multiclass":
            colours = class_colours(() if config.colours == "auto" else config.colours)
            save_class_predictions(run.pictures, images, masks, logits.argmax(-1), task, colours)
            return
        probabilities = expit(logits)
        if task.kind == "multilabel":
            save_class_predictions(run.pictures, images, masks, probabilities > threshold, task)
        else:
            save_predictions(run.pictures, images, masks, probabilities, threshold if best is None else best)
