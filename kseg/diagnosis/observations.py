"""What the rules look at, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kseg.diagnosis.windows import Window

# Below the first, a model has no skill; above the second, it clearly separates foreground from background.
NO_SKILL, SKILL = 0.1, 0.2
# A gap, in standard deviations, that separates them even where foreground is too rare for a good F1.
APART = 1.0


@dataclass(frozen=True)
class Observation:
    """Some batches of training, and the validation after them, if there was one."""

    training: Window
    validation: Window | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return plain data and arrays."""
        return {"training": self.training.to_plain(), "validation": self.validation and self.validation.to_plain()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Observation":
        """Make an observation from what `to_plain` returned."""
        training, validation = plain["training"], plain["validation"]
        return cls(Window.from_plain(training), validation and Window.from_plain(validation))

    @property
    def evidence(self) -> Window:
        """The validation, else the training: the model changes during training."""
        return self.validation or self.training

    @property
    def skill(self) -> float:
        """The skill of the best evidence; at most 1."""
        return self.evidence.skill

    @property
    def blind(self) -> bool:
        """Whether foreground is separated from background neither in training nor in validation."""
        return all(window.skill < NO_SKILL and window.gap < APART for window in (self.training, self.evidence))

    @property
    def healthy(self) -> bool:
        """Whether foreground is clearly separated from background."""
        return self.skill > SKILL


Observations = Sequence[Observation]


@dataclass(frozen=True)
class Evidence:
    """What a rule found."""

    text: str
    """In numbers; a clause without a full stop."""
    remedy: str = ""
    """What to do, in sentences, where it is known better than for the rule in general."""
    rate: bool = False
    """Whether the size of the updates shows that the learning rate is too large."""
