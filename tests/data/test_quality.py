import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg.data.quality import (
    border_share,
    channel_range,
    find_inverted,
    find_two_ways_of_writing,
    foreground_share,
    has_soft_edges,
    is_black_and_white,
)

pytestmark = pytest.mark.backend_free


def test_the_channel_range_is_that_of_the_widest_channel_in_any_dtype():
    image = np.zeros((4, 4, 3), np.uint8)
    image[..., 1] = 200
    assert channel_range(image) == 0
    image[0, 0] = 255
    assert channel_range(image) == 255
    assert channel_range(np.array([[[0.25, -1.0], [0.5, -1.0]]], np.float32)) == 0.25


@pytest.mark.parametrize(("values", "expected"), [([0, 255], True), ([255], True), ([0], False), ([0, 1, 255], False)])
def test_black_and_white_has_255_and_nothing_but_0_beside_it(values, expected):
    assert is_black_and_white(np.array(values)) is expected


@given(st.lists(st.sampled_from([0, 1, 255]), min_size=1, max_size=50))
def test_the_share_is_the_same_from_pixels_and_from_counts(pixels):
    values, counts = np.unique(pixels, return_counts=True)
    kept = [pixel for pixel in pixels if pixel != 255]
    expected = kept.count(1) / len(kept) if kept else 0
    assert foreground_share(np.array(pixels)) == pytest.approx(expected)
    assert foreground_share(values, counts) == pytest.approx(expected)


def test_the_border_counts_each_corner_once():
    mask = np.zeros((4, 5), bool)
    mask[0, 0] = mask[1:3, 1:4] = True
    assert border_share(mask) == 1 / 14


def test_inverted_are_those_that_are_foreground_all_around_unlike_the_others():
    shares, borders = np.array([0.1] * 8 + [0.9, 0.9, 1.0, 0.0]), np.array([0.1] * 8 + [0.9, 0.1, 1.0, 0.0])
    assert find_inverted(shares, borders).tolist() == [8]
    assert find_inverted(np.full(8, 0.9), np.full(8, 0.9)).tolist() == []
    assert find_inverted(np.zeros(8), np.zeros(8)).tolist() == []


def test_half_of_a_set_may_be_inverted():
    shares, borders = np.array([0.1, 0.9] * 6 + [0.0, 1.0]), np.array([0.02, 0.97] * 6 + [0.0, 1.0])
    assert find_inverted(shares, borders).tolist() == [1, 3, 5, 7, 9, 11]
    mixed = np.linspace(0, 1, 14)  # as tiles of a map have
    assert find_inverted(shares, mixed).tolist() == []


@pytest.mark.parametrize(
    "pixels",
    [
        {0: 500, 92: 10, 128: 5, 130: 5, 181: 9, 255: 400},  # COCO-Stuff: classes up to 181, and much that is ignored
        {0: 500, 3: 40, 18: 20, 140: 10, 255: 200},  # ADE20K
        {0: 500, 1: 50, 20: 50, 254: 90, 255: 90},  # a second value for what is not labelled
        {0: 500} | dict.fromkeys(range(1, 255), 4),  # instance ids
        {0: 500, 255: 90},
        {0: 500, 1: 400, 2: 100},
    ],
)
def test_classes_and_instance_ids_have_no_soft_edges(pixels):
    assert not has_soft_edges(np.array(list(pixels)), np.array(list(pixels.values())))


def test_a_few_masks_with_255_beside_a_class_do_not_decide_for_all():
    white, both, ones = np.array([0, 255]), np.array([0, 1, 255]), np.array([0, 1])
    assert find_two_ways_of_writing([white, white, both]) == ([0, 1], [2])
    assert find_two_ways_of_writing([white, both, both, ones]) == ([], [])
    assert find_two_ways_of_writing([white, white, both, ones]) == ([0, 1], [2, 3])


def test_white_of_16_bits_is_white_too():
    deep, white, ones, ids = np.array([0, 65535]), np.array([0, 255]), np.array([0, 1]), np.array([0, 700, 65535])
    assert find_two_ways_of_writing([deep, ones, deep]) == ([0, 2], [1])
    assert find_two_ways_of_writing([deep, white]) == ([1], [0])
    assert find_two_ways_of_writing([deep, deep]) == ([], [])
    assert find_two_ways_of_writing([ids, ids, deep]) == ([], [])  # a class, or the number of an instance
