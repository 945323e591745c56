"""What was found wrong with a run: a cause, the numbers that show it, what to do about it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    >>> print(Finding("empty_masks", "all 12 masks have no foreground", "Look at them."))
    empty_masks: all 12 masks have no foreground. Look at them.
    """

    cause: str
    """Its name, a documented word that code can act on."""
    evidence: str
    """What was seen, in numbers; a clause without a full stop."""
    remedy: str
    """What to do, in sentences."""
    epoch: int | None = None
    """The epoch in which it was seen, from 1; None before training."""
    batch: int | None = None
    """The batch, counted from the beginning of `fit`, from 1; None before training."""

    def __str__(self) -> str:
        return f"{self.cause}: {self.evidence}. {self.remedy}"
