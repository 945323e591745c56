"""How sure a check is: a refusal, or a warning."""

from kseg.findings import Finding

ENOUGH = 4
"""So many images, or masks, are proof; fewer are not."""


class Refusal(Finding):
    """A finding with which training cannot work."""


def doubt(finding: Finding | None) -> Finding | None:
    """The finding as a warning."""
    return finding and Finding(finding.cause, finding.evidence, finding.remedy)
