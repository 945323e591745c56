import numpy as np
import pytest

from kseg.data import find_foreground, open_sources
from kseg.data.labels import NOT_COVERED
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


@pytest.fixture
def holding(make_folder):
    """A source whose masks hold these values, in turn."""

    def make(*values):
        blank = np.zeros((4, 4, 3), np.uint8)
        masks = [np.full((4, 4), value, np.uint8) for value in values]
        pairs = {f"{i:03}": (blank, mask) for i, mask in enumerate(masks)}
        make_folder(pairs, "val")
        return open_sources(str(make_folder(pairs, "train")))[0]

    return make


def read_as(foreground, *values):
    return foreground.table()[list(values)].tolist()


def test_zero_and_255_hold_foreground_as_255_and_anything_else_is_an_error(holding):
    foreground = find_foreground(holding(0, 255, 0))
    assert read_as(foreground, 0, 255, 1, 128) == [0, 1, NOT_COVERED, NOT_COVERED]
    assert "255 (the masks hold 0 and 255)" in str(foreground)


def test_class_indices_are_foreground_and_255_is_ignored(holding):
    assert read_as(find_foreground(holding(0, 1)), 0, 1, 255) == [0, 1, 255]
    foreground = find_foreground(holding(0, 1, 7, 255))
    assert read_as(foreground, 0, 1, 7, 9, 255) == [0, 1, 1, 1, 255]
    assert "every value but 0; ignored: 255 (the masks hold 0, 1, 7, 255)" in str(foreground)


def test_what_is_set_is_not_questioned(holding):
    source = holding(0, 1)
    assert read_as(find_foreground(source, "any"), 0, 1, 255, 40000) == [0, 1, 1, 1]
    assert read_as(find_foreground(source, "classes"), 0, 1, 255) == [0, 1, 255]
    assert read_as(find_foreground(source, (1, 3)), 0, 1, 2, 3, 255) == [0, 1, 0, 1, 255]
    assert read_as(find_foreground(source, (255,)), 0, 1, 255) == [0, 0, 1]
    assert read_as(find_foreground(source, "white"), 0, 127, 128, 255, 256) == [0, 0, 1, 1, NOT_COVERED]
    assert str(find_foreground(source, "white")) == "value 128 to 255 (the light half of 0 to 255)"


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (0, 1, 255)])
def test_what_was_found_can_be_set(holding, values):
    source = holding(*values)
    found = find_foreground(source)
    again = find_foreground(source, found.setting)
    assert read_as(again, *values) == read_as(found, *values)


@pytest.mark.slow
def test_masks_are_read_until_the_first_thousand_have_foreground(holding):
    source = holding(0, 255)
    assert read_as(find_foreground(source.subset([0] * 1000 + [1])), 0, 255) == [0, 1]
    source = holding(0, 1, 255)
    source.masks[2].unlink()  # so that reading it would raise
    assert read_as(find_foreground(source.subset([0] * 999 + [1, 2])), 0, 1, 255) == [0, 1, 255]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((0, 0), r"No mask of .* has any foreground: all pixels are 0"),
        ((1, 2, 3), r"hold 1, 2, 3; expected 0, the background, among them. Set the foreground values"),
        ((0, 128, 255), r"hold 0, 128, 255: too many values, or too high ones"),
        (tuple(range(0, 256, 3)), r"hold 0, 3, 6, .* and 78 more: too many values"),
    ],
)
def test_what_cannot_be_told_is_refused(holding, values, message):
    with pytest.raises(KsegError, match=message):
        find_foreground(holding(*values))
