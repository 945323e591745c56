"""Notice a run that fails silently while it happens, name the cause, and where possible repair it."""

import logging
from dataclasses import asdict
from typing import Any, Literal

import keras

from kseg.backend import check_backend
from kseg.callbacks.preflight_check import Preflight
from kseg.checks.preflight import was_examined
from kseg.diagnosis.judge import Judge, Verdict
from kseg.diagnosis.recovery import (
    LOWER,
    Snapshot,
    clip_gradient,
    factor_for,
    lower_learning_rate,
    reset_optimizer,
)
from kseg.diagnosis.rules import LARGE, TOO_LARGE, code_of
from kseg.diagnosis.windows import WindowReader
from kseg.distribution import check_model
from kseg.errors import KsegError
from kseg.findings import Finding
from kseg.keras_private import sync_jax_state
from kseg.models import set_output_bias

_log = logging.getLogger("kseg")

_PREFLIGHT_BATCHES = 10  # to wait for foreground before the check
_MIN_BATCHES = 10  # of an observation; shorter epochs are added up
_MOST_RECOVERIES = 1000  # in a checkpoint; the learning rate is 0 long before
_AS_GOOD = 0.8  # a state is kept for recovery if it has this share of the best skill so far

# The names of the counters in checkpoints, and their attributes.
_COUNTERS = {
    "epoch": "_epoch",
    "begun": "_steps_begun",
    "looked_at": "_steps_observed",
    "batches_before": "_batches_before",
    "pixels": "_pixels",
    "foreground": "_foreground",
    "best_skill": "_best_skill",
    "in_training": "_in_training",
    "largest_update": "_largest_update",
    "clips": "_clips",
}


class CollapseError(KsegError):
    """`CollapseDetector` stopped a run. Every file of the run is kept."""

    status = 3

    def __init__(self, finding: Finding, attempts: int) -> None:
        tried = f" after {attempts} recoveries" if attempts else ""
        super().__init__(f"The run was stopped{tried}, in epoch {finding.epoch} at batch {finding.batch}. {finding}")
        self.finding = finding


class CollapseDetector(keras.callbacks.Callback):
    """Names what goes wrong in a run, with numbers and a remedy, and acts on it.

    | cause | what it means |
    | --- | --- |
    | `not_finite` | the loss or predictions are NaN or infinite; says whether the input was |
    | `exploding` | logits grow without bound and are still finite |
    | `constant_output` | the prediction is the same everywhere, whatever the image: dead activations |
    | `validation_only` | training is healthy and validation has collapsed, in two epochs in a row |
    | `under_confident` | pixels are ranked well but never cross the threshold; says which threshold would work |
    | `over_confident` | pixels are ranked well but all are above the threshold |
    | `all_background` | nearly nothing is predicted foreground, and the model gets no better |
    | `all_foreground` | nearly everything is predicted foreground, likewise |
    | `not_learning` | no better than without looking at the images, and getting no better; says if updates are small |
    | `empty_masks` | no training mask of two epochs has foreground |
    | `full_masks` | no training mask of two epochs has background |
    | `class_missing` | a class that the masks contain is never predicted, while the others are learned |
    | `classes_swapped` | in validation the indices of classes are exchanged, or all shifted by one |

    A cause is named only where two checks or more agree that the run gets no better, or where the size of the updates
    leaves no doubt. "Nothing is wrong" and "not yet known" are two answers: see `status`. Each cause is logged once, as
    a warning of the logger `kseg`, and again only if the run was healthy in between. All are in `findings`. The first
    of an epoch is in the epoch's logs as `finding`: a number that `kseg.diagnosis.rules.cause_of` reads; 0 is none. A
    healthy run may predict no foreground for a while: what counts is whether the best threshold is better than
    predicting foreground everywhere, and whether foreground and background are separated; see `kseg.diagnosis.rules`.

    It checks every `every` batches and at the end of an epoch, from the exact counts since its last check, not from the
    epoch's running mean. Epochs of fewer than ten batches are added up. Between checks it costs nothing: the state is
    fetched from the device only for a check, and logs stay asynchronous. `steps_per_execution` may be above 1.

    Needs `kseg.metrics.PredictionMonitor` and `kseg.metrics.ThresholdCurve` among the model's metrics. The last two
    causes need `kseg.metrics.SegmentationMetrics` too; the others look at foreground against background.

    Args:
        every: batches between two checks, at least 1.
        action: "warn" logs the cause and continues. "stop" raises `CollapseError`; every file is kept, also those of
            `BackupAndRestore`. "recover" restores the last healthy state (or the first weights, with the output bias
            set to the share of foreground), divides the learning rate by ten, or by more where the updates were larger
            than 3% of the weights, and resets the optimizer; the second time, or where updates were larger than 10%,
            it also clips the gradient; after `max_recoveries` times it stops. Neither acts on `under_confident` and
            `over_confident`, where the model has learned. "recover" only warns of `validation_only`, of masks of one
            kind, of the last two causes, and of `not_learning` where the rate is not too large: it cannot repair them.
        max_recoveries: the most recoveries in one `fit`, at least 0.
        preflight: whether to run `kseg.preflight` on the first batches, if it did not run since `compile`.
        output_name: in a model of several outputs the one to watch: that of its metrics.

    Raises:
        KsegError: preflight found that training cannot work; or Keras runs on another backend than jax or torch.
        ValueError: `every` is below 1, `max_recoveries` below 0, or `action` is none of the three; when training
            begins, a metric is missing.
        CollapseError: in `fit`; see `action`.
    """

    def __init__(
        self,
        every: int = 50,
        action: Literal["warn", "stop", "recover"] = "warn",
        max_recoveries: int = 3,
        preflight: bool = True,
        output_name: str | None = None,
    ) -> None:
        super().__init__()
        check_backend()
        if every < 1:
            raise ValueError(f"CollapseDetector's every is {every}; expected 1 batch or more.")
        if action not in ("warn", "stop", "recover"):
            raise ValueError(f"CollapseDetector's action is {action!r}; expected 'warn', 'stop' or 'recover'.")
        if max_recoveries < 0:
            raise ValueError(f"CollapseDetector's max_recoveries is {max_recoveries}; expected 0 or more.")
        self.every = every
        self.action = action
        self.max_recoveries = max_recoveries
        self.preflight = preflight
        self.output_name = output_name
        self._preflight = Preflight(_PREFLIGHT_BATCHES)
        self.findings: list[Finding] = []
        self._factors: list[float] = []  # by which each recovery multiplied the learning rate
        self._in_training = False
        self._judge = Judge(min(_MIN_BATCHES, every))
        self._verdict = Verdict()
        self._named: set[str] = set()

    def set_model(self, model: keras.Model) -> None:
        """Show the model's inputs to its metrics, so that a NaN in them is told from one that the model made."""
        super().set_model(model)
        self._preflight.set_model(model)
        self._reader = WindowReader(model, self.output_name)
        self._reader.watch_inputs()

    def on_train_begin(self, logs: Any = None) -> None:
        """Reset all counters, and keep the first weights."""
        check_model(self.model)
        self.findings, self._factors = [], []
        # On JAX, `self.model` fetches the model's state from the device: too slow for every batch.
        self._steps_per_execution = self.model.steps_per_execution
        self._to_act_on: Finding | None = None
        self._epoch = self._steps_begun = self._steps_observed = 0
        self._batches_before = 0  # in earlier epochs
        self._pixels = self._foreground = 0
        self._clips = False  # whether a recovery made the optimizer clip the gradient
        self._first = Snapshot.of(self.model, 0) if self.action == "recover" else None
        self._healthy = self._first
        self._forget_observations()
        if self.preflight and not was_examined(self.model):
            self._preflight.on_train_begin()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Act on what the end of the last epoch showed; begin a window, since Keras has just reset the metrics."""
        self._act()
        self._epoch = epoch + 1
        self._steps_begun = self._steps_observed = 0
        self._reader.reset()
        self._reader.note_weights()
        self._in_training = True

    # Checks happen where Keras calls from the training thread. It does not at a batch's end, and a method for it would
    # make Keras wait for the logs of every step.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Check, if it is time."""
        if batch - self._steps_observed >= self.every:
            self._observe(batch)
            self._name_cause()
            self._act()
        self._steps_begun = batch + self._steps_per_execution

    def on_test_begin(self, logs: Any = None) -> None:
        """Observe the end of the training epoch, before validation resets the metrics."""
        if self._in_training:
            self._end_training_epoch()
        self._reader.reset()

    def on_test_end(self, logs: Any = None) -> None:
        """Add the validation to the epoch's last observation."""
        self._judge.add_validation(self._reader.read(self._epoch, self._batches_before, 0))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judge the epoch. The next epoch's begin acts on it, after all files are written."""
        self._preflight.on_epoch_end(epoch)
        if self._in_training:
            self._end_training_epoch()
        self._name_cause()
        if logs is not None:
            logs["finding"] = code_of(next(iter(self.causes(self._epoch)), None))

    def on_train_end(self, logs: Any = None) -> None:
        """Raise what the last epoch showed: it is too late for a recovery."""
        self._preflight.on_train_end()
        if self._to_act_on:
            raise CollapseError(self._to_act_on, self.recoveries)

    @property
    def recoveries(self) -> int:
        """The number of recoveries in this `fit`."""
        return len(self._factors)

    @property
    def status(self) -> str:
        """What the last check showed: a cause; "healthy", if nothing is wrong; "unknown", if it is too early to say."""
        if self._verdict.rule:
            return self._verdict.rule.cause
        return "healthy" if self._verdict.healthy else "unknown"

    def causes(self, epoch: int) -> list[str]:
        """Return the causes that were named in an epoch, counted from 1."""
        return [finding.cause for finding in self.findings if finding.epoch == epoch]

    def get_state(self) -> dict[str, Any]:
        """Return what it remembers, as plain data and arrays, for `RunCheckpoint`."""
        healthy = None if self._healthy is self._first else self._healthy
        return {
            **{name: getattr(self, attribute) for name, attribute in _COUNTERS.items()},
            "factors": list(self._factors),
            "findings": [asdict(finding) for finding in self.findings],
            "to_act_on": self._to_act_on and asdict(self._to_act_on),
            "named": sorted(self._named),
            **self._judge.get_state(),
            "before": self._reader.get_state(),
            "first": self._first and asdict(self._first),
            "healthy": healthy and asdict(healthy),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Remember what `get_state` returned, and lower the learning rate as often as it was lowered."""
        # kseg 0.1 knew one factor, and counted.
        recoveries = len(state["factors"]) if "factors" in state else state["recoveries"]
        if not 0 <= recoveries <= _MOST_RECOVERIES:
            raise ValueError(f"{recoveries} recoveries")
        factors = state.get("factors", [LOWER] * recoveries)
        if not all(0 < factor <= LOWER for factor in factors):
            raise ValueError(f"recoveries that multiplied the learning rate by {factors}")
        for factor in factors[self.recoveries :]:
            lower_learning_rate(self.model, factor)
        for name, attribute in _COUNTERS.items():
            setattr(self, attribute, state.get(name, getattr(self, attribute)))
        self._factors = list(factors)
        if self._clips:
            clip_gradient(self.model)
        self.findings = [_restored(finding) for finding in state["findings"]]
        # The checkpoint may be of a run with another action.
        self._to_act_on = _restored(state["to_act_on"]) if state["to_act_on"] and self.action != "warn" else None
        self._named = set(state["named"])
        self._judge.set_state(state)
        self._reader.set_state(state["before"])
        if self.action == "recover" and state["first"]:
            self._first = self._healthy = Snapshot(**state["first"])
            if state["healthy"]:
                self._healthy = Snapshot(**state["healthy"])

    def _forget_observations(self) -> None:
        self._judge.forget()
        self._named = set()
        self._best_skill = self._largest_update = 0.0

    def _end_training_epoch(self) -> None:
        self._in_training = False
        steps = min(self._steps_begun, self.params["steps"] or self._steps_begun)
        if steps > self._steps_observed:
            self._observe(steps, ends_epoch=True)
        self._batches_before += steps

    def _observe(self, steps: int, ends_epoch: bool = False) -> None:
        """Read the metrics after so many steps of the epoch."""
        sync_jax_state(self.model)
        window = self._reader.read(self._epoch, self._batches_before + steps, steps - self._steps_observed)
        self._steps_observed = steps
        self._pixels += window.counts.pixels
        self._foreground += window.counts.foreground
        if window.update > self._largest_update:  # it may be NaN
            self._largest_update = window.update
        self._judge.add_training(window, ends_epoch)

    def _name_cause(self) -> None:
        """Log the cause that the run shows, unless it was logged since the run was last healthy, or keep its state."""
        self._verdict = verdict = self._judge.judge(self._epoch)
        if verdict.healthy:
            self._named.clear()
            self._keep_state()
        rule, evidence = verdict.rule, verdict.evidence
        if rule is None or evidence is None or rule.cause in self._named:
            return
        self._named.add(rule.cause)
        finding = Finding(
            cause=rule.cause,
            severity="error" if rule.harmful else "warning",
            evidence=evidence.text,
            remedy=evidence.remedy or rule.remedy,
            epoch=self._epoch,
            batch=self._batches_before + (self._steps_observed if self._in_training else 0),
        )
        self.findings.append(finding)
        _log.warning(f"⚠️  Epoch {finding.epoch}, batch {finding.batch}: {finding}")
        if (self.action == "stop" and rule.harmful) or (
            self.action == "recover" and (rule.recoverable or evidence.rate)
        ):
            self._to_act_on = finding

    def _keep_state(self) -> None:
        """Keep the weights for a recovery, if they are sound and about as good as the best so far."""
        last = self._judge.observations[-1]
        self._best_skill = max(last.skill, self._best_skill)
        if self._first and last.skill >= _AS_GOOD * self._best_skill and last.training.extreme < LARGE:
            snapshot = Snapshot.of(self.model, last.training.batch)
            if snapshot.finite:
                self._healthy = snapshot

    def _act(self) -> None:
        if not self._to_act_on:
            return
        if self._healthy is None or self.recoveries >= self.max_recoveries:
            raise CollapseError(self._to_act_on, self.recoveries)
        self._to_act_on = None
        self._recover(self._healthy)

    def _recover(self, state: Snapshot) -> None:
        factor = factor_for(self._largest_update)
        self._factors.append(factor)
        self._healthy = self._first  # for the next recovery, unless the run is healthy in between
        state.restore(self.model)
        rate = lower_learning_rate(self.model, factor)
        reset_optimizer(self.model)
        done = [
            "learning rate unchanged (its schedule is not one of Keras)"
            if rate is None
            else f"learning rate {rate:.3g}"
        ]
        share = self._foreground / max(self._pixels, 1)
        if state is self._first and 0 < share < 1:
            done.append(self._set_output_bias(share))
        # The rate is the likeliest cause where the updates were large, or where lowering it once was not enough.
        if (self._largest_update > TOO_LARGE or self.recoveries > 1) and clip_gradient(self.model):
            self._clips = True
            done.append("gradient clipped to norm 1")
        self._reader.monitor.forget_not_finite()
        self._reader.note_weights()
        self._forget_observations()
        _log.warning(
            f"↩️  Recovery {self.recoveries} of {self.max_recoveries}: back to "
            f"{'the first weights' if state is self._first else f'batch {state.batch}'}, "
            f"{', '.join(done)}, optimizer reset."
        )

    def _set_output_bias(self, share: float) -> str:
        try:
            set_output_bias(self.model, share, self._reader.monitor.activation_in_use)
        except ValueError as error:
            return f"output bias unchanged ({error})"
        return f"output bias at {share:.4g} foreground"


def _restored(state: dict[str, Any]) -> Finding:
    """Return a finding of a checkpoint; those of kseg 0.1 and older have no severity."""
    return Finding(**{"severity": "error"} | state)
