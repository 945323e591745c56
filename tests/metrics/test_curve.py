import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from kseg.metrics import SegmentationMetrics, ThresholdCurve
from kseg.metrics.histogram import read_histogram

BINS = 16384


def sigmoid(logit):
    return 1 / (1 + np.exp(-np.float64(logit)))


def read(curve):
    return {name: float(value) for name, value in curve.result().items()}


def best_f1(masks, logits):
    """The best F1 of scikit-learn's exact curve, which includes predicting every pixel."""
    precision, recall, _ = precision_recall_curve(masks.ravel(), logits.ravel())
    return np.max(2 * precision * recall / np.maximum(precision + recall, 1e-12))


def f1_at(masks, logits, threshold):
    positive, foreground = sigmoid(logits) > threshold, masks > 0
    return 2 * (positive & foreground).sum() / max(positive.sum() + foreground.sum(), 1)


# Share of foreground, then mean and standard deviation of the background logits and of the foreground logits.
CASES = {
    "separate": (0.1, -3.0, 1.0, 2.0, 1.0),
    "equal": (0.1, 0.0, 1.0, 0.0, 1.0),
    "below the threshold": (0.02, -5.0, 0.5, -2.0, 0.7),
    "mostly foreground": (0.9, -1.0, 1.0, 3.0, 2.0),
    "almost constant": (0.05, 0.01, 0.02, 0.03, 0.02),
    "at the share": (0.01, -4.6, 0.1, -4.4, 0.1),
    "confident": (0.2, -300.0, 100.0, 300.0, 200.0),
    "rare": (0.001, -6.0, 1.0, -3.0, 2.0),
}


def stream(case, rng, pixels=200_000):
    share, background, background_std, foreground, foreground_std = CASES[case]
    masks = (rng.random((4, pixels // 4, 1)) < share).astype(np.uint8)
    noise = rng.normal(size=masks.shape)
    logits = np.where(masks == 1, foreground + foreground_std * noise, background + background_std * noise).astype(
        np.float32
    )
    return masks, logits


@pytest.mark.parametrize("case", CASES)
def test_best_f1_is_that_of_the_exact_curve(case, rng):
    masks, logits = stream(case, rng)
    curve = ThresholdCurve()
    curve.update_state(masks, logits)
    result = read(curve)
    exact = best_f1(masks, logits)
    assert exact - 0.002 <= result["best_f1"] <= exact + 1e-5
    # The threshold gives this F1.
    if case != "confident":  # float32 has few probabilities near 1
        assert f1_at(masks, logits, result["best_threshold"]) == pytest.approx(result["best_f1"], abs=2e-3)


@pytest.mark.parametrize(
    ("centre", "width", "overlap"),
    [(-10, 0.003, 0), (-10, 0.003, 0.001), (10, 0.003, 0), (-4.6, 0.05, 0.02), (0, 1e-4, 2e-5), (-60, 0.02, 0)],
)
def test_logits_that_lie_close_together_are_told_apart(centre, width, overlap, rng):
    masks = (rng.random((4, 50_000, 1)) < 0.3).astype(np.uint8)
    above = rng.uniform(-overlap, width, masks.shape)
    logits = (centre + np.where(masks == 1, above, -above)).astype(np.float32)
    curve = ThresholdCurve()
    for part in range(4):
        curve.update_state(masks[part : part + 1], logits[part : part + 1])
    result = read(curve)
    exact = best_f1(masks, logits)
    assert exact - 0.002 <= result["best_f1"] <= exact + 1e-5
    if centre <= 0:  # near 1 float32 has no probabilities that close
        assert f1_at(masks, logits, result["best_threshold"]) == pytest.approx(result["best_f1"], abs=2e-3)
    curve.reset_state()
    masks, logits = stream("separate", rng, 20_000)
    curve.update_state(masks, logits)
    assert read(curve)["best_f1"] == pytest.approx(best_f1(masks, logits), abs=2e-3)


@given(st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_whatever_the_first_batch_was_the_best_f1_is_never_above_the_exact_one(seed):
    rng = np.random.default_rng(seed)
    curve, masks, logits = ThresholdCurve(), [], []
    for batch in range(4):
        share = 0.0 if batch < rng.integers(0, 3) else rng.uniform(0, 1)
        masks.append((rng.random((1, 500, 1)) < share).astype(np.uint8))
        noise = rng.normal(size=(1, 500, 1)) * 10.0 ** rng.integers(-4, 1)
        logits.append((rng.normal() + noise + 0.003 * masks[-1]).astype(np.float32))
        curve.update_state(masks[-1], logits[-1])
    masks, logits = np.concatenate(masks), np.concatenate(logits)
    assert read(curve)["best_f1"] <= (best_f1(masks, logits) if masks.any() else 0) + 1e-5
    for kind in (0, 1):
        assert curve.histogram()[kind].sum() == (masks == kind).sum()
        assert curve.histogram()[kind, BINS // 2 :].sum() == ((masks == kind) & (logits > 0)).sum()


def test_each_label_has_the_curve_that_it_has_alone(rng):
    masks = rng.integers(0, 2, (2, 20, 20, 3)).astype(np.uint8)
    masks[..., 2] = 0
    masks[:, ::4, :, 0] = 255
    logits = (rng.normal(size=masks.shape) + masks * [1, 3, 0]).astype(np.float32)
    labels, plain = ThresholdCurve(label_names=("a b", "c", "d")), ThresholdCurve()
    alone = [ThresholdCurve() for _ in range(3)]
    for part in (slice(0, 1), slice(1, 2)):
        labels.update_state(masks[part], logits[part])
        plain.update_state(masks[part], logits[part])
        for index, curve in enumerate(alone):
            curve.update_state(masks[part, ..., index : index + 1], logits[part, ..., index : index + 1])
    result = read(labels)
    for index, name in enumerate(("a_b", "c")):
        for value in ("best_f1", "best_threshold"):
            assert result[f"{value}_{name}"] == pytest.approx(read(alone[index])[value], rel=1e-6)
    assert np.isnan(result["best_f1_d"])
    assert np.isnan(result["best_threshold_d"])
    assert {name: result[name] for name in read(plain)} == pytest.approx(read(plain), rel=1e-6)
    np.testing.assert_array_equal(labels.histogram(), plain.histogram())


@pytest.mark.parametrize(
    ("masks", "channels", "match"),
    [
        (np.zeros((1, 4, 4, 2)), 2, "label_names are a, b, c, and the prediction has 2 channels, read by sigmoid"),
        (np.zeros((1, 4, 4, 1)), 3, "3 channels, read by softmax; expected a name for each channel, and sigmoid"),
    ],
)
def test_names_that_are_not_those_of_the_labels_are_refused(masks, channels, match):
    with pytest.raises(ValueError, match=match):
        ThresholdCurve(label_names="abc").update_state(masks, np.zeros((1, 4, 4, channels), np.float32))


@pytest.mark.parametrize("logits", [(17.0, 18.0), (-95.0, -90.0), (-300.0, 17.0), (10.0, 40.0), (-500.0, -85.0)])
def test_the_threshold_is_a_probability_that_float32_tells_from_0_and_1_and_gives_its_f1(logits):
    masks, logits = np.uint8([[0, 1]]), np.float32([logits])[..., None]
    curve = ThresholdCurve()
    curve.update_state(masks, logits)
    result = read(curve)
    assert 0 < result["best_threshold"] < 1
    at_threshold = SegmentationMetrics(threshold=result["best_threshold"])
    at_threshold.update_state(masks, logits)
    assert float(at_threshold.result()["f1"]) == pytest.approx(result["best_f1"])


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_gap_equals_numpy(case, rng):
    masks, logits = stream(case, rng)
    curve = ThresholdCurve()
    curve.update_state(masks, logits)
    foreground, background = (np.float64(logits[masks == kind]) for kind in (1, 0))
    expected = (foreground.mean() - background.mean()) / np.sqrt((foreground.var() + background.var()) / 2)
    assert read(curve)["gap"] == pytest.approx(expected, abs=0.01, rel=0.01)


def test_ties_go_to_the_threshold_nearest_0_5():
    curve = ThresholdCurve()
    curve.update_state(np.uint8([[0, 1]]), np.float32([[-9.0, 9.0]])[..., None])
    result = read(curve)
    assert result["best_f1"] == 1.0
    assert result["best_threshold"] == pytest.approx(0.5, abs=0.01)
    curve.reset_state()
    curve.update_state(np.uint8([[0, 1]]), np.float32([[-4.0, -2.0]])[..., None])
    assert read(curve)["best_threshold"] == pytest.approx(sigmoid(-2.0), abs=0.01)


# No subnormal numbers: XLA takes them for 0.
PIXELS = st.tuples(st.sampled_from([0, 1, 1, 255]), st.floats(-20, 20, width=32, allow_subnormal=False))


@pytest.mark.slow
@given(
    # Few lengths, because JAX compiles each by itself.
    st.sampled_from([1, 7, 40]).flatmap(lambda length: st.lists(PIXELS, min_size=length, max_size=length)),
    st.sampled_from([1, 5]),
)
@settings(max_examples=20, deadline=None)
def test_counts_are_exact_in_any_batches(pixels, size):
    masks, logits = (np.array(column) for column in zip(*pixels, strict=True))
    masks, logits = masks.astype(np.uint8)[:, None, None], logits.astype(np.float32)[:, None, None]
    whole, parts = ThresholdCurve(), ThresholdCurve()
    whole.update_state(masks, logits)
    for start in range(0, len(masks), size):
        parts.update_state(masks[start : start + size], logits[start : start + size])
    np.testing.assert_array_equal(whole.histogram(), parts.histogram())
    for kind in (0, 1):
        assert whole.histogram()[kind].sum() == (masks == kind).sum()
        # An edge of the bins lies at probability 0.5, and equal is background, as in every metric.
        above = whole.histogram()[kind, BINS // 2 :].sum()
        assert above == ((masks == kind) & (logits > 0)).sum()


def test_probabilities_give_the_same_as_their_logits(rng):
    masks, logits = stream("separate", rng, 20_000)
    of_logits, of_probabilities = ThresholdCurve(), ThresholdCurve(from_logits=False)
    of_logits.update_state(masks, logits)
    of_probabilities.update_state(masks, sigmoid(logits).astype(np.float32))
    assert read(of_probabilities) == pytest.approx(read(of_logits), abs=0.01)


def test_saturated_infinite_and_nan_predictions_are_counted():
    masks = np.uint8([[1, 0, 0, 0]])
    for from_logits, predictions in ((False, [1, 0, 0, 0]), (True, [np.inf, -np.inf, np.nan, -1e30])):
        curve = ThresholdCurve(from_logits=from_logits)
        curve.update_state(masks, np.float32([predictions])[..., None])
        result = read(curve)
        assert result["best_f1"] == 1.0
        assert np.isfinite(result["gap"])


@pytest.mark.parametrize(
    ("masks", "expected"),
    [(np.zeros((1, 4)), 0.0), (np.full((1, 4), 255), 0.0), (np.ones((1, 4)), 1.0)],
)
def test_without_foreground_or_background_the_gap_is_0(masks, expected):
    curve = ThresholdCurve()
    curve.update_state(masks.astype(np.uint8), np.float32([[1, 2, 3, 4]])[..., None])
    assert read(curve)["best_f1"] == expected
    assert read(curve)["gap"] == 0.0


def test_no_pixels_and_constant_logits_have_no_gap():
    curve = ThresholdCurve()
    assert read(curve)["best_f1"] == read(curve)["gap"] == 0.0
    curve.update_state(np.uint8([[1, 0, 0, 0]]), np.full((1, 4, 1), -3.0, np.float32))
    assert read(curve)["best_f1"] == pytest.approx(2 * 0.25 / 1.25)  # everything is foreground
    assert read(curve)["gap"] == pytest.approx(0, abs=1e-6)


@pytest.mark.slow
def test_ignored_pixels_and_images_of_weight_0_are_not_counted(rng):
    masks, logits = stream("separate", rng, 4000)
    marked = masks.copy()
    marked[:, ::3] = 255
    curve, expected = ThresholdCurve(), ThresholdCurve()
    curve.update_state(marked, logits, sample_weight=np.float32([1, 0, 1, 0]))
    expected.update_state(np.delete(masks[::2], np.s_[::3], 1), np.delete(logits[::2], np.s_[::3], 1))
    np.testing.assert_array_equal(curve.histogram(), expected.histogram())


def test_counts_are_exact_above_2_to_the_31_pixels():
    curve = ThresholdCurve()
    curve.update_state(np.uint8([[1, 0]]), np.float32([[2, -2]])[..., None])
    curve._sums.high.assign(curve._sums.low.value * 8)  # 2^33 more of each
    assert curve.histogram().sum(axis=1).tolist() == [2**33 + 1] * 2
    assert read(curve)["best_f1"] == 1.0


def test_the_difference_of_two_histograms_is_that_of_the_batches_between(rng):
    masks, logits = stream("separate", rng, 8000)
    curve, second = ThresholdCurve(), ThresholdCurve()
    curve.update_state(masks[:2], logits[:2])
    before = curve.histogram()
    curve.update_state(masks[2:], logits[2:])
    second.update_state(masks[2:], logits[2:])
    result = read_histogram(curve.histogram() - before)
    assert [float(value) for value in result] == pytest.approx(list(read(second).values()))


def test_counts_at_threshold_0_5_equal_those_of_the_other_metrics(rng):
    masks, logits = stream("separate", rng, 4000)
    metrics, curve = SegmentationMetrics(), ThresholdCurve()
    metrics.update_state(masks, logits)
    curve.update_state(masks, logits)
    tp, fp = curve.histogram()[1, BINS // 2 :].sum(), curve.histogram()[0, BINS // 2 :].sum()
    counts = metrics.counts()
    assert (counts["tp"], counts["fp"]) == (tp, fp)


def test_shapes_that_do_not_match_are_refused():
    with pytest.raises(ValueError, match="Expected the same shape"):
        ThresholdCurve().update_state(np.zeros((2, 4, 4, 1)), np.zeros((2, 4, 5, 1), np.float32))


def test_config_round_trip():
    curve = ThresholdCurve(from_logits=False, label_names=("a", "b"))
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(curve))
    assert again.get_config() == curve.get_config()
    assert not again.from_logits


@pytest.mark.slow
def test_fit_logs_each_value_in_training_and_validation(rng):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[ThresholdCurve()])
    x, y = rng.normal(size=(4, 8, 8, 1)).astype(np.float32), rng.integers(0, 2, (4, 8, 8, 1)).astype(np.float32)
    logs = model.fit(x, y, validation_data=(x, y), verbose=0).history
    assert {"best_f1", "best_threshold", "gap", "val_best_f1", "val_best_threshold", "val_gap"} <= set(logs)
