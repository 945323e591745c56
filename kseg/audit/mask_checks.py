"""What is wrong with masks: their values, and how much of them is foreground, and where."""

from collections.abc import Iterator, Sequence

import numpy as np

from kseg import IGNORE
from kseg.audit.alignment import Alignment
from kseg.audit.findings import Finding, found
from kseg.audit.inspection import Look
from kseg.audit.rule import held_by, is_white, share_of
from kseg.audit.statistics import MaskLook, is_soft
from kseg.data.labels import Foreground, list_values

_RARE = 0.02  # mean share of foreground
_MOSTLY_FOREGROUND = 0.8  # likewise
_MOSTLY_EMPTY = 0.5  # of the masks
_MOST_CLASSES = 64  # more values are instance numbers
_RARE_VALUE = 0.01  # of the masks
_INVERTED = 0.6  # share of foreground, and of the border too, from which a mask may be inverted
_UPRIGHT = 0.3  # what most masks of its set stay below, in both


def check_masks(looks: Sequence[Look], rule: Foreground, alignment: Alignment | None) -> list[Finding]:
    """Everything that masks show, alone, beside each other, and beside the images."""
    looks = [look for look in looks if look.mask]
    if not looks:
        return []
    return [
        *soft_edges(looks),
        *mixed_values(looks, rule),
        *unexpected_values(looks, rule),
        *empty(looks, rule),
        *full(looks, rule),
        *inverted(looks, rule),
        *overall_share(looks, rule),
        *specks(looks, rule),
        *shuffled(looks, alignment),
    ]


def soft_edges(looks: Sequence[Look]) -> list[Finding]:
    """Masks of 0 to 255 that were interpolated."""
    return found(
        "soft_edges",
        "error",
        "masks with soft edges: white on black, then interpolated or saved as JPEG",
        [(look.mask_name, f"{len(look.mask.values)} values") for look in looks if _soft(look.mask)],
        "Values between 0 and 255 are no classes: read as such they are foreground or errors, along every edge.",
        "Export the masks as PNG and resize them without interpolation (nearest); else cut them at 128.",
    )


def mixed_values(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks that write foreground as 255 where most write 1, or the other way."""
    if _reads_white(rule):
        files = [(name, "holds 0 and 1, most 0 and 255") for name, mask in _plain(looks) if max(mask.values) == 1]
    elif IGNORE not in rule.ignored or any(IGNORE in mask.values and not is_white(mask) for _, mask in _plain(looks)):
        files = []  # Where 255 stands beside classes it does mean ignored, and a mask may hold nothing else.
    else:
        files = [(name, "holds 255, the others classes") for name, mask in _plain(looks) if is_white(mask)]
    return found(
        "mixed_values",
        "error",
        "masks that write foreground in another way than most",
        files,
        "255 beside class indices means ignored: the foreground of these masks, or of all the others, is lost.",
        "Write all masks in one way: divide those of 0 and 255 by 255.",
    )


def unexpected_values(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks with values that the rule, or next to no other mask, knows."""
    plain = [(name, mask) for name, mask in _plain(looks) if mask.values != (0,)]
    if not plain:
        return []
    holders = held_by([mask for _, mask in plain])
    if _reads_white(rule):
        expected = {0, 1, IGNORE}  # 1 alone is a mask of another kind, see mixed_values
    else:
        few = max(1, _RARE_VALUE * len(plain))
        expected = {value for value, number in holders.items() if number > few} | {0, IGNORE, *(rule.values or ())}
    if len(holders) > _MOST_CLASSES or len(expected - {0, IGNORE}) == 0:
        return []
    files = [(name, sorted(set(mask.values) - expected)) for name, mask in plain]
    return found(
        "unexpected_values",
        "error" if _reads_white(rule) else "warning",
        "masks with values that next to no other mask holds",
        [(name, f"holds {list_values(values)}") for name, values in files if values],
        "A class that nobody meant becomes foreground, or ends the run where the masks are 0 and 255.",
        "Mend these masks if the values are slips; else say with --foreground which values are foreground.",
    )


def empty(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks without foreground."""
    files = [(look.mask_name, "") for look in looks if share_of(look.mask, rule) == 0]
    if len(files) == len(looks):
        return found(
            "no_foreground",
            "error",
            "empty masks, which is all of them",
            files,
            "No mask has any foreground: a model can only learn to predict nothing.",
            "Mend the masks, or say with --foreground which values are foreground.",
        )
    many = len(files) > _MOSTLY_EMPTY * len(looks)
    return found(
        "empty_mask",
        "warning" if many else "note",
        "empty masks",
        files,
        f"They are {len(files) / len(looks):.0%}. Right if there is nothing to see; else the model learns to miss."
        + (" As most are, it may predict nothing for its first epochs." if many else ""),
        "Look at the images: is there really nothing?",
    )


def full(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks without background."""
    return found(
        "full_mask",
        "warning",
        "masks that are foreground everywhere",
        [(look.mask_name, "") for look in looks if share_of(look.mask, rule) == 1],
        "An image without background teaches to predict foreground everywhere; often it is an empty mask, inverted.",
        "Look at the images; invert the masks, or keep them where they are right.",
    )


def inverted(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks that are foreground to the border, in a set whose others are not."""
    shares = np.array([share_of(look.mask, rule) for look in looks])
    borders = np.array([look.mask.border for look in looks])
    some = shares > 0
    if not some.any() or np.median(shares[some]) > _UPRIGHT or np.median(borders[some]) > _UPRIGHT:
        return []
    suspects = np.flatnonzero((shares > _INVERTED) & (borders > _INVERTED) & (shares < 1))
    return found(
        "inverted_mask",
        "warning",
        "masks that look inverted: foreground all around, and not in the others",
        [(looks[index].mask_name, f"{shares[index]:.0%} foreground") for index in suspects],
        "The model is taught the opposite in them; a few such masks cost more than as many missing ones.",
        "Look at the outlines; swap foreground and background where they are swapped.",
    )


def overall_share(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Foreground that is rare, or nearly everything."""
    shares = [share_of(look.mask, rule) for look in looks]
    files = [(look.mask_name, f"{share:.2%} foreground") for look, share in zip(looks, shares, strict=True)]
    if np.mean(shares) > _MOSTLY_FOREGROUND:
        return found(
            "mostly_foreground",
            "warning",
            f"masks with foreground on {np.mean(shares):.0%} of the pixels on average",
            files,
            "A model that predicts foreground everywhere has a good score already.",
            "Are the masks inverted? Otherwise make the rarer kind the foreground.",
        )
    return found(
        "rare_foreground",
        "note",
        f"masks with foreground on {np.mean(shares):.2%} of the pixels on average",
        files if 0 < np.mean(shares) < _RARE else [],
        "Foreground is rare: plain BCE can stay below the threshold everywhere.",
        "Keep the combined loss; --foreground-crops 0.5 shows the model more of it.",
    )


def specks(looks: Sequence[Look], rule: Foreground) -> list[Finding]:
    """Masks with objects of one or two pixels."""
    held = [(look, look.mask.specks) for look in looks if look.mask.specks and share_of(look.mask, rule) > 0]
    return found(
        "specks",
        "note",
        "masks with objects of one or two pixels",
        [(look.mask_name, f"{number} of them") for look, number in held],
        "Slips of a brush, mostly; resizing makes them vanish or grow. They cost little in F1 and much in a count.",
        "Remove objects below the size that you mean.",
    )


def shuffled(looks: Sequence[Look], alignment: Alignment | None) -> list[Finding]:
    """A set whose masks fit their own images no better than others."""
    if alignment is None or not alignment.shuffled:
        return []
    return found(
        "shuffled_masks",
        "warning",
        "masks that look shuffled",
        [(look.mask_name, "") for look in looks if look.mask.thumbnail is not None],
        f"In {alignment.pairs} pairs, a mask fits its image better than a stranger's in {alignment.better:.0%} of "
        "cases; 50% is chance. From such pairs a model can learn the average mask and nothing else.",
        "Look at the outlines. If they do not fit, pair the files again; if they do, foreground differs from its "
        "ground in ways that edges and colours at 64 x 64 do not show.",
    )


def _plain(looks: Sequence[Look]) -> Iterator[tuple[str, MaskLook]]:
    return ((look.mask_name, look.mask) for look in looks if not _soft(look.mask))


def _soft(mask: MaskLook) -> bool:
    return is_soft(mask.values, mask.counts)


def _reads_white(rule: Foreground) -> bool:
    return rule.values == (IGNORE,)
