"""The rules about single classes, on confusion matrices."""

import keras
import numpy as np
import pytest

import kseg
from kseg.diagnosis.observations import Observation
from kseg.diagnosis.rules import class_missing, classes_swapped
from kseg.diagnosis.windows import ClassCount, Window, WindowReader
from kseg.metrics import PredictionCounts

NAMES = ("background", "cat", "dog", "bird")
LEARNED = np.diag([800, 80, 60, 40])


def window(matrix, epoch=1):
    counts = PredictionCounts(int(matrix.sum()), int(matrix[1:].sum()), 0, 0, 0, 0, 0, 1, 0)
    histogram = np.zeros((2, 16384), np.int64)
    return Window(epoch, 20 * epoch, 20, counts, histogram, 0.5, confusion=matrix, class_names=NAMES)


def observations(training, validation=None, epochs=8):
    """The same observation in each epoch."""
    return [
        Observation(window(training, epoch), None if validation is None else window(validation, epoch))
        for epoch in range(1, epochs + 1)
    ]


def missing(index, taken_for):
    matrix = LEARNED.copy()
    matrix[index, taken_for], matrix[index, index] = matrix[index, index], 0
    return matrix


def test_counts_of_a_class_are_those_of_the_matrix(rng):
    matrix = rng.integers(0, 99, (4, 4))
    for index, counts in enumerate(window(matrix).classes):
        expected = matrix[index].sum(), matrix[:, index].sum(), matrix[index, index]
        assert counts == ClassCount(*expected, matrix[index].argmax(), matrix[index].max())
        tp, fp, fn = expected[2], expected[1] - expected[2], expected[0] - expected[2]
        assert counts.f1 == pytest.approx(2 * tp / (2 * tp + fp + fn))


def test_a_class_that_is_never_predicted_is_named_with_its_share_and_what_it_is_taken_for():
    matrix = missing(3, taken_for=2)
    evidence = class_missing(observations(matrix, matrix))
    assert evidence.text == (
        "bird is 4.08% of the pixels, and was predicted on 0 of 980 at the end of 6 looks, while the other classes "
        f"have a mean F1 of {(1 + 2 * 60 / (60 + 100)) / 2:.3f}; 100% of it is taken for dog"
    )


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        (LEARNED, LEARNED),
        (missing(3, 0), LEARNED),  # validation finds it
        (LEARNED, missing(3, 0)),  # training finds it
        (np.diag([800, 80, 60, 0]), np.diag([800, 80, 60, 0])),  # in no mask
        (missing(3, 0) * [[1], [0], [0], [1]], None),  # no other class
        (np.array([[800, 0, 0, 0], [60, 20, 0, 0], [50, 0, 10, 0], [40, 0, 0, 0]]), None),  # little is learned
    ],
)
def test_silent_where_no_class_is_missing_or_nothing_is_learned_yet(training, validation):
    assert class_missing(observations(training, validation)) is None


def test_a_class_that_comes_late_is_given_time():
    matrix = missing(3, 0)
    assert class_missing(observations(matrix, epochs=5)) is None
    assert class_missing([*observations(matrix, epochs=7), Observation(window(LEARNED, 8))]) is None
    assert class_missing([Observation(window(matrix, 1)) for _ in range(8)]) is None  # looks within one epoch


def test_two_classes_that_are_exchanged_in_validation():
    swapped = LEARNED[[0, 2, 1, 3]]
    evidence = classes_swapped(observations(LEARNED, swapped, epochs=1))
    assert "in validation 100% of cat is predicted as dog, and 100% the other way round" in evidence.text


@pytest.mark.parametrize(("by", "direction"), [(1, "higher"), (-1, "lower")])
def test_all_classes_that_are_shifted_by_one(by, direction):
    matrix = np.zeros((4, 4), int)
    for index in (1, 2, 3):
        if 0 <= index + by < 4:
            matrix[index, index + by] = 50
    matrix[0, 0] = 10
    evidence = classes_swapped(observations(LEARNED, matrix, epochs=1))
    assert f"predicted as the class whose index is 1 {direction}" in evidence.text
    assert "reduce_zero_label" in evidence.remedy


@pytest.mark.parametrize(
    ("training", "validation"),
    [
        (LEARNED, LEARNED),
        (LEARNED, None),
        (LEARNED, missing(3, 2)),  # one class is taken for another, and not the reverse
        (LEARNED[[0, 2, 1, 3]], LEARNED[[0, 2, 1, 3]]),  # training confuses them as well
        (np.zeros((0, 0), int), np.zeros((0, 0), int)),  # one class
    ],
)
def test_silent_where_training_and_validation_agree(training, validation):
    assert classes_swapped(observations(training, validation, epochs=2)) is None


def test_windows_keep_what_the_rules_need_in_plain_data():
    full = window(missing(3, 2))
    small = full.without_histogram()
    assert small.confusion.size == 0
    again = Window.from_plain(small.to_plain())
    assert again.classes == full.classes == small.classes
    assert again.class_names == NAMES
    assert (window(LEARNED) + window(LEARNED)).classes[1] == ClassCount(160, 160, 160, 1, 160)


def test_the_reader_reads_what_was_counted_since_the_last_time(rng):
    metrics = [
        kseg.metrics.SegmentationMetrics(class_names=NAMES),
        kseg.metrics.PredictionMonitor(),
        kseg.metrics.ThresholdCurve(),
    ]
    model = keras.Sequential([keras.Input((8, 8, 4)), keras.layers.Conv2D(4, 1)])
    model.compile("sgd", kseg.losses.CrossEntropyLoss(), metrics=metrics)
    x = rng.normal(size=(4, 8, 8, 4)).astype(np.float32)
    masks = rng.integers(0, 4, (4, 8, 8, 1)).astype(np.int32)
    model.evaluate(x, masks, batch_size=2, verbose=0)
    reader = WindowReader(model)
    first = reader.read(1, 2, 0)
    np.testing.assert_array_equal(first.confusion.sum(1), np.bincount(masks.ravel()))
    assert first.class_names == NAMES
    assert reader.read(1, 2, 0).confusion.sum() == 0
    other = WindowReader(model)
    other.set_state(reader.get_state())
    assert other.read(1, 2, 0).confusion.sum() == 0
