import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg import metrics
from kseg.metrics.counts import ExactSums, count_values


def make_sums(size):
    return ExactSums(keras.metrics.Metric(), size)


@pytest.mark.slow
@given(
    batches=st.lists(
        st.lists(st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)), min_size=1, max_size=6),
        min_size=1,
        max_size=6,
    )
)
@settings(max_examples=40, deadline=None)
def test_totals_equal_python_integers(batches):
    total = make_sums(2)
    for batch in batches:
        total.add(keras.ops.convert_to_tensor(np.int32(batch)))
    assert total.as_integers() == [sum(row[i] for batch in batches for row in batch) for i in (0, 1)]


def test_totals_do_not_stop_at_2_to_the_24_nor_wrap_at_2_to_the_31():
    total = make_sums(1)
    for value in (2**24, 1, 2**31 - 1, 2**31 - 1, 1):
        total.add(keras.ops.convert_to_tensor(np.int32([[value]])))
    assert total.as_integers() == [2**24 + 1 + 2 * (2**31 - 1) + 1]


def test_many_rows_of_the_largest_count_are_added_exactly():
    total = make_sums(1)
    total.add(keras.ops.full((2**20, 1), 2**31 - 1, dtype="int32"))
    assert total.as_integers() == [2**20 * (2**31 - 1)]


def test_float_totals_have_the_precision_of_float32():
    total = make_sums(1)
    for _ in range(9):
        total.add(keras.ops.full((1000, 1), 2**31 - 1, dtype="int32"))
    assert float(total.as_floats()[0]) == pytest.approx(9000 * (2**31 - 1), rel=1.2e-7)


def set_large_totals(metric, rng):
    """Set each total to its own number above 2^32; return the numbers."""
    start = [int(n) for n in rng.integers(2**33, 2**40, metric._sums.low.shape[0])]
    metric._sums.high.assign(np.int32([n >> 30 for n in start]))
    metric._sums.low.assign(np.int32([n & (2**30 - 1) for n in start]))
    return start


def test_scores_are_exact_beyond_2_to_the_32_pixels(rng):
    metric = metrics.SegmentationMetrics()
    tp, fp, fn, tn = set_large_totals(metric, rng)
    metric.update_state(np.uint8([[1, 1, 1, 0, 0, 255]]), np.float32([[1, 1, -1, 1, -1, 1]])[..., None])
    tp, fp, fn, tn = tp + 2, fp + 1, fn + 1, tn + 1
    assert metric.counts() == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}
    expected = {
        "f1": 2 * tp / (2 * tp + fp + fn),
        "iou": tp / (tp + fp + fn),
        "precision": tp / (tp + fp),
        "recall": tp / (tp + fn),
        "accuracy": (tp + tn) / (tp + fp + fn + tn),
    }
    assert {k: float(v) for k, v in metric.result().items()} == pytest.approx(expected, rel=5e-7)


def test_totals_of_keras_stop_at_2_to_the_24_and_ours_do_not():
    # keras issue 20574; if this fails, Keras has fixed it.
    theirs, ours = keras.metrics.TruePositives(), metrics.SegmentationMetrics()
    theirs.accumulator.assign([2.0**24] if theirs.accumulator.shape else 2.0**24)
    ours._sums.low.assign(np.int32([2**24, 0, 0, 0]))
    for _ in range(3):
        theirs.update_state([1], [1.0])
        ours.update_state(np.uint8([[1]]), np.float32([[1]])[..., None])
    assert float(keras.ops.sum(theirs.result())) == 2.0**24
    assert ours.counts()["tp"] == 2**24 + 3


def test_values_are_counted_exactly_above_2_to_the_24():
    number = 2**24 + 3
    values = np.zeros(number + 2, np.int32)
    values[-2:] = 2
    counts = keras.ops.convert_to_numpy(count_values(keras.ops.convert_to_tensor(values), 4))
    assert counts.tolist() == [number, 0, 2, 0]


def test_one_row_adds_up_as_several_do(rng):
    one, expected = make_sums(5), np.zeros(5, np.int64)
    for _ in range(20):
        values = rng.integers(0, 2**31, (1, 5), dtype=np.int64)
        one.add(keras.ops.convert_to_tensor(values.astype(np.int32)))
        expected += values[0]
    assert one.as_integers() == expected.tolist()
