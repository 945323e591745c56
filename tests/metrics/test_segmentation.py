import itertools
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg import losses, metrics
from tests.gradients import to_numpy

OVER_PIXELS = {
    "f1": metrics.F1Score,
    "iou": metrics.IoU,
    "precision": metrics.Precision,
    "recall": metrics.Recall,
    "accuracy": metrics.PixelAccuracy,
}
OVER_IMAGES = [metrics.ImageF1, metrics.ImageIoU, metrics.FalseAlarmRate]
ALL = [metrics.SegmentationMetrics, *OVER_PIXELS.values(), *OVER_IMAGES]


def sklearn_scores(y_true, y_pred):
    valid = y_true != 255
    y_true, y_pred = y_true[valid], y_pred[valid]
    return {
        "f1": sklearn.metrics.f1_score(y_true, y_pred, zero_division=0),
        "iou": sklearn.metrics.jaccard_score(y_true, y_pred, zero_division=0),
        "precision": sklearn.metrics.precision_score(y_true, y_pred, zero_division=0),
        "recall": sklearn.metrics.recall_score(y_true, y_pred, zero_division=0),
        "accuracy": sklearn.metrics.accuracy_score(y_true, y_pred),
    }


def stream(rng, images=23, size=(9, 7)):
    """A third of the masks is empty, a fourth of the predictions too, and a tenth of the pixels is ignored."""
    mask = (rng.random((images, *size, 1)) < 0.3).astype(np.uint8)
    mask[::3] = 0
    mask[rng.random(mask.shape) < 0.1] = 255
    logits = (rng.normal(size=mask.shape) * 3).astype(np.float32)
    logits[::4] = -5
    return mask, logits


def update(metric, mask, predictions, sizes, sample_weight=None):
    """Return the metric after batches of these sizes."""
    for start, stop in itertools.pairwise(np.cumsum([0, *sizes])):
        weight = None if sample_weight is None else sample_weight[start:stop]
        metric.update_state(mask[start:stop], predictions[start:stop], sample_weight=weight)
    return metric


def result(metric):
    value = metric.result()
    return {k: to_numpy(v) for k, v in value.items()} if isinstance(value, dict) else to_numpy(value)


@pytest.mark.parametrize("threshold", [0.5, 0.2, 0.9])
@pytest.mark.parametrize("from_logits", [True, False])
def test_scores_equal_scikit_learn_on_all_pixels(threshold, from_logits, rng):
    mask, logits = stream(rng)
    probabilities = 1 / (1 + np.exp(-logits))
    expected = sklearn_scores(mask, probabilities > threshold)
    predictions = logits if from_logits else probabilities
    together = update(metrics.SegmentationMetrics(threshold, from_logits), mask, predictions, [8, 8, 7])
    assert result(together) == pytest.approx(expected, rel=1e-6)
    for name, single in OVER_PIXELS.items():
        metric = update(single(threshold, from_logits), mask, predictions, [8, 8, 7])
        assert result(metric) == pytest.approx(expected[name], rel=1e-6)


def test_counts_equal_the_confusion_matrix(rng):
    mask, logits = stream(rng)
    valid = mask != 255
    matrix = sklearn.metrics.confusion_matrix(mask[valid], logits[valid] > 0)
    (tn, fp), (fn, tp) = matrix.tolist()
    counts = update(metrics.SegmentationMetrics(), mask, logits, [23]).counts()
    assert counts == {"tp": tp, "fp": fp, "fn": fn, "tn": tn}


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "score"), [(metrics.ImageF1, "f1"), (metrics.ImageIoU, "iou")])
def test_means_over_images_leave_out_empty_masks_and_count_them(metric, score, rng):
    mask, logits = stream(rng)
    mask[1] = 255  # all ignored: not counted
    with_foreground = [(m, x) for m, x in zip(mask, logits, strict=True) if (m == 1).any()]
    empty = sum((m != 1).all() and (m == 0).any() for m in mask)
    expected = np.mean([sklearn_scores(m, x > 0)[score] for m, x in with_foreground])
    instance = update(metric(), mask, logits, [5, 18])
    assert result(instance) == pytest.approx(expected, rel=1e-6)
    counts = instance.counts()
    assert (counts["images"], counts["empty"]) == (len(with_foreground), empty)


@pytest.mark.slow
def test_false_alarm_rate_counts_the_empty_masks(rng):
    mask = np.zeros((6, 4, 4, 1), np.uint8)
    mask[0, 0, 0] = 1
    mask[1] = 255
    logits = np.full(mask.shape, -1, np.float32)
    logits[[0, 1, 2, 3], 2, 2] = 1  # an alarm on images 0 (not empty), 1 (ignored), 2 and 3 (empty)
    mask[3, 2, 2] = 255  # the alarm of image 3 is at an ignored pixel
    instance = update(metrics.FalseAlarmRate(), mask, logits, [6])
    assert instance.counts() == {"alarms": 1, "empty": 4}
    assert result(instance) == pytest.approx(1 / 4)


@pytest.mark.slow
@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("sizes", [[23], [1] * 23, [8, 8, 7], [20, 3]])
def test_batch_size_and_order_do_not_change_the_result(metric, sizes, rng):
    mask, logits = stream(rng)
    expected = result(update(metric(), mask, logits, [23]))
    order = rng.permutation(23)
    assert result(update(metric(), mask[order], logits[order], sizes)) == expected


@pytest.mark.slow
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, 22), unique=True, max_size=5))
@settings(max_examples=4, deadline=None)
def test_any_batch_sizes_give_the_same_result(seed, cuts):
    mask, logits = stream(np.random.default_rng(seed))
    sizes = np.diff([0, *sorted(cuts), 23]).tolist()
    for metric in (metrics.SegmentationMetrics, metrics.ImageF1, metrics.PredictionMonitor):
        assert result(update(metric(), mask, logits, sizes)) == result(update(metric(), mask, logits, [23]))


@pytest.mark.parametrize("metric", [*ALL, metrics.PredictionMonitor])
def test_no_result_is_nan_without_pixels_or_foreground(metric):
    all_ignored = np.full((2, 4, 4, 1), 255, np.uint8)
    empty_masks = np.zeros((2, 4, 4, 1), np.uint8)
    for mask in (None, all_ignored, empty_masks):
        instance = metric()
        if mask is not None:
            instance.update_state(mask, np.full(mask.shape, -9, np.float32))
        values = result(instance)
        values = values if isinstance(values, dict) else {"value": values}
        assert all(np.isfinite(value) for value in values.values())
        assert values.get("f1", 0) == 0  # 0/0, as in scikit-learn


@pytest.mark.slow
@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, np.float32, np.float64])
def test_mask_dtype_and_channel_axis_do_not_change_the_result(metric, dtype, rng):
    mask, logits = stream(rng)
    expected = result(update(metric(), mask, logits, [23]))
    for variant in (mask.astype(dtype), mask[..., 0].astype(dtype)):
        assert result(update(metric(), variant, logits, [23])) == expected


def test_masks_may_be_boolean():
    mask, logits = np.array([[True, False]]), np.float32([[1, 1]])[..., None]
    assert float(metrics.Precision()(mask, logits)) == 0.5


def test_predictions_are_never_cast_to_the_dtype_of_the_mask():
    # With an integer mask, 0.6 would become 0.
    assert float(metrics.F1Score(from_logits=False)(np.int32([[1, 0]]), np.float32([[0.6, 0.4]])[..., None])) == 1.0


def test_a_float_mask_is_not_truncated():
    assert float(metrics.Recall()(np.float32([[0.999, 0.001]]), np.float32([[1, -1]])[..., None])) == 1.0


@pytest.mark.parametrize("metric", OVER_PIXELS.values())
def test_the_threshold_itself_is_background_in_every_metric(metric):
    instance = metrics.SegmentationMetrics()
    instance.update_state(np.uint8([[1, 0]]), np.float32([[0.0, 0.0]])[..., None])
    assert instance.counts() == {"tp": 0, "fp": 0, "fn": 1, "tn": 1}
    of_probabilities, of_logits = metric(from_logits=False), metric(from_logits=True)
    of_probabilities.update_state(np.uint8([[1, 0]]), np.float32([[0.5, 0.5]])[..., None])
    of_logits.update_state(np.uint8([[1, 0]]), np.float32([[0.0, 0.0]])[..., None])
    assert result(of_probabilities) == result(of_logits)


def test_nan_is_background():
    instance = metrics.SegmentationMetrics()
    instance.update_state(np.uint8([[1, 0]]), np.float32([[np.nan, np.nan]])[..., None])
    assert instance.counts() == {"tp": 0, "fp": 0, "fn": 1, "tn": 1}


@pytest.mark.slow
@pytest.mark.parametrize("metric", ALL)
def test_sample_weight_zero_leaves_an_image_out(metric, rng):
    # As many images as columns: weights (B,) must not broadcast over the width.
    mask, logits = stream(rng, images=7)
    weight = np.float32([1, 0, 0.5, 1, 0, 2, 1])
    expected = result(update(metric(), mask[weight != 0], logits[weight != 0], [5]))
    assert result(update(metric(), mask, logits, [4, 3], sample_weight=weight)) == expected


@pytest.mark.slow
@pytest.mark.parametrize("metric", ALL)
def test_a_pixel_of_weight_zero_is_ignored(metric, rng):
    mask, logits = stream(rng, images=7)
    weight = rng.choice(np.float32([0, 0.5, 1, 3]), mask.shape)
    expected = result(update(metric(), np.where(weight == 0, 255, mask), logits, [7]))
    assert result(update(metric(), mask, logits, [7], sample_weight=weight)) == expected
    assert result(update(metric(), mask, logits, [7], sample_weight=weight[..., 0])) == expected


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (23, 9),
            r"sample_weight has shape \(23, 9\), and the prediction \(23, 9, 7, 1\); expected one weight an image",
        ),
        ((22,), r"sample_weight has shape \(22,\) for a batch of 23; expected one weight an image, or one a pixel"),
    ],
)
def test_weights_of_another_shape_are_refused(shape, message, rng):
    mask, logits = stream(rng)
    with pytest.raises(ValueError, match=message):
        metrics.F1Score().update_state(mask, logits, sample_weight=np.ones(shape))


@pytest.mark.parametrize("metric", ALL)
def test_mismatched_shapes_are_refused(metric):
    with pytest.raises(ValueError, match=r"mask has shape \(2, 8, 8, 1\) and the prediction \(2, 4, 4, 1\)"):
        metric().update_state(np.zeros((2, 8, 8, 1)), np.zeros((2, 4, 4, 1)))


@pytest.mark.parametrize("metric", ALL)
@pytest.mark.parametrize("threshold", [0.0, 1.0, -3, float("nan")])
def test_impossible_thresholds_are_refused(metric, threshold):
    with pytest.raises(ValueError, match="expected a probability above 0 and below 1"):
        metric(threshold=threshold)


@pytest.mark.parametrize("metric", ALL)
def test_config_round_trip(metric):
    first = metric(threshold=0.3, from_logits=False, name="mine")
    again = keras.metrics.deserialize(keras.metrics.serialize(first))
    assert type(again) is metric
    assert again.get_config() == first.get_config()


@pytest.mark.parametrize("metric", [*OVER_PIXELS.values(), *OVER_IMAGES])
def test_keras_knows_whether_higher_is_better(metric):
    assert metric()._direction == ("down" if metric is metrics.FalseAlarmRate else "up")


@pytest.mark.slow
@pytest.mark.parametrize("metric", ALL)
def test_reset_sets_all_counts_to_0(metric, rng):
    mask, logits = stream(rng)
    instance = update(metric(), mask, logits, [23])
    instance.reset_state()
    assert set(instance.counts().values()) == {0}


@pytest.mark.slow
def test_a_short_last_batch_is_counted_once(rng):
    mask, logits = stream(rng)
    model = keras.Sequential([keras.Input((9, 7, 1)), keras.layers.Identity()])
    model.compile(loss="mse", metrics=[metrics.SegmentationMetrics(), metrics.ImageF1()])
    logs = model.evaluate(logits, mask, batch_size=8, verbose=0, return_dict=True)
    expected = sklearn_scores(mask, logits > 0)
    assert {name: logs[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    assert logs["mean_f1"] == float(result(update(metrics.ImageF1(), mask, logits, [23])))


@pytest.mark.slow
def test_a_compiled_model_with_all_metrics_is_saved_and_loaded(rng, tmp_path):
    mask, logits = stream(rng)
    model = keras.Sequential([keras.Input((9, 7, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[metric(0.4) for metric in [*ALL, metrics.PredictionMonitor]])
    expected = model.evaluate(logits, mask, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(logits, mask, verbose=0, return_dict=True) == expected


# The old names of ImageF1 and ImageIoU


def test_old_names_are_aliases():
    assert metrics.MeanF1 is metrics.ImageF1
    assert [metrics.ImageF1().name, metrics.ImageIoU().name] == ["mean_f1", "mean_iou"]  # columns of people's logs


@pytest.mark.parametrize(("old", "new"), [("MeanF1", metrics.ImageF1), ("MeanIoU", metrics.ImageIoU)])
def test_files_name_the_new_classes_and_may_name_the_old_ones(old, new):
    written = keras.metrics.serialize(new(0.3))
    assert (written["class_name"], written["registered_name"]) == (new.__name__, f"kseg>{new.__name__}")
    again = keras.metrics.deserialize(written | {"class_name": old, "registered_name": f"kseg>{old}"})
    assert type(again) is new
    assert again.get_config() == new(0.3).get_config()


@pytest.mark.slow
def test_a_model_saved_with_the_old_names_is_loaded():
    # Written by commit a602027 on each backend, with MeanF1 and MeanIoU among the metrics.
    path = Path(__file__).parents[1] / f"checkpoints/a602027/own-{keras.config.backend()}/last.keras"
    model = keras.models.load_model(path)
    assert type(model.loss) is losses.CombinedSegmentationLoss
    written = [metric["class_name"] for metric in model.get_compile_config()["metrics"]]
    assert written == ["SegmentationMetrics", "PredictionMonitor", "ThresholdCurve", "ImageF1", "ImageIoU"]
    images, masks = np.zeros((2, *model.input_shape[1:]), np.float32), np.ones((2, *model.output_shape[1:]), np.uint8)
    logs = model.evaluate(images, masks, verbose=0, return_dict=True)
    assert {"f1", "mean_f1", "mean_iou"} <= set(logs)
