"""Checks of images: nothing in them, odd shapes, the same one twice."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from kseg.audit.file_checks import findings_of
from kseg.audit.inspection import InspectedPair
from kseg.audit.similar import exact_groups, near_groups
from kseg.audit.statistics import ImageStatistics
from kseg.findings import Finding

_BLACK = 8  # of 255: the brightest value of a thumbnail
_ODD = 2.0  # times as long, or as wide, as the median image


class _Picture(NamedTuple):
    """An image that could be read, and the digest of its mask."""

    name: str
    split: str
    image: ImageStatistics
    mask_digest: bytes | None


Group = Sequence[_Picture]


def check_images(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Run all checks of images."""
    pictures = []
    for pair in pairs:
        image, mask = pair.image_statistics, pair.mask_statistics
        if image:
            pictures.append(_Picture(pair.name, pair.split, image, mask.digest if mask else None))
    return [
        *constant_images(pictures),
        *black_images(pictures),
        *odd_aspect(pictures),
        *duplicates(pictures),
    ]


def constant_images(pictures: Group) -> list[Finding]:
    """Find images of one colour."""
    return findings_of(
        "constant_images",
        "warning",
        "images of one colour",
        [(picture.name, "") for picture in pictures if picture.image.is_constant],
        "A model can learn nothing from them; normalised by their own deviation they give NaN.",
        "Remove their pairs: they are failed exports or empty tiles.",
    )


def black_images(pictures: Group) -> list[Finding]:
    """Find images in which almost nothing is brighter than black."""
    dark = [picture for picture in pictures if picture.image.brightest <= _BLACK and not picture.image.is_constant]
    return findings_of(
        "black_images",
        "warning",
        "images that are nearly black",
        [(picture.name, f"brightest {picture.image.brightest} of 255") for picture in dark],
        "Their content lies in a few grey levels, too dark for a model beside bright images.",
        "Scale them (16-bit images whose upper bits are empty look like this), or remove them.",
    )


def odd_aspect(pictures: Group) -> list[Finding]:
    """Find images more than twice as long, or as wide, as the median image."""
    if not pictures:
        return []
    aspects = np.array([picture.image.size[1] / picture.image.size[0] for picture in pictures])
    odd = np.abs(np.log(aspects / np.median(aspects))) > np.log(_ODD)
    return findings_of(
        "odd_aspect",
        "warning",
        "images more than twice as long or wide as most",
        [
            (picture.name, "{1} x {0}".format(*picture.image.size))
            for picture, is_odd in zip(pictures, odd, strict=True)
            if is_odd
        ],
        "Resized to one size they are distorted, and so are the objects in them.",
        "Keep their shape with --resize pad or crop, or cut them into tiles of the usual shape.",
    )


def duplicates(pictures: Group) -> list[Finding]:
    """Find the same picture more than once, exactly or nearly, in one split or in two."""
    pictures = [picture for picture in pictures if not picture.image.is_constant]
    exact = [[pictures[i] for i in group] for group in exact_groups([picture.image for picture in pictures])]
    copies = {picture.name for group in exact for picture in group[1:]}
    others = [picture for picture in pictures if picture.name not in copies]
    near = [[others[i] for i in group] for group in near_groups([picture.image for picture in others])]
    remedy = "Keep one of each, with the better mask; put pictures of one source into one split."
    return [
        *findings_of(
            "leak",
            "error",
            "images that are in training and in validation",
            _files(exact, _spans_splits, "the same pixels as"),
            "The model is validated on what it was trained on: its score is too good, its best epoch the wrong one.",
            "Remove them from one of the two.",
        ),
        *findings_of(
            "near_leak",
            "warning",
            "images nearly the same in training and in validation",
            _files(near, _spans_splits, "like"),
            "The score is too good if validation shows images of training, resized or saved again.",
            "Remove them from one of the two, or split by source.",
        ),
        *findings_of(
            "duplicate",
            "warning",
            "images the same as another, to the pixel",
            _files(exact, lambda group: not _spans_splits(group), "the same pixels as"),
            "They count twice; with two masks they contradict each other. A random split puts them on both sides.",
            remedy,
        ),
        *findings_of(
            "near_duplicate",
            "note",
            "images nearly the same as another",
            _files(near, lambda group: not _spans_splits(group), "like"),
            "Frames of a film, or copies saved again: they count twice, and a random split puts them on both sides.",
            remedy,
        ),
    ]


def _spans_splits(group: Group) -> bool:
    return len({picture.split for picture in group}) > 1


def _files(groups: Sequence[Group], which: Callable[[Group], bool], relation: str) -> list[tuple[str, str]]:
    """Return the files of the groups that are asked for, each with another of its group."""
    return [
        (picture.name, _describe(picture, group, relation)) for group in groups if which(group) for picture in group
    ]


def _describe(picture: _Picture, group: Group, relation: str) -> str:
    in_other_split = (other for other in group if other.split != picture.split)
    other = next(in_other_split, next(other for other in group if other is not picture))
    digests = (picture.mask_digest, other.mask_digest)
    differ = None not in digests and digests[0] != digests[1]
    return f"{relation} {other.name}" + (", with another mask" if differ else "")
