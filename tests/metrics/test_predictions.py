import keras
import numpy as np
import pytest

from kseg.metrics import PredictionMonitor


@pytest.mark.slow
def test_means_equal_numpy_without_the_ignored_pixels(rng):
    mask = rng.choice(np.uint8([0, 0, 0, 1, 255]), (9, 32, 32, 1))
    logits = rng.normal(-3, 3, mask.shape).astype(np.float32)
    monitor = PredictionMonitor()
    for start in (0, 4, 8):
        monitor.update_state(mask[start : start + 4], logits[start : start + 4])
    valid = mask != 255
    probabilities = 1 / (1 + np.exp(-logits[valid].astype(np.float64)))
    counts = monitor.counts()
    assert counts.pred_mean == pytest.approx(probabilities.mean(), rel=1e-6)
    assert counts.target_mean == (mask == 1).sum() / valid.sum()
    assert (counts.pixels, counts.foreground) == (valid.sum(), (mask == 1).sum())
    assert counts.predicted == (logits[valid] > 0).sum()
    logged = {name: float(value) for name, value in monitor.result().items()}
    assert logged == pytest.approx({"pred_mean": counts.pred_mean, "target_mean": counts.target_mean}, rel=1e-6)


@pytest.mark.slow
def test_the_mean_of_tiny_probabilities_is_exact(rng):
    monitor = PredictionMonitor()
    for _ in range(50):
        monitor.update_state(np.zeros((8, 64, 64, 1)), np.full((8, 64, 64, 1), -14.0, np.float32))
    assert monitor.counts().pred_mean == pytest.approx(1 / (1 + np.exp(14.0)), rel=1e-4)


@pytest.mark.slow
def test_the_difference_of_two_counts_is_that_of_the_batches_between():
    monitor = PredictionMonitor()
    monitor.update_state(np.ones((1, 4)), np.full((1, 4, 1), 3.0))
    before = monitor.counts()
    monitor.update_state(np.uint8([[1, 0, 0, 0]]), np.full((1, 4, 1), -30.0))
    window = monitor.counts() - before
    assert (window.pixels, window.foreground, window.predicted) == (4, 1, 0)
    assert window.target_mean == 0.25
    assert window.pred_mean == pytest.approx(0, abs=1e-6)


def test_predictions_that_are_not_finite_are_counted_and_make_the_mean_nan():
    monitor = PredictionMonitor()
    monitor.update_state(np.uint8([[1, 0, 255, 0]]), np.float32([[np.nan, np.inf, np.nan, 0.0]])[..., None])
    counts = monitor.counts()
    assert (counts.not_finite, counts.predicted, counts.pred_mean) == (2, 0, 0.5)
    assert np.isnan(float(monitor.result()["pred_mean"]))


@pytest.mark.slow
def test_sample_weight_zero_leaves_an_image_out():
    monitor = PredictionMonitor(from_logits=False)
    monitor.update_state(np.ones((2, 4)), np.float32([[0.25] * 4, [1.0] * 4])[..., None], sample_weight=[1, 0])
    assert float(monitor.result()["pred_mean"]) == 0.25


def count_constant(*images):
    monitor = PredictionMonitor()
    logits = np.float32(images)[..., None]
    monitor.update_state(np.zeros(logits.shape, np.uint8), logits)
    counts = monitor.counts()
    return counts.constant, counts.images


@pytest.mark.slow
def test_predictions_that_do_not_depend_on_the_image_are_counted():
    flat, border = [[-2.0] * 4] * 4, [[-1.0] * 4, [-1.0, -2, -2, -1], [-1.0, -2, -2, -1], [-1.0] * 4]
    other = [[-2.0, 3.0, -2.0, -2.0]] * 4
    assert count_constant(flat) == (1, 1)
    assert count_constant(flat, flat, other) == (2, 3)
    # Zero padding gives the output of a dead network a border, the same for all images.
    assert count_constant(border, border, border) == (3, 3)
    assert count_constant(border) == (0, 1)
    assert count_constant(border, border, other) == (0, 3)


def test_ignored_pixels_and_images_do_not_make_a_prediction_constant():
    monitor = PredictionMonitor()
    mask, logits = np.uint8([[0, 0, 255], [255, 255, 255]]), np.float32([[-2, -2, 9], [1, 2, 3]])[..., None]
    monitor.update_state(mask, logits)
    counts = monitor.counts()
    assert (counts.constant, counts.images) == (1, 1)


def test_hits_are_true_positives():
    monitor = PredictionMonitor()
    monitor.update_state(np.uint8([[1, 1, 0, 255]]), np.float32([[2, -2, 2, 2]])[..., None])
    counts = monitor.counts()
    assert (counts.hits, counts.predicted, counts.foreground) == (1, 2, 2)


def test_the_first_step_that_was_not_finite_is_recorded():
    monitor = PredictionMonitor()
    good, bad = np.float32([[[1.0], [-1.0]]]), np.float32([[[np.inf], [-1.0]]])
    mask = np.float32([[1, 0]])
    for step, (images, logits) in enumerate([(good, good), (bad, good), (good, bad), (bad, bad)], start=1):
        monitor.look_at_inputs(images, mask)
        monitor.update_state(mask, logits)
        assert monitor.steps() == step
    assert monitor.first_not_finite() == (2, 3)
    monitor.forget_not_finite()
    assert monitor.first_not_finite() == (None, None)
    monitor.look_at_inputs(good.astype(np.uint8), mask * np.nan)
    monitor.update_state(mask, good)
    assert monitor.first_not_finite() == (5, None)
    monitor.reset_state()
    assert (monitor.steps(), monitor.first_not_finite()) == (0, (None, None))


def test_config_round_trip():
    monitor = PredictionMonitor(0.3, from_logits=False)
    again = keras.metrics.deserialize(keras.metrics.serialize(monitor))
    assert again.get_config() == monitor.get_config()


def test_impossible_thresholds_are_refused():
    with pytest.raises(ValueError, match=r"threshold is 1.5; expected a probability"):
        PredictionMonitor(threshold=1.5)
