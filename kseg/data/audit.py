"""What is in the masks of a data set, in numbers and in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kseg.data.foreground import Foreground, find_foreground, list_values, read_foreground, stored_masks
from kseg.data.sources import Source
from kseg.errors import KsegError

_RARE = 0.02  # mean share of foreground
_MOSTLY_FOREGROUND = 0.8
_MOSTLY_EMPTY = 0.5  # of the masks


@dataclass(frozen=True)
class MaskAudit:
    """What was found in the masks of one source."""

    name: str
    shares: np.ndarray
    """The share of foreground in each mask, of the pixels that are not ignored; float `(N,)`."""
    values: list[int]
    """The values stored in the masks."""
    sizes: Counter
    """How many masks have each (height, width)."""
    rule: str
    """How the values were read."""

    @property
    def empty(self) -> int:
        """How many masks have no foreground."""
        return int((self.shares == 0).sum())

    @property
    def has_foreground(self) -> bool:
        """Whether there is anything to learn."""
        return self.empty < len(self.shares)

    @property
    def verdict(self) -> str:
        """What the numbers mean for training."""
        mean, empty = self.shares.mean(), self.empty / len(self.shares)
        if not self.has_foreground:
            return "No mask has any foreground. A model can only learn to predict nothing: mend the masks first."
        found = []
        if mean > _MOSTLY_FOREGROUND:
            found.append("Nearly everything is foreground: are the masks inverted?")
        if mean < _RARE:
            found.append(
                "Foreground is rare: keep the combined loss, since plain BCE can stay below the threshold everywhere."
            )
        if empty > _MOSTLY_EMPTY:
            found.append("Most masks are empty: a model may predict nothing for the first epochs.")
        return " ".join(found) or "Nothing unusual."

    def __str__(self) -> str:
        low, median, high = np.percentile(self.shares, [25, 50, 75])
        largest = [f"{width} x {height} ({count})" for (height, width), count in self.sizes.most_common(3)]
        more = f" and {len(self.sizes) - 3} more sizes" if len(self.sizes) > 3 else ""
        return "\n".join(
            [
                f"{self.name}: {len(self.shares)} masks",
                f"  empty:       {self.empty} ({self.empty / len(self.shares):.0%})",
                f"  foreground:  mean {self.shares.mean():.2%}; quartiles {low:.2%}, {median:.2%}, {high:.2%}",
                f"  values:      {list_values(self.values)}",
                f"  read as:     foreground is {self.rule}",
                f"  sizes:       {', '.join(largest)}{more}  (width x height)",
                f"  verdict:     {self.verdict}",
            ]
        )


def audit_masks(source: Source, foreground: Sequence[int] | Literal["auto", "any", "classes"] = "auto") -> MaskAudit:
    """Look at every mask of a source once.

    Args:
        source: what to look at.
        foreground: as in `find_foreground`; where `auto` cannot tell, everything but 0 is counted as foreground.

    Raises:
        KsegError: the source is empty, or a mask cannot be read.
    """
    from tqdm import tqdm

    if not len(source):
        raise KsegError(f"{source.name} is empty; expected at least one mask.")
    masks = tqdm(stored_masks(source), f"Reading {source.name}", len(source), unit=" masks", delay=2, leave=False)
    found = [(mask.shape[:2], *np.unique(mask, return_counts=True)) for mask in masks]
    values = sorted({int(value) for _, held, _ in found for value in held})
    rule = _rule(source, values, foreground)
    table = rule.table()
    shares = np.array([_share(table[held], counts) for _, held, counts in found])
    return MaskAudit(source.name, shares, values, Counter(size for size, _, _ in found), str(rule))


def _rule(source: Source, values: list[int], setting: Sequence[int] | str) -> Foreground:
    if setting != "auto":
        return find_foreground(source, setting)
    try:
        return read_foreground(values, source.name)
    except KsegError as error:
        return Foreground(values=None, ignored=(), because=f"for want of a rule. {error}")


def _share(kinds: np.ndarray, counts: np.ndarray) -> float:
    foreground, background = counts[kinds == 1].sum(), counts[kinds == 0].sum()
    return float(foreground / max(foreground + background, 1))
