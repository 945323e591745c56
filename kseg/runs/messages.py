"""What a run logs about itself: where it resumes, what it reached, how to resume it."""

import logging
import shlex
from collections.abc import Mapping
from typing import Any

import numpy as np

from kseg.callbacks import CollapseDetector, RunCheckpoint, TrainingState
from kseg.config.train import OptimizerOptions, TrainConfig
from kseg.runs.directory import EPOCH_LEVEL, RunDirectory
from kseg.runs.optimizer import rate_at
from kseg.runs.places import own_network
from kseg.runs.result import TrainingResult
from kseg.task import Task

_log = logging.getLogger("kseg")


def log_resumed(saved: RunCheckpoint, changes: list[str], options: OptimizerOptions, steps_per_epoch: int) -> None:
    """Log where the run resumes, which settings changed, and what more epochs do to the learning rate."""
    _log.info(f"Resuming from {saved.origin}: {saved.state.progress}, best F1 {format_best(saved.state)}")
    for change in changes:
        _log.info(f"Changed since: {change}")
    before = saved.found.settings.get("epochs", options.epochs) if saved.found else options.epochs
    if before != options.epochs and options.schedule == "cosine":
        step = saved.state.epoch * steps_per_epoch + saved.state.batch
        rate, former = (
            rate_at(options.model_copy(update={"epochs": epochs}), steps_per_epoch, step)
            for epochs in (options.epochs, before)
        )
        _log.info(
            f"Learning rate: it now falls to 0 at the end of epoch {options.epochs}, so it continues at {rate:.3g} "
            f"instead of {former:.3g}"
        )


def log_result(result: TrainingResult, config: TrainConfig, task: Task, detector: CollapseDetector) -> None:
    """Log the best F1, what is wrong with the run, where the files are, and how to train longer."""
    run, state = result.run, result.state
    best = shlex.quote(str(run.best_or_last))
    _log.info("")
    _log.log(EPOCH_LEVEL, f"Best F1:     {format_best(state)}")
    if advice := _advice(result, config, detector):
        _log.warning(f"⚠️  {advice}")
    if run.best.exists():
        _log.log(EPOCH_LEVEL, f"Best model:  {run.best}")
    _log.info(f"Report:      {run.report}")
    _log.info(f"Train more:  {resume_command(run, config.settings())} --epochs {2 * config.epochs}")
    if state.threshold is not None:
        with np.errstate(divide="ignore"):  # a model that learned nothing has threshold 0: everything is foreground
            logit = np.log(state.threshold) - np.log1p(-state.threshold)
        _log.info(f"Threshold:   {state.threshold:.4g}, so masks are where logits > {logit:.4g}")
    if task.kind == "multilabel":
        _log.info("Labels:      sigmoid(logits[..., k]) is how probable label k is, each by itself")
    if task.kind == "multiclass":
        _log.info("Classes:     logits.argmax(-1) is the index of each pixel's class")
    _log.info(f"Evaluate:    kseg evaluate {best}")
    _log.info(f"Predict:     kseg predict {best} IMAGES --out FOLDER")
    _log.info(f"In Python:   import kseg; mask = kseg.load({str(run.best_or_last)!r})('photo.jpg')")


def _advice(result: TrainingResult, config: TrainConfig, detector: CollapseDetector) -> str:
    """Return what is wrong with a run at its end and what to do, or nothing. It advises nothing that is in use."""
    if detector.findings and detector.status == detector.findings[-1].cause:
        finding = detector.findings[-1]
        return f"At its end the run still shows {finding.cause} (epoch {finding.epoch}). {finding.remedy}"
    if result.best_f1:
        return ""
    best = max(result.history, key=lambda row: row.get("val_best_f1", 0.0), default={})
    if best.get("val_best_f1", 0.0) > 2 * best.get("val_target_mean", 0.0):
        return (
            f"No epoch found any foreground at threshold {config.fixed_threshold:g}; at "
            f"{best['val_best_threshold']:.2g} F1 is {best['val_best_f1']:.3f}. Take --threshold auto, or more epochs."
        )
    advice = "" if config.loss == "combined" else ", --loss combined"
    too_early = ", and it is too early to say why" if detector.status == "unknown" else ""
    return (
        f"No epoch found any foreground{too_early}. Look at the pictures and at kseg audit {config.dataset}; try more "
        f"epochs{advice}, or another --lr than {config.lr:g}."
    )


def format_best(state: TrainingState) -> str:
    """Return the best F1 with its threshold and epoch, as text."""
    best = state.best_epoch
    if not best:
        return "none"
    threshold = "" if state.threshold is None else f" at threshold {state.threshold:.3g}"
    return f"{best[state.score]:.4f}{threshold} (epoch {best['epoch']})"


def resume_command(run: RunDirectory, settings: Mapping[str, Any], program: str = "python -m kseg.train") -> str:
    """Return the command that resumes a run, with what no file of the run may decide: see `own_network`."""
    named = [word for name, own in own_network(settings).items() for word in (f"--{name}", own)]
    return f"{program} {shlex.join(['--run-dir', str(run.path), '--resume', *named])}"
