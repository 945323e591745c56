"""How the mask values of a data set are read, although some masks may be faulty."""

from collections.abc import Sequence

import numpy as np

from kseg import IGNORE
from kseg.audit.statistics import MaskStatistics
from kseg.data.labels import NAMED_CLASSES, Foreground, ForegroundSetting, foreground_as_set, read_foreground
from kseg.errors import KsegError


def set_rule(setting: ForegroundSetting, *, named_classes: bool = False) -> Foreground | None:
    """Return the rule that the user set, or that the data set gives by naming its classes; None: the masks decide."""
    if setting == "auto":
        return NAMED_CLASSES if named_classes else None
    return foreground_as_set(setting)


def majority_rule(masks: Sequence[MaskStatistics], name: str) -> Foreground:
    """Return the rule that most masks with foreground follow, so that one faulty mask does not change it."""
    white = [mask.is_white or mask.is_soft for mask in masks]
    empty = sum(mask.is_zero for mask in masks)
    if any(white) and sum(white) >= len(masks) - empty - sum(white):
        return read_foreground([0, IGNORE], name)
    others = [mask.values for mask, is_white in zip(masks, white, strict=True) if not is_white]
    try:
        return read_foreground(np.unique(np.concatenate(others)).tolist() if others else [], name)
    except KsegError as error:
        return Foreground(values=None, because=f"for want of a rule. {error}")


def share_by_rule(mask: MaskStatistics, rule: Foreground) -> float:
    """Return the share of foreground in a mask by the rule of the set; a mask that breaks it decides for itself."""
    if mask.is_white and IGNORE in rule.ignored:
        return 0.0
    return mask.share


def count_masks_by_value(masks: Sequence[MaskStatistics]) -> dict[int, int]:
    """Return how many masks have each value."""
    values, counts = np.unique(np.concatenate([mask.values for mask in masks]), return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))
