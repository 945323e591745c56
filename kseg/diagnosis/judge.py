"""What the windows of a run show so far: a cause, nothing wrong, or not yet known."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kseg.diagnosis.observations import Evidence, Observation
from kseg.diagnosis.rules import RULES, Rule
from kseg.diagnosis.windows import Window


@dataclass(frozen=True)
class Verdict:
    """The answer to the question what is wrong with a run."""

    rule: Rule | None = None
    """The rule that found a cause; None if none did."""
    evidence: Evidence | None = None
    """What it found."""
    healthy: bool = False
    """Whether nothing is wrong. Without a cause, False means that it is not yet known."""


class Judge:
    """Collects the windows of a run, adds up those that are too short, and tries the rules.

    Args:
        least_batches: the fewest batches of training in an observation.
    """

    def __init__(self, least_batches: int) -> None:
        self._least_batches = least_batches
        self.forget()

    def forget(self) -> None:
        """Begin anew, as after a recovery."""
        self.observations: list[Observation] = []
        self._pending: Window | None = None  # too short for an observation, or with one kind of pixel in its masks
        self._pending_since = 0  # its first epoch
        self._one_kind = False  # whether all masks of two epochs have one kind of pixel

    def add_training(self, window: Window, ends_epoch: bool) -> None:
        """Add batches of training.

        Args:
            window: what was counted since the last call.
            ends_epoch: whether the epoch ends with it.
        """
        if self._pending is None:
            self._pending, self._pending_since = window, window.epoch
        else:
            self._pending += window
        pending, long = self._pending, self._pending.batches >= self._least_batches
        self._one_kind = long and not pending.has_both_kinds and ends_epoch and pending.epoch > self._pending_since
        if not pending.finite or (long and pending.has_both_kinds):
            self.observations.append(Observation(pending.without_histogram()))
            self._pending = None

    def add_validation(self, window: Window) -> None:
        """Add the validation after the last batches of training, if these are in an observation."""
        if self.has_observed(window.epoch) and window.has_both_kinds:
            self.observations[-1] = replace(self.observations[-1], validation=window.without_histogram())

    def has_observed(self, epoch: int) -> bool:
        """Whether there is an observation of this epoch."""
        return bool(self.observations) and self.observations[-1].training.epoch == epoch

    def judge(self, epoch: int) -> Verdict:
        """Return what the run shows in this epoch."""
        observations: Sequence[Observation] = self.observations
        if self._one_kind and self._pending:
            observations = [Observation(self._pending.without_histogram())]
        elif not self.has_observed(epoch):
            return Verdict()
        for rule in RULES:
            if evidence := rule.find_evidence(observations):
                return Verdict(rule, evidence)
        return Verdict(healthy=observations[-1].healthy)

    def get_state(self) -> dict[str, Any]:
        """Return what it remembers, as plain data and arrays."""
        return {
            "looks": [observation.to_plain() for observation in self.observations],
            "pending": self._pending and self._pending.to_plain(),
            "pending_since": self._pending_since,
            "one_kind": self._one_kind,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Remember what `get_state` returned; in checkpoints of kseg 0.1 the last two are missing."""
        self.observations = [Observation.from_plain(plain) for plain in state["looks"]]
        self._pending = Window.from_plain(state["pending"]) if state["pending"] else None
        self._pending_since = state.get("pending_since", self._pending.epoch if self._pending else 0)
        self._one_kind = state.get("one_kind", False)
