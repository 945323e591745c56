"""What is wrong with a data set: a check, its severity, the files, what it does to training, what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

SEVERITIES = ("error", "warning", "note")
"""The worst first: training fails or learns something wrong; it may; worth knowing."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a data set.

    >>> print(Finding("empty_mask", "note", "empty masks", ("a.png",), ("",), "They cost little.", "Keep them."))
    NOTE empty_mask: 1 (empty masks). They cost little. Keep them.
    """

    check: str
    """The name of the check, a word that code can act on."""
    severity: Literal["error", "warning", "note"]
    evidence: str
    """What the files are, of which there are `count`: a phrase such as "images without a mask"."""
    files: tuple[str, ...]
    """Which files, all of them; relative to the data set's folder."""
    details: tuple[str, ...]
    """What was seen in each of the files, in a few words; may be empty."""
    effect: str
    """What it does to training."""
    remedy: str
    """What to do."""

    @property
    def count(self) -> int:
        """How many files it is true of."""
        return len(self.files)

    def __str__(self) -> str:
        return f"{self.severity.upper()} {self.check}: {self.count} ({self.evidence}). {self.effect} {self.remedy}"


def found(
    check: str, severity: str, evidence: str, files: Sequence[tuple[str, str]], effect: str, remedy: str
) -> list[Finding]:
    """The finding of these files, each with what was seen in it; nothing where there are none."""
    if not files:
        return []
    names, details = zip(*files, strict=True)
    return [Finding(check, severity, evidence, names, details, effect, remedy)]
