"""Checks of masks: their values, how much of them is foreground, and where."""

from collections.abc import Sequence

import numpy as np

from kseg import IGNORE
from kseg.audit.alignment import Alignment
from kseg.audit.file_checks import findings_of
from kseg.audit.inspection import InspectedPair, measured
from kseg.audit.rule import count_masks_by_value, share_by_rule
from kseg.audit.statistics import MaskStatistics
from kseg.data.labels import WHITE, Foreground
from kseg.data.quality import find_inverted, find_two_ways_of_writing
from kseg.data.survey import list_values
from kseg.findings import Finding

_RARE = 0.02  # mean share of foreground
_MOSTLY_FOREGROUND = 0.8  # mean share of foreground
_MOSTLY_EMPTY = 0.5  # of the masks
MOST_CLASSES = 64  # more values are instance numbers
_RARE_VALUE = 0.01  # of the masks

Masks = Sequence[tuple[str, MaskStatistics]]
"""Names and statistics of the masks that could be read."""


def check_masks(pairs: Sequence[InspectedPair], rule: Foreground, alignment: Alignment | None) -> list[Finding]:
    """Run all checks of masks: alone, against each other, and against the images."""
    masks = measured([pair.mask for pair in pairs])
    if not masks:
        return []
    return [
        *soft_masks(masks, rule),
        *mixed_values(masks, rule),
        *unexpected_values(masks, rule),
        *empty_masks(masks, rule),
        *full_masks(masks, rule),
        *inverted_masks(masks, rule),
        *overall_share(masks, rule),
        *specks(masks, rule),
        *shuffled_masks(masks, alignment),
    ]


def soft_masks(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks of 0 to 255 that were interpolated, unless the rule is made for them."""
    return findings_of(
        "soft_masks",
        "error",
        "masks with soft edges: white on black, then interpolated or saved as JPEG",
        [(name, f"{len(mask.values)} values") for name, mask in masks if mask.is_soft and rule.values != WHITE],
        "Values between 0 and 255 are no classes: read as such they are foreground or errors, along every edge.",
        "Export the masks as PNG and resize them without interpolation (nearest); or else --foreground white, which "
        "takes 128 and above as foreground.",
    )


def mixed_values(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks that write foreground as white, 255 or 65535, although most write 1, or the reverse."""
    hard = _without_soft(masks)
    if _reads_white(rule):
        files = [(name, "holds 0 and 1, most 0 and 255") for name, mask in hard if mask.values[-1] == 1]
    else:
        white, _ = find_two_ways_of_writing([mask.values for _, mask in hard])
        lost = [hard[index] for index in white if IGNORE in rule.ignored]
        files = [(name, f"holds {mask.values[-1]}, the others classes") for name, mask in lost]
    return findings_of(
        "mixed_values",
        "error",
        "masks that write foreground in another way than most",
        files,
        "Beside class indices 255 means ignored, and 65535 a class of its own: the foreground of these masks, or of "
        "all the others, is lost.",
        "Write all masks in one way: 0 and 1.",
    )


def unexpected_values(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks with values that the rule does not cover, or that nearly no other mask has."""
    hard = [(name, mask) for name, mask in _without_soft(masks) if not mask.is_zero]
    if not hard:
        return []
    holders = count_masks_by_value([mask for _, mask in hard])
    usual: set[int] = set()
    if not _reads_white(rule):
        few = max(1, _RARE_VALUE * len(hard))
        usual = {value for value, number in holders.items() if number > few} | {*(rule.values or ())}
    if len(holders) > MOST_CLASSES or not (usual - {0, IGNORE} or _reads_white(rule)):
        return []
    expected = usual | {0, IGNORE}
    held = [(name, mask.values.tolist()) for name, mask in hard]
    files = [(name, sorted(set(values) - expected)) for name, values in held if values[-1] != 1]  # see mixed_values
    return findings_of(
        "unexpected_values",
        "error" if _reads_white(rule) else "warning",
        "masks with values that nearly no other mask has",
        [(name, f"holds {list_values(values)}") for name, values in files if values],
        "An unintended class becomes foreground, or stops the run if the masks are 0 and 255.",
        "Correct these masks if the values are mistakes; or else name the foreground values with --foreground.",
    )


def empty_masks(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks without foreground."""
    files = [(name, "") for name, mask in masks if share_by_rule(mask, rule) == 0]
    if len(files) == len(masks):
        return findings_of(
            "empty_masks",
            "error",
            "empty masks, which is all of them",
            files,
            "No mask has any foreground: a model can only learn to predict nothing.",
            "Correct the masks, or name the foreground values with --foreground.",
        )
    many = len(files) > _MOSTLY_EMPTY * len(masks)
    return findings_of(
        "empty_masks",
        "warning" if many else "note",
        "empty masks",
        files,
        f"They are {len(files) / len(masks):.0%}. Right if there is nothing to see; or else the model learns to miss."
        + (" As most are, it may predict nothing for its first epochs." if many else ""),
        "Look at the images: is there really nothing?",
    )


def full_masks(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks without background."""
    return findings_of(
        "full_masks",
        "warning",
        "masks that are foreground everywhere",
        [(name, "") for name, mask in masks if share_by_rule(mask, rule) == 1],
        "An image without background teaches to predict foreground everywhere; often it is an inverted empty mask.",
        "Look at the images; invert the masks, or keep them where they are right.",
    )


def inverted_masks(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks that are foreground up to the border, in a set whose other masks are not."""
    shares = np.array([share_by_rule(mask, rule) for _, mask in masks])
    inverted = find_inverted(shares, np.array([mask.border for _, mask in masks]))
    return findings_of(
        "inverted_masks",
        "warning",
        "masks that look inverted: foreground all around, unlike the others",
        [(masks[index][0], f"{shares[index]:.0%} foreground") for index in inverted.tolist()],
        "They teach the opposite; a few such masks cost more than as many missing ones.",
        "Look at the outlines; swap foreground and background where they are swapped.",
    )


def overall_share(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find a set with foreground on very many, or very few, of its pixels."""
    shares = [share_by_rule(mask, rule) for _, mask in masks]
    files = [(name, f"{share:.2%} foreground") for (name, _), share in zip(masks, shares, strict=True)]
    if np.mean(shares) > _MOSTLY_FOREGROUND:
        return findings_of(
            "mostly_foreground",
            "warning",
            f"masks with foreground on {np.mean(shares):.0%} of the pixels on average",
            files,
            "A model that predicts foreground everywhere already has a good score.",
            "Are the masks inverted? Otherwise make the rarer kind the foreground.",
        )
    return findings_of(
        "rare_foreground",
        "note",
        f"masks with foreground on {np.mean(shares):.2%} of the pixels on average",
        files if 0 < np.mean(shares) < _RARE else [],
        "Foreground is rare: plain BCE can stay below the threshold everywhere.",
        "Keep the combined loss; --foreground-crops 0.5 shows the model more of it.",
    )


def specks(masks: Masks, rule: Foreground) -> list[Finding]:
    """Find masks with objects of one or two pixels."""
    return findings_of(
        "specks",
        "note",
        "masks with objects of one or two pixels",
        [(name, f"{mask.specks} of them") for name, mask in masks if mask.specks and share_by_rule(mask, rule) > 0],
        "Mostly slips of a brush; resizing makes them vanish or grow. They cost little in F1 and much in a count.",
        "Remove objects that are smaller than any real one.",
    )


def shuffled_masks(masks: Masks, alignment: Alignment | None) -> list[Finding]:
    """Find a set whose masks fit other images as well as their own."""
    if alignment is None or not alignment.shuffled:
        return []
    return findings_of(
        "shuffled_masks",
        "warning",
        "masks that look shuffled",
        [(name, "") for name, mask in masks if mask.thumbnail is not None],
        f"In {alignment.pairs} pairs, a mask fits its image better than another image in {alignment.better:.0%} of "
        "cases; 50% is chance. From such pairs a model can learn the average mask and nothing else.",
        "Look at the outlines. If they do not fit, pair the files again; if they do, foreground and background differ "
        "in ways that edges and colours at 64 x 64 do not show.",
    )


def _without_soft(masks: Masks) -> Masks:
    return [(name, mask) for name, mask in masks if not mask.is_soft]


def _reads_white(rule: Foreground) -> bool:
    return rule.values == (IGNORE,)
