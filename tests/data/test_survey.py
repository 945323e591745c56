import numpy as np
import pytest

from kseg.data import open_sources
from kseg.data.mask_reading import read_masks_of_splits
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

BLANK = np.zeros((4, 4, 3), np.uint8)


@pytest.fixture
def sources(make_folder):
    """The sources of a folder whose masks hold these values, a tuple for each mask."""

    def make(training, validation):
        for split, masks in (("train", training), ("val", validation)):
            pairs = {f"{i:03}": (BLANK, np.resize(np.uint8(values), (4, 4))) for i, values in enumerate(masks)}
            folder = make_folder(pairs, split)
        return open_sources(str(folder))

    return make


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([(0, 1), (0, 255)], [(0, 1)]),
        ([(0, 1), (0, 1, 2), (0, 255), (0,)], [(0, 2)]),
        ([(0, 1), (0, 1)], [(0, 255)]),
        ([(0, 255), (0, 255)], [(0, 1)]),
    ],
)
def test_two_ways_of_writing_are_refused_within_a_split_and_between_them(sources, training, validation):
    both = sources(training, validation)
    message = r"are written in two ways: of \d, \d hold nothing but 0 and 255, and \d hold .* --foreground any. Or 255"
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*both)
    for setting, kind in {"any": 1, "classes": 255}.items():  # what the message advises
        if setting == "any" or 1 in training[0]:
            assert read_masks_of_splits(*both, foreground=setting).rule.table()[255] == kind


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        ([(0, 1, 255), (0, 255)], [(0, 1)]),  # Pascal VOC: a mask with nothing but its border
        ([(0, 1), (0, 2)], [(255, 255)]),  # a mask that is ignored as a whole
        ([(0, 1), (0, 1, 255)], [(0, 255)]),
        ([(0, 255), (0,)], [(0,)]),
    ],
)
def test_255_beside_classes_is_no_second_way(sources, training, validation):
    reading = read_masks_of_splits(*sources(training, validation))
    assert reading.rule.table()[255] == (1 if training[0] == (0, 255) else 255)


def test_a_validation_value_that_the_rule_does_not_cover_is_refused(sources):
    with pytest.raises(KsegError, match=r"validation masks of .* hold 7; expected 0 and 255, as in the training masks"):
        read_masks_of_splits(*sources([(0, 255)], [(0, 7, 255)]), task="binary")


def test_a_setting_without_any_foreground_is_refused(sources):
    both = sources([(0, 255)], [(0, 255)])
    with pytest.raises(KsegError, match=r"No training mask .* any foreground by --foreground classes: .* hold 0, 255"):
        read_masks_of_splits(*both, foreground="classes")


def test_the_line_for_the_log_equals_a_count_by_hand(sources):
    reading = read_masks_of_splits(*sources([(0, 1, 1, 255), (0,)], [(0, 2), (0, 3), (1,), (255,)]))
    assert reading.described == (
        "training: foreground 28.6%, ignored 12.5%, 1 of 2 masks empty, 1 class; "
        "validation: foreground 66.7%, ignored 25.0%, 1 of 4 masks empty, 3 classes"
    )
