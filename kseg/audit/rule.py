"""What the values in a set's masks mean, where some of the masks may be faulty."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from kseg import IGNORE
from kseg.audit.statistics import MaskLook, is_soft
from kseg.data.labels import Foreground, find_foreground, read_foreground
from kseg.errors import KsegError

Setting = Sequence[int] | Literal["auto", "any", "classes"]


def set_rule(setting: Setting) -> Foreground | None:
    """The rule that a person has set; None for `auto`, where the masks decide."""
    return None if setting == "auto" else find_foreground(None, setting)


def majority_rule(masks: Sequence[MaskLook], name: str) -> Foreground:
    """The rule that most masks follow, of those with anything in them: one faulty mask does not change it."""
    white = [is_white(mask) or is_soft(mask.values, mask.counts) for mask in masks]
    empty = sum(mask.values == (0,) for mask in masks)
    if any(white) and sum(white) >= len(masks) - empty - sum(white):
        return read_foreground([0, IGNORE], name)
    values = sorted({value for mask, is_so in zip(masks, white, strict=True) if not is_so for value in mask.values})
    try:
        return read_foreground(values, name)
    except KsegError as error:
        return Foreground(values=None, because=f"for want of a rule. {error}")


def is_white(mask: MaskLook) -> bool:
    """Whether a mask holds 255 and, but for 0, nothing else."""
    return IGNORE in mask.values and set(mask.values) <= {0, IGNORE}


def share_of(mask: MaskLook, rule: Foreground) -> float:
    """The share of foreground in a mask by the set's rule; a mask that breaks the rule counts as itself suggests."""
    if is_white(mask) and IGNORE in rule.ignored:
        return 0.0
    return mask.share


def held_by(masks: Sequence[MaskLook]) -> dict[int, int]:
    """How many masks hold each value."""
    values, counts = np.unique(np.concatenate([mask.values for mask in masks]), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
