from dataclasses import replace

import numpy as np
import pytest

from kseg.audit.alignment import FEWEST, measure_alignment
from kseg.audit.inspection import InspectedFile, InspectedPair
from kseg.audit.statistics import measure_image, measure_mask

pytestmark = pytest.mark.backend_free


@pytest.fixture
def make_pairs(scenes):
    def make(count):
        return [
            InspectedPair(
                "",
                InspectedFile(stem, statistics=measure_image(image, True)),
                InspectedFile(stem, statistics=measure_mask(mask[..., None], None, True)),
            )
            for stem, (image, mask) in scenes(count).items()
        ]

    return make


def with_mask(pair, statistics):
    return replace(pair, mask=replace(pair.mask, statistics=statistics))


def shuffle(pairs):
    return [replace(pair, mask=other.mask) for pair, other in zip(pairs, [*pairs[1:], pairs[0]], strict=True)]


@pytest.mark.parametrize("count", [FEWEST, 100])
def test_own_masks_fit_and_those_of_others_do_not(make_pairs, count):
    own = make_pairs(count)
    aligned, other = measure_alignment(own), measure_alignment(shuffle(own))
    assert (aligned.pairs, other.pairs) == (count, count)
    assert aligned.better > 0.95
    assert not aligned.shuffled
    assert 0.35 < other.better < 0.65
    assert other.shuffled


def test_it_shows_the_share_of_swapped_masks(make_pairs):
    own = make_pairs(100)
    assert measure_alignment(own[:50] + shuffle(own[50:])).better == pytest.approx(0.75, abs=0.05)


def test_few_pairs_tell_nothing_nor_do_those_without_foreground_or_of_other_sizes(make_pairs):
    own = make_pairs(FEWEST)
    assert measure_alignment(own[1:]) is None
    empty = measure_mask(np.zeros((64, 64, 1), np.int32), None, True)
    assert measure_alignment([with_mask(own[0], empty), *own[1:]]) is None
    assert measure_alignment([replace(own[0], mask=None), *own[1:]]) is None
    sizes = [with_mask(pair, replace(pair.mask.statistics, size=(64, 64 + i))) for i, pair in enumerate(own)]
    assert measure_alignment(sizes) is None
