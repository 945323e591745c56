from dataclasses import replace

import numpy as np
import pytest

from kseg.audit.alignment import FEWEST, measure_alignment
from kseg.audit.inspection import Look
from kseg.audit.statistics import look_at_image, look_at_mask

pytestmark = pytest.mark.backend_free


@pytest.fixture
def looks(scenes):
    def make(count):
        return [
            Look("", stem, stem, image=look_at_image(image, True), mask=look_at_mask(mask[..., None], None, True))
            for stem, (image, mask) in scenes(count).items()
        ]

    return make


def shuffled(looks):
    return [replace(look, mask=other.mask) for look, other in zip(looks, [*looks[1:], looks[0]], strict=True)]


@pytest.mark.parametrize("count", [FEWEST, 100])
def test_own_masks_fit_and_strangers_do_not(looks, count):
    own = looks(count)
    aligned, strange = measure_alignment(own), measure_alignment(shuffled(own))
    assert (aligned.pairs, strange.pairs) == (count, count)
    assert aligned.better > 0.95
    assert not aligned.shuffled
    assert 0.35 < strange.better < 0.65
    assert strange.shuffled


def test_the_share_of_swapped_masks_can_be_read_from_it(looks):
    own = looks(100)
    assert measure_alignment(own[:50] + shuffled(own[50:])).better == pytest.approx(0.75, abs=0.05)


def test_few_pairs_tell_nothing_nor_do_those_without_foreground_or_of_other_sizes(looks):
    own = looks(FEWEST)
    assert measure_alignment(own[1:]) is None
    empty = look_at_mask(np.zeros((64, 64, 1), np.int32), None, True)
    assert measure_alignment([replace(own[0], mask=empty), *own[1:]]) is None
    assert measure_alignment([replace(own[0], mask=None), *own[1:]]) is None
    sizes = [replace(look, mask=replace(look.mask, size=(64, 64 + i))) for i, look in enumerate(own)]
    assert measure_alignment(sizes) is None
