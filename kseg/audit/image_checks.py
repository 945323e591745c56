"""What is wrong with images: nothing in them, odd shapes, the same one twice."""

from collections.abc import Callable, Sequence

import numpy as np

from kseg.audit.findings import Finding, found
from kseg.audit.inspection import Look
from kseg.audit.similar import exact_groups, near_groups
from kseg.audit.statistics import FLAT

_BLACK = 8  # of 255, at a thumbnail's brightest
_ODD = 2.0  # times as long, or as wide, as the median image

Group = Sequence[Look]


def check_images(looks: Sequence[Look]) -> list[Finding]:
    """Everything that images show, alone and beside each other."""
    looks = [look for look in looks if look.image]
    return [*constant(looks), *black(looks), *odd_aspect(looks), *duplicates(looks)]


def constant(looks: Sequence[Look]) -> list[Finding]:
    """Images of one colour."""
    return found(
        "constant_image",
        "warning",
        "images of one colour",
        [(look.image_name, "") for look in looks if _is_constant(look)],
        "There is nothing to learn from them but what is not so; normalised by their own deviation they give NaN.",
        "Take their pairs out: they are failed exports or empty tiles.",
    )


def black(looks: Sequence[Look]) -> list[Finding]:
    """Images in which next to nothing is brighter than black."""
    dark = [look for look in looks if look.image.brightest <= _BLACK and not _is_constant(look)]
    return found(
        "black_image",
        "warning",
        "images that are nearly black",
        [(look.image_name, f"brightest {look.image.brightest} of 255") for look in dark],
        "What is in them lies in a few grey levels, below what a model sees beside bright images.",
        "Scale them (16-bit images whose upper bits are empty look like this), or take them out.",
    )


def odd_aspect(looks: Sequence[Look]) -> list[Finding]:
    """Images more than twice as long, or as wide, as the median image."""
    if not looks:
        return []
    aspects = np.array([look.image.size[1] / look.image.size[0] for look in looks])
    odd = np.flatnonzero(np.abs(np.log(aspects / np.median(aspects))) > np.log(_ODD))
    return found(
        "odd_aspect",
        "warning",
        "images more than twice as long or wide as most",
        [(looks[index].image_name, "{1} x {0}".format(*looks[index].image.size)) for index in odd],
        "Resized to one size they are stretched, and objects have other shapes in them.",
        "Keep their shape with --resize pad or crop, or cut them into tiles of the usual shape.",
    )


def duplicates(looks: Sequence[Look]) -> list[Finding]:
    """The same picture more than once, exactly or nearly, in one split or in two."""
    looks = [look for look in looks if not _is_constant(look)]
    exact = exact_groups([look.image for look in looks])
    copies = {index for group in exact for index in group[1:]}
    others = [index for index in range(len(looks)) if index not in copies]
    near = [[others[i] for i in group] for group in near_groups([looks[i].image for i in others])]
    exact, near = ([[looks[index] for index in group] for group in groups] for groups in (exact, near))
    mend = "Keep one of each, with the better mask; put pictures of one source into one split."
    return [
        *found(
            "leak",
            "error",
            "images that are in training and in validation",
            _listed(exact, _across, "the same pixels as"),
            "The model is validated on what it was trained on: its score is too good, its best epoch the wrong one.",
            "Take them out of one of the two.",
        ),
        *found(
            "near_leak",
            "warning",
            "images nearly the same in training and in validation",
            _listed(near, _across, "like"),
            "The score is too good where validation shows what training has shown, resized or saved again.",
            "Take them out of one of the two, or split by source.",
        ),
        *found(
            "duplicate",
            "warning",
            "images the same as another, to the pixel",
            _listed(exact, lambda group: not _across(group), "the same pixels as"),
            "They count twice; with two masks they contradict each other. A split at random puts them on both sides.",
            mend,
        ),
        *found(
            "near_duplicate",
            "note",
            "images nearly the same as another",
            _listed(near, lambda group: not _across(group), "like"),
            "Frames of a film, or copies saved again: they count twice, and a split at random puts them on both sides.",
            mend,
        ),
    ]


def _is_constant(look: Look) -> bool:
    return look.image.spread <= FLAT


def _across(group: Group) -> bool:
    return len({look.split for look in group}) > 1


def _listed(groups: Sequence[Group], which: Callable[[Group], bool], word: str) -> list[tuple[str, str]]:
    """The files of the groups that are asked for, each with another of its group."""
    return [(look.image_name, _beside(look, group, word)) for group in groups if which(group) for look in group]


def _beside(look: Look, group: Group, word: str) -> str:
    other = next((o for o in group if o.split != look.split), next(o for o in group if o is not look))
    masks = look.mask and other.mask and look.mask.digest != other.mask.digest
    return f"{word} {other.image_name}" + (", with another mask" if masks else "")
