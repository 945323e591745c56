"""Which classes masks hold: found, selected, named, refused."""

import numpy as np
import pytest

from kseg.data import open_sources, training_batches
from kseg.data.classes import Classes, class_warnings
from kseg.data.mask_reading import read_masks_of_splits
from kseg.errors import KsegError
from kseg.task import Task

pytestmark = pytest.mark.backend_free

BLANK = np.zeros((8, 8, 3), np.uint8)


@pytest.fixture
def sources(make_folder):
    """The sources of a folder whose masks hold these values, a tuple for each mask; the first is the most frequent."""

    def make(training, validation, dtype=np.uint8):
        for split, masks in (("train", training), ("val", validation)):
            pairs = {f"{i:03}": (BLANK, filled(values).astype(dtype)) for i, values in enumerate(masks)}
            folder = make_folder(pairs, split)
        return open_sources(str(folder))

    return make


def filled(values):
    mask = np.full(64, values[0])
    mask[1 : len(values)] = values[1:]
    return mask.reshape(8, 8)


FOUR = [(0, 1, 2), (0, 3), (0, 1, 3, 255)]


def test_several_values_are_several_classes_and_255_is_ignored(sources):
    reading = read_masks_of_splits(*sources(FOUR, [(0, 1, 2, 3)]))
    assert reading.rule.task == Task("multiclass", ("background", "1", "2", "3"))
    assert reading.rule.table()[[0, 1, 2, 3, 255]].tolist() == [0, 1, 2, 3, 255]
    assert reading.warnings == ()
    assert reading.described.startswith("training: foreground 2.6%, ignored 0.5%, 0 of 3 masks empty, 3 classes; ")
    assert str(reading.rule) == "1 is 1, 2 is 2, 3 is 3; 255 is ignored"


def test_values_that_are_not_consecutive_become_indices(sources):
    reading = read_masks_of_splits(*sources([(0, 7), (0, 300)], [(0, 7, 300)], np.uint16))
    assert reading.rule.table()[[0, 7, 300, 255]].tolist() == [0, 1, 2, 255]
    assert reading.rule.task.classes == ("background", "7", "300")


@pytest.mark.parametrize(
    ("training", "validation"),
    [([(0, 255)], [(0, 255)]), ([(0, 1)], [(0, 1)]), ([(0, 1, 255)], [(0, 1)]), ([(0, 5)], [(0, 5)])],
)
def test_one_value_is_binary(sources, training, validation):
    assert read_masks_of_splits(*sources(training, validation)).rule.task == Task()


def test_names_are_those_of_the_values_in_ascending_order(sources):
    reading = read_masks_of_splits(*sources(FOUR, FOUR), class_names=["cat", "dog", "bird"])
    assert str(reading.rule.task) == "4 classes: 0 background, 1 cat, 2 dog, 3 bird"
    assert reading.rule.names == ("cat", "dog", "bird")


@pytest.mark.parametrize("classes", [["bird", "cat"], ["3", "1"]])
@pytest.mark.parametrize(("rest", "dog"), [("background", 0), ("ignore", 255)])
def test_classes_are_selected_and_ordered_by_name_or_value(sources, classes, rest, dog):
    both = sources(FOUR, FOUR)
    reading = read_masks_of_splits(*both, classes=classes, class_names=["cat", "dog", "bird"], rest=rest)
    assert reading.rule.task.classes == ("background", "bird", "cat")
    assert reading.rule.table()[[0, 1, 2, 3, 255]].tolist() == [0, 2, dog, 1, 255]


@pytest.mark.parametrize(("rest", "others"), [("background", 0), ("ignore", 255)])
def test_one_selected_class_is_binary(sources, rest, others):
    reading = read_masks_of_splits(*sources(FOUR, FOUR), classes=["2"], rest=rest)
    assert reading.rule.task == Task("binary", ("2",))
    assert reading.rule.table()[[0, 1, 2, 3, 255]].tolist() == [0, others, 1, others, 255]


def test_one_selected_class_may_be_read_by_softmax(sources):
    reading = read_masks_of_splits(*sources(FOUR, FOUR), classes=["2"], task="multiclass")
    assert reading.rule.task == Task("multiclass", ("background", "2"))


@pytest.mark.parametrize("setting", [{"task": "binary"}, {"foreground": "classes"}, {"foreground": (1, 2, 3)}])
def test_all_classes_may_be_one_foreground(sources, setting):
    reading = read_masks_of_splits(*sources(FOUR, FOUR), **setting)
    assert reading.rule.task == Task()
    assert reading.rule.table()[[0, 1, 2, 3, 255]].tolist() == [0, 1, 1, 1, 255]


def test_what_was_found_can_be_set(sources):
    both = sources(FOUR, FOUR)
    for setting in ({}, {"classes": ["3", "1"], "rest": "ignore"}, {"classes": ["2"]}, {"task": "binary"}):
        found = read_masks_of_splits(*both, **setting).rule
        again = read_masks_of_splits(*both, **{**setting, **found.settings()}).rule
        np.testing.assert_array_equal(again.table(), found.table())
        assert again.task == found.task


def test_classes_that_a_split_does_not_have_are_said(sources):
    reading = read_masks_of_splits(*sources([(0, 1, 2)], [(0, 2, 3)]), class_names=["cat", "dog", "bird"])
    assert reading.warnings == (
        "Class bird is in no training mask that was read, and in validation masks: F1 will be 0.",
        "Class cat is in no validation mask that was read: there will be no score.",
    )


def test_rare_classes_are_said(sources):
    training = [(0, 1, 2), *[(0, 1)] * 40]
    reading = read_masks_of_splits(*sources(training, [(0, 1, 2)]))
    assert reading.warnings == (
        "Class 2 is on less than 0.1% of the training pixels: look at that score, not at the mean.",
    )
    assert reading.rule.shares == pytest.approx((1 - 42 / 2624, 41 / 2624, 1 / 2624))


def counted(numbers):
    return [tuple(range(number + 1)) for number in numbers]


@pytest.mark.parametrize(
    ("masks", "how"),
    [
        (counted([3, 7, 5, 9, 4]), "they hold 9 values, numbered from 1 in each mask"),
        ([(0, *range(10 * i + 300, 10 * i + 307)) for i in range(6)], "they hold 42 values, nearly each in one mask"),
    ],
)
def test_instance_ids_are_refused_with_both_ways_out(sources, masks, how):
    both = sources(masks[1:], masks[:1], np.uint16)
    message = f"look like instance ids: {how}.* --foreground any. If they are classes: --task multiclass"
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*both)
    assert read_masks_of_splits(*both, foreground="any").rule.task == Task()
    assert read_masks_of_splits(*both, task="multiclass").rule.task.kind == "multiclass"


@pytest.mark.parametrize(
    "masks",
    [
        counted([3, 3, 3, 3]),  # every class in every mask
        counted([1, 2, 3, 1, 2]),  # grades
        [(0, 1, 5, 9), (0, 2, 3), (0, 4, 8, 9), (0, 6, 7), (0, 1, 2, 9)],
    ],
)
def test_classes_are_not_taken_for_instance_ids(sources, masks):
    assert read_masks_of_splits(*sources(masks, masks)).rule.task.kind == "multiclass"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"classes": ["horse"]}, "classes: .* has no horse; its masks hold 1, 2, 3"),
        ({"classes": ["1", "1"]}, "classes: 1, 1 name a class twice; expected each once"),
        ({"class_names": ["cat"]}, r"class_names: cat are 1 names, and the masks .* hold 3 classes: 1, 2, 3. Expected"),
        ({"class_names": list("abc"), "classes": ["d"]}, "has no d; its masks hold 1 a, 2 b, 3 c"),
        ({"foreground": "any", "task": "multiclass"}, "foreground any is for one class, .* task multiclass is for sev"),
        ({"foreground": (1,), "classes": ["1"]}, "classes 1 is for several; expected one of the two"),
    ],
)
def test_settings_that_contradict_the_masks_or_each_other_are_refused(sources, setting, message):
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*sources(FOUR, FOUR), **setting)


def test_black_and_white_masks_hold_no_classes(sources):
    both = sources([(0, 255)], [(0, 255)])
    with pytest.raises(KsegError, match="hold no value but 0 and 255, where 255 is ignored: .* are --task binary"):
        read_masks_of_splits(*both, task="multiclass")


def test_too_many_classes_are_refused(sources):
    masks = [(0, *range(1, 64)), *[(0, *range(64 * k, 64 * k + 63)) for k in range(5, 9)]]
    with pytest.raises(KsegError, match="hold 315 classes; expected at most 253. Select some with --classes"):
        read_masks_of_splits(*sources(masks, masks[:1], np.uint16), task="multiclass")


def test_a_value_that_no_mask_had_before_is_refused_when_it_is_read(sources):
    training, _ = sources(FOUR, FOUR)
    rule = Classes(("1", "2"), (1, 2), {1: "1", 2: "2"})
    message = r"A mask of .* holds 3; expected 0, 255, 1, 2. .* with --classes"
    with pytest.raises(KsegError, match=message):
        training_batches(training, rule, image_size=(8, 8), batch_size=1, seed=0, cache="memory")


def test_batches_hold_the_indices(sources):
    training, validation = sources([(0, 7, 9), (0, 9)], [(0, 7)])
    rule = read_masks_of_splits(training, validation).rule
    batches = training_batches(training, rule, image_size=(8, 8), batch_size=2, seed=0, augment="none")
    _, masks = next(iter(batches))
    assert masks.dtype == np.uint8
    assert np.unique(masks).tolist() == [0, 1, 2]


def test_names_that_differ_in_case_alone_are_said():
    assert class_warnings(["Cell", "cell", "gland"], [0.1] * 3, [0.1] * 3) == [
        "Classes Cell, cell are told apart by the case of letters alone: if they are one class, write them in one way."
    ]
    assert class_warnings(["cell", "cell", "gland"], [0.1] * 3, [0.1] * 3) == [
        "Classes cell, cell are of one name: if they are one class, write one number for both; else rename one, "
        "--class-names."
    ]


def test_a_foreground_class_called_background_is_said():
    assert class_warnings(["Background", "cell", "red cell"], [0.1] * 3, [0.1] * 3) == [
        "Class Background is foreground here, and in the mean: --classes cell 'red cell' leaves it out."
    ]


def test_a_training_split_without_any_of_the_classes_is_refused(sources):
    training, validation = sources([(0,), (0, 255)], [(0, 1), (0, 2)])
    message = r"No training mask of .* has any of the classes 1, 2: all that was read is background or ignored\."
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(training, validation, task="multiclass")
    training, validation = sources([(0, 1), (0, 2)], [(0, 3)])
    with pytest.raises(KsegError, match=r"No training mask of .* has any of the classes 3: .* nothing to learn"):
        read_masks_of_splits(training, validation, task="multiclass", classes=["3"])
