"""The result of a run, and what a run logs about it."""

import logging
from dataclasses import dataclass

import numpy as np

from kseg.callbacks import RunCheckpoint, TrainingState
from kseg.config.train import TrainConfig
from kseg.runs.directory import RunDirectory
from kseg.runs.optimizer import schedule

_log = logging.getLogger("kseg")


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


def say_what_goes_on(saved: RunCheckpoint, changes: list[str], config: TrainConfig, steps: int) -> None:
    """Log where a resumed run starts and which settings changed."""
    _log.info(f"Going on from {saved.origin}: {saved.state.progress}, best F1 {best_f1_text(saved.state)}")
    for change in changes:
        _log.info(f"Changed since: {change}")
    before = saved.found.settings.get("epochs", config.epochs)
    if before != config.epochs:
        step = saved.state.epoch * steps + saved.state.batch
        rate, former = (
            float(schedule(config.model_copy(update={"epochs": epochs}), steps)(step))
            for epochs in (config.epochs, before)
        )
        _log.info(
            f"Learning rate: it now falls to 0 at the end of epoch {config.epochs}, so it goes on with {rate:.3g} "
            f"instead of {former:.3g}"
        )


def say_what_it_gave(result: TrainingResult, config: TrainConfig) -> None:
    """Log the best F1, the files of the run, and how to go on."""
    run, state = result.run, result.state
    _log.info("")
    _log.info(f"Best F1:     {best_f1_text(state)}")
    if not result.best_f1:
        _log.warning(
            "⚠️  No epoch found any foreground. Look at the pictures and at scripts/debug_masks.py; "
            "try the combined loss, more epochs, or another --lr."
        )
    if run.best.exists():
        _log.info(f"Best model:  {run.best}")
    _log.info(f"Pictures:    {run.pictures}")
    _log.info(f"Go on:       {go_on(run)} --epochs {2 * config.epochs}")
    model = run.best if run.best.exists() else run.last
    if state.threshold is not None:
        with np.errstate(divide="ignore"):  # of a model that has learned nothing it is 0: everything is foreground
            logit = np.log(state.threshold) - np.log1p(-state.threshold)
        _log.info(f"Threshold:   {state.threshold:.4g}, so masks are where logits > {logit:.4g}")
    _log.info(f"In Python:   import kseg.losses, kseg.metrics, keras; model = keras.models.load_model('{model}')")


def best_f1_text(state: TrainingState) -> str:
    """Return the best F1, its threshold and its epoch as text."""
    best = state.best_epoch
    if not best:
        return "none"
    threshold = "" if state.threshold is None else f" at threshold {state.threshold:.3g}"
    return f"{best[state.score]:.4f}{threshold} (epoch {best['epoch']})"


def go_on(run: RunDirectory) -> str:
    """Return the command that resumes a run."""
    return f"python -m kseg.train --run-dir {run.path} --resume"
