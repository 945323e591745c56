"""A run that fails without saying so: noticed while it happens, named, and where possible mended."""

import logging
from dataclasses import asdict, replace
from typing import Any, Literal

import keras

from kseg.diagnosis.recovery import Snapshot, lower_learning_rate, renew_optimizer
from kseg.diagnosis.rules import CAUSES, LARGE, Cause, Look, code_of
from kseg.diagnosis.windows import Reader, Window
from kseg.errors import KsegError
from kseg.findings import Finding
from kseg.models import set_output_bias

_log = logging.getLogger("kseg")

_LEAST_BATCHES = 10  # of a look; shorter epochs are put together
_LOWER = 0.1  # what a recovery multiplies the learning rate by
_AS_GOOD = 0.8  # of the best skill so far, for a state to be worth going back to

# What the detector counts with.
_NUMBERS = ("epoch", "begun", "looked_at", "batches_before", "pixels", "foreground", "best_skill", "in_training")


class CollapseError(KsegError):
    """A run was stopped by `CollapseDetector`. Every file that it wrote is kept."""

    status = 3

    def __init__(self, finding: Finding, attempts: int) -> None:
        tried = f" after {attempts} recoveries" if attempts else ""
        super().__init__(f"The run was stopped{tried}, in epoch {finding.epoch} at batch {finding.batch}. {finding}")
        self.finding = finding


class CollapseDetector(keras.callbacks.Callback):
    """Names what goes wrong in a run, with the numbers that show it and what to do, and acts on it.

    | cause | what it means |
    | --- | --- |
    | `not_finite` | the loss or predictions are NaN or infinite; says whether the input was |
    | `exploding` | logits run away while they are still finite |
    | `constant_output` | the same prediction everywhere, whatever the image: dead activations |
    | `validation_only` | training is healthy and validation collapsed, two epochs running |
    | `under_confident` | pixels are ranked well and never cross the threshold; says which threshold would do |
    | `over_confident` | likewise, with everything above the threshold |
    | `all_background` | next to nothing is predicted, and foreground and background do not come apart |
    | `all_foreground` | likewise, with next to everything predicted |
    | `not_learning` | after six looks, 100 batches or more, no better than without looking at the images |

    Each is logged once, as a warning of the logger `kseg`, until the run was healthy again, and kept in `findings`; the
    first of an epoch stands in its logs as `finding`, by its place in `kseg.callbacks.diagnosis.CAUSES`, and 0 is none.
    A healthy run may predict nothing for a while: what counts is whether the best threshold beats predicting without
    looking at the image, and whether foreground and background come apart; see `kseg.callbacks.diagnosis`.

    It looks every `every` batches and at the end of an epoch, at what came since its last look: whole counts, not the
    epoch's running mean. Epochs of fewer than ten batches are put together. Between looks it costs nothing: the state
    is fetched from the device only to look, and logs stay asynchronous. `steps_per_execution` may be above 1.

    Needs `kseg.metrics.PredictionMonitor` and `kseg.metrics.ThresholdCurve` among the model's metrics.

    Args:
        every: batches between two looks, at least 1.
        action: "warn" says what is wrong and lets the run go on. "stop" raises `CollapseError`, which keeps every
            file, those of `BackupAndRestore` too. "recover" goes back to the last state that was healthy (the first
            weights if none was, then with the output bias at the share of foreground), with a tenth of the learning
            rate and a fresh optimizer; once it has done so `max_recoveries` times it stops. Neither acts on
            `under_confident` and `over_confident`, which have learned; "recover" only warns of `not_learning` and
            `validation_only`, which no going back can mend.
        max_recoveries: how often to go back in one `fit`.

    Raises:
        ValueError: `every` is below 1, `max_recoveries` below 0, or `action` is none of the three; when training
            begins, a metric is missing.
        CollapseError: in `fit`; see `action`.
    """

    def __init__(
        self, every: int = 50, action: Literal["warn", "stop", "recover"] = "warn", max_recoveries: int = 3
    ) -> None:
        super().__init__()
        if every < 1:
            raise ValueError(f"CollapseDetector looks every {every} batches; expected 1 or more.")
        if action not in ("warn", "stop", "recover"):
            raise ValueError(f"CollapseDetector's action is {action!r}; expected 'warn', 'stop' or 'recover'.")
        if max_recoveries < 0:
            raise ValueError(f"CollapseDetector's max_recoveries is {max_recoveries}; expected 0 or more.")
        self.every = every
        self.action = action
        self.max_recoveries = max_recoveries
        self.findings: list[Finding] = []
        self.recoveries = 0
        self._in_training = False

    def set_model(self, model: keras.Model) -> None:
        """Have the model's metrics see its inputs, so that a NaN can be told from one that the model made."""
        super().set_model(model)
        self._reader = Reader(model)
        self._reader.watch_inputs()

    def on_train_begin(self, logs: Any = None) -> None:
        """Keep the first state, and begin to count."""
        self.findings, self.recoveries = [], 0
        # On JAX, asking for `self.model` brings its state back from the device: not to be done at every batch.
        self._steps_per_execution = self.model.steps_per_execution
        self._to_act_on: Finding | None = None
        self._epoch = self._begun = self._looked_at = 0
        self._batches_before = 0  # this epoch
        self._pixels = self._foreground = 0
        # Of no use to an action that does not go back.
        self._first = self._healthy = Snapshot.of(self.model, 0) if self.action == "recover" else None
        self._begin_anew()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Act on what the end of the last epoch showed, and begin a window: Keras has just reset the metrics."""
        self._act()
        self._epoch = epoch + 1
        self._begun = self._looked_at = 0
        self._reader.begin()
        self._in_training = True

    # Looks happen where Keras calls back from the thread that trains, which it does not at a batch's end;
    # overriding that one would also have it wait for every step's logs.

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Look, if it is time."""
        if batch - self._looked_at >= self.every:
            self._look(batch)
            self._judge()
            self._act()
        self._begun = batch + self._steps_per_execution

    def on_test_begin(self, logs: Any = None) -> None:
        """Before validation resets the metrics: the epoch's training is over."""
        if self._in_training:
            self._end_of_training_epoch()
        self._reader.begin()

    def on_test_end(self, logs: Any = None) -> None:
        """Add the validation to the epoch's last look."""
        validation = self._reader.read(self._epoch, self._batches_before, 0).without_histogram()
        if self._looked_in_this_epoch() and validation.has_both_kinds:
            self._looks[-1] = replace(self._looks[-1], validation=validation)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Judge the epoch. What has to be done is done when the next one begins, after all files are written."""
        if self._in_training:
            self._end_of_training_epoch()
        self._judge()
        if logs is not None:
            logs["finding"] = code_of(next(iter(self.causes(self._epoch)), None))

    def on_train_end(self, logs: Any = None) -> None:
        """There is no going back any more: a run that ends collapsed ends with an error."""
        if self._to_act_on:
            raise CollapseError(self._to_act_on, self.recoveries)

    def causes(self, epoch: int) -> list[str]:
        """The causes named in an epoch, counted from 1."""
        return [finding.cause for finding in self.findings if finding.epoch == epoch]

    def get_state(self) -> dict[str, Any]:
        """What it remembers, as plain data and arrays, for `RunCheckpoint`."""
        return {
            **{name: getattr(self, f"_{name}") for name in _NUMBERS},
            "recoveries": self.recoveries,
            "findings": [asdict(finding) for finding in self.findings],
            "to_act_on": self._to_act_on and asdict(self._to_act_on),
            "named": sorted(self._named),
            "looks": [look.to_plain() for look in self._looks],
            "pending": self._pending and self._pending.to_plain(),
            "before": self._reader.get_state(),
            "first": self._first and asdict(self._first),
            "healthy": None if self._healthy is self._first else asdict(self._healthy),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Remember what `get_state` told, with the learning rate as low as it was."""
        for _ in range(self.recoveries, state["recoveries"]):
            lower_learning_rate(self.model, _LOWER)
        for name in _NUMBERS:
            setattr(self, f"_{name}", state[name])
        self.recoveries = state["recoveries"]
        self.findings = [Finding(**finding) for finding in state["findings"]]
        self._to_act_on = state["to_act_on"] and Finding(**state["to_act_on"])
        self._named = set(state["named"])
        self._looks = [Look.from_plain(look) for look in state["looks"]]
        self._pending = state["pending"] and Window.from_plain(state["pending"])
        self._reader.set_state(state["before"])
        if self.action == "recover" and state["first"]:
            self._first = self._healthy = Snapshot(**state["first"])
            if state["healthy"]:
                self._healthy = Snapshot(**state["healthy"])

    def _begin_anew(self) -> None:
        self._looks: list[Look] = []
        self._pending: Window | None = None  # too short to be judged alone
        self._best_skill = 0.0
        self._named: set[str] = set()

    def _end_of_training_epoch(self) -> None:
        self._in_training = False
        steps = min(self._begun, self.params["steps"] or self._begun)
        if steps > self._looked_at:
            self._look(steps)
        self._batches_before += steps

    def _look(self, batches: int) -> None:
        if keras.config.backend() == "jax":
            self.model.jax_state_sync()
        window = self._reader.read(self._epoch, self._batches_before + batches, batches - self._looked_at)
        self._looked_at = batches
        self._pixels += window.counts.pixels
        self._foreground += window.counts.foreground
        self._pending = window if self._pending is None else self._pending + window
        enough = self._pending.batches >= min(_LEAST_BATCHES, self.every) and self._pending.has_both_kinds
        if enough or not self._pending.finite:
            self._looks.append(Look(self._pending.without_histogram()))
            self._pending = None

    def _looked_in_this_epoch(self) -> bool:
        return bool(self._looks) and self._looks[-1].training.epoch == self._epoch

    def _judge(self) -> None:
        if not self._looked_in_this_epoch():
            return
        for cause in CAUSES:
            evidence = cause.rule(self._looks)
            if evidence:
                self._name(cause, evidence)
                return
        if self._looks[-1].healthy:
            self._named.clear()
            self._keep()

    def _name(self, cause: Cause, evidence: str) -> None:
        """Say it, unless it was said since the run was last healthy."""
        if cause.name in self._named:
            return
        self._named.add(cause.name)
        finding = Finding(cause.name, evidence, cause.remedy, self._epoch, self._looks[-1].training.batch)
        self.findings.append(finding)
        _log.warning(f"⚠️  Epoch {finding.epoch}, batch {finding.batch}: {finding}")
        if (self.action == "stop" and cause.harmful) or (self.action == "recover" and cause.recoverable):
            self._to_act_on = finding

    def _keep(self) -> None:
        """Keep this state to go back to, if it is sound, and about as good as the best so far."""
        skill = self._looks[-1].skill
        self._best_skill = max(skill, self._best_skill)
        if self._first and skill >= _AS_GOOD * self._best_skill and self._looks[-1].training.extreme < LARGE:
            snapshot = Snapshot.of(self.model, self._looks[-1].training.batch)
            if snapshot.finite:
                self._healthy = snapshot

    def _act(self) -> None:
        if not self._to_act_on:
            return
        if self.action == "stop" or self.recoveries >= self.max_recoveries:
            raise CollapseError(self._to_act_on, self.recoveries)
        self._to_act_on = None
        self._recover()

    def _recover(self) -> None:
        self.recoveries += 1
        # Unless the run is healthy again in between, the next time begins at the first weights.
        back_to, self._healthy = self._healthy, self._first
        back_to.restore(self.model)
        rate = lower_learning_rate(self.model, _LOWER)
        renew_optimizer(self.model)
        done = [
            f"learning rate {'as it is, since its schedule is not one of Keras' if rate is None else f'{rate:.3g}'}"
        ]
        share = self._foreground / max(self._pixels, 1)
        if back_to is self._first and 0 < share < 1:
            done.append(self._start_at(share))
        self._reader.monitor.forget_not_finite()
        self._begin_anew()
        _log.warning(
            f"↩️  Recovery {self.recoveries} of {self.max_recoveries}: back to "
            f"{'the first weights' if back_to is self._first else f'batch {back_to.batch}'}, "
            f"{', '.join(done)}, optimizer fresh."
        )

    def _start_at(self, share: float) -> str:
        try:
            set_output_bias(self.model, share)
        except ValueError as error:
            return f"output bias as it was ({error})"
        return f"output bias at {share:.4g} foreground"
