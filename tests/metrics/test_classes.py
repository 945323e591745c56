"""The metrics of several classes and labels, beside scikit-learn, with exact counts."""

import keras
import numpy as np
import pytest
import sklearn.metrics

from kseg import metrics
from kseg.metrics.counts import confusion_matrices
from tests.gradients import to_numpy
from tests.metrics.test_segmentation import result, update

NAMES = ("background", "cat", "dog", "bird")
RATIOS = {
    "f1": (metrics.F1Score, sklearn.metrics.f1_score),
    "iou": (metrics.IoU, sklearn.metrics.jaccard_score),
    "precision": (metrics.Precision, sklearn.metrics.precision_score),
    "recall": (metrics.Recall, sklearn.metrics.recall_score),
}
IMAGES = (metrics.ImageF1, metrics.ImageIoU, metrics.FalseAlarmRate)
ALL = [metrics.SegmentationMetrics, *(metric for metric, _ in RATIOS.values()), metrics.PixelAccuracy, metrics.MeanIoU]
EVERY = [*ALL, *IMAGES, metrics.ConfusionMatrix, metrics.PredictionMonitor, metrics.ThresholdCurve]


def classes(rng, images=11, absent=()):
    """Class indices of which a tenth is ignored, and logits that are right more often than not."""
    mask = rng.integers(0, 4, (images, 9, 7, 1)).astype(np.uint8)
    for index in absent:
        mask[mask == index] = 0
    logits = rng.normal(size=(images, 9, 7, 4)) + 1.5 * np.eye(4)[mask[..., 0]]
    mask[rng.random(mask.shape) < 0.1] = 255
    return mask, logits.astype(np.float32)


def labels(rng, images=11):
    """Masks of three labels, each by itself, of which a tenth is ignored, and logits."""
    mask = rng.integers(0, 2, (images, 9, 7, 3)).astype(np.uint8)
    logits = rng.normal(size=mask.shape) + 1.5 * (2.0 * mask - 1)
    mask[rng.random(mask.shape) < 0.1] = 255
    return mask, logits.astype(np.float32)


def pixels(mask, logits):
    valid = mask[..., 0] != 255
    return mask[..., 0][valid], logits[valid].argmax(-1)


def test_the_confusion_matrix_equals_scikit_learn_on_any_stream(rng):
    mask, logits = classes(rng)
    expected = sklearn.metrics.confusion_matrix(*pixels(mask, logits), labels=range(4))
    for sizes in ([11], [1] * 11, [4, 4, 3]):
        metric = update(metrics.ConfusionMatrix(), mask, logits, sizes)
        np.testing.assert_array_equal(metric.confusion(), expected)
        assert metric.confusion().dtype == np.int64
        np.testing.assert_array_equal(to_numpy(metric.result()), expected)
    metric.reset_state()
    assert metric.confusion().sum() == 0
    scores = update(metrics.SegmentationMetrics(), mask, logits, [11])
    np.testing.assert_array_equal(scores.confusion(), expected)
    assert scores.counts()["tp"] == np.diag(expected).tolist()
    assert scores.counts()["fn"] == (expected.sum(1) - np.diag(expected)).tolist()


def test_the_matrices_of_images_add_up_to_that_of_all(rng):
    mask, logits = classes(rng)
    each = to_numpy(confusion_matrices(np.float32(mask), logits))
    assert each.shape == (11, 4, 4)
    np.testing.assert_array_equal(each.sum(0), sklearn.metrics.confusion_matrix(*pixels(mask, logits)))
    np.testing.assert_array_equal(each.sum((1, 2)), (mask != 255).sum((1, 2, 3)))


@pytest.mark.parametrize("name", RATIOS)
@pytest.mark.parametrize("from_logits", [True, False])
def test_averages_over_classes_equal_scikit_learn(name, from_logits, rng):
    mask, logits = classes(rng, absent=[2])
    metric, reference = RATIOS[name]
    truth, predicted = pixels(mask, logits)
    prediction = logits if from_logits else to_numpy(keras.ops.softmax(logits))

    def ours(average):
        return result(update(metric(from_logits=from_logits, average=average), mask, prediction, [4, 4, 3]))

    def theirs(average, of):
        return reference(truth, predicted, labels=of, average=average, zero_division=0)

    assert ours("macro") == pytest.approx(theirs("macro", [1, 3]), rel=1e-6)  # dog is in no mask
    assert ours("micro") == pytest.approx(theirs("micro", [1, 2, 3]), rel=1e-6)
    each = ours(None)
    np.testing.assert_allclose(each[[0, 1, 3]], theirs(None, [0, 1, 3]), rtol=1e-6)
    assert np.isnan(each[2])


@pytest.mark.parametrize("name", RATIOS)
def test_averages_over_labels_equal_scikit_learn(name, rng):
    mask, logits = labels(rng)
    metric, reference = RATIOS[name]
    each = [reference((m := mask[..., k])[m != 255], logits[..., k][m != 255] > 0) for k in range(3)]
    np.testing.assert_allclose(result(update(metric(average=None), mask, logits, [8, 3])), each, rtol=1e-6)
    assert result(update(metric(), mask, logits, [8, 3])) == pytest.approx(np.mean(each), rel=1e-6)


def test_all_scores_of_a_dict_equal_those_of_the_single_metrics(rng):
    mask, logits = classes(rng)
    together = result(update(metrics.SegmentationMetrics(class_names=NAMES), mask, logits, [4, 7]))
    for name, (metric, _) in RATIOS.items():
        assert together[name] == result(update(metric(), mask, logits, [11]))
    truth, predicted = pixels(mask, logits)
    assert together["accuracy"] == pytest.approx((truth == predicted).mean(), rel=1e-6)
    assert together["accuracy"] == result(update(metrics.PixelAccuracy(), mask, logits, [11]))
    for score in ("f1", "iou"):
        each = result(update(RATIOS[score][0](average=None), mask, logits, [11]))
        assert [together[f"{score}_{name}"] for name in NAMES[1:]] == each[1:].tolist()
    assert set(together) == {*RATIOS, "accuracy", *(f"{s}_{n}" for s in ("f1", "iou") for n in NAMES[1:])}


def test_mean_iou_is_over_all_classes_with_background(rng):
    mask, logits = classes(rng, absent=[3])
    expected = sklearn.metrics.jaccard_score(*pixels(mask, logits), labels=[0, 1, 2], average="macro")
    assert result(update(metrics.MeanIoU(), mask, logits, [11])) == pytest.approx(expected, rel=1e-6)
    binary, logit = np.uint8(mask == 1), logits[..., :1]
    expected = sklearn.metrics.jaccard_score(binary.ravel(), logit.ravel() > 0, average="macro")
    assert result(update(metrics.MeanIoU(), binary, logit, [11])) == pytest.approx(expected, rel=1e-6)


def test_means_over_images_are_class_by_class(rng):
    mask, logits = classes(rng)
    mask[:4][mask[:4] == 2] = 0
    of_class = []
    for index in (1, 2, 3):
        scores = [
            sklearn.metrics.f1_score(*(array == index for array in pixels(m[None], x[None])))
            for m, x in zip(mask, logits, strict=True)
            if (m == index).any()
        ]
        of_class.append(np.mean(scores))
    instance = update(metrics.ImageF1(), mask, logits, [11])
    assert result(instance) == pytest.approx(np.mean(of_class), rel=1e-6)
    assert instance.counts()["empty"] == [int((mask != i).all((1, 2, 3)).sum()) for i in range(4)]


def test_a_class_that_no_mask_contains_has_no_score_and_is_in_no_mean(rng):
    mask, logits = classes(rng, absent=[3])
    found = result(update(metrics.SegmentationMetrics(class_names=NAMES), mask, logits, [11]))
    assert np.isnan(found["f1_bird"])
    assert found["f1"] == pytest.approx((found["f1_cat"] + found["f1_dog"]) / 2, rel=1e-6)


@pytest.mark.parametrize("metric", [*ALL, *IMAGES])
@pytest.mark.parametrize("kind", [0, 255])
def test_no_mean_is_nan_without_pixels_or_foreground(metric, kind):
    mask, logits = np.full((2, 4, 4, 1), kind, np.uint8), np.zeros((2, 4, 4, 3), np.float32)
    values = result(update(metric(), mask, logits, [2]))
    values = values if isinstance(values, dict) else {"value": values}
    assert all(np.isfinite(value) for value in values.values())


def test_two_classes_by_softmax_score_as_one_by_sigmoid_of_the_difference(rng):
    mask, logits = rng.integers(0, 2, (5, 9, 7, 1)), rng.normal(size=(5, 9, 7, 2)).astype(np.float32)
    mask[rng.random(mask.shape) < 0.1] = 255
    difference = logits[..., 1:] - logits[..., :1]
    for metric in EVERY:
        if metric is metrics.ConfusionMatrix:
            continue
        by_softmax, by_sigmoid = (result(update(metric(), mask, x, [5])) for x in (logits, difference))
        if isinstance(by_softmax, dict):
            assert {k: float(v) for k, v in by_softmax.items()} == pytest.approx(
                {k: float(v) for k, v in by_sigmoid.items()}, rel=1e-4
            ), metric
        else:
            assert by_softmax == pytest.approx(by_sigmoid, rel=1e-6), metric


def test_the_first_of_equal_logits_wins_and_nan_is_background():
    logits = np.float32([[[0, 0, 0], [-1, 2, 2]], [[np.nan, 5, 1], [1, np.nan, 9]]])[None]
    metric = metrics.ConfusionMatrix()
    metric.update_state(np.uint8([[[1, 1], [1, 1]]]), logits)
    assert metric.confusion().tolist() == [[0, 0, 0], [3, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("metric", EVERY)
def test_batch_size_order_dtype_and_the_channel_axis_change_nothing(metric, rng):
    mask, logits = classes(rng)
    expected = result(update(metric(), mask, logits, [11]))
    order = rng.permutation(11)
    for found in (
        update(metric(), mask[order], logits[order], [4, 4, 3]),
        update(metric(), mask[..., 0], logits, [11]),
        update(metric(), mask.astype(np.int64), logits, [11]),
    ):
        np.testing.assert_equal(result(found), expected)


@pytest.mark.parametrize("metric", EVERY)
def test_weight_zero_leaves_an_image_or_a_pixel_out(metric, rng):
    mask, logits = classes(rng)
    of_images = rng.choice(np.float32([0, 1, 2]), 11)
    kept = result(update(metric(), mask[of_images > 0], logits[of_images > 0], [(of_images > 0).sum()]))
    np.testing.assert_equal(result(update(metric(), mask, logits, [11], of_images)), kept)
    of_pixels = rng.choice(np.float32([0, 0.5]), mask.shape[:-1])
    expected = result(update(metric(), np.where(of_pixels[..., None] == 0, 255, mask), logits, [11]))
    np.testing.assert_equal(result(update(metric(), mask, logits, [11], of_pixels)), expected)


@pytest.mark.parametrize("metric", [*ALL, *IMAGES, metrics.PredictionMonitor, metrics.ThresholdCurve])
def test_one_hot_masks_count_as_their_indices(metric, rng):
    mask, logits = classes(rng)
    one_hot = np.where(mask == 255, 255, np.eye(4)[mask[..., 0] % 255])
    expected = result(update(metric(), mask, logits, [11]))
    np.testing.assert_equal(result(update(metric(activation="softmax"), one_hot, logits, [11])), expected)


def test_more_than_2_to_the_17_images_in_one_update_are_counted_exactly(rng):
    images = 2**17 + 5
    mask = np.ones((images, 2, 1, 1), np.uint8)
    metric = metrics.F1Score()
    metric.update_state(mask, np.ones((images, 2, 1, 1), np.float32))
    assert metric.counts() == {"tp": 2 * images, "fp": 0, "fn": 0, "tn": 0}
    metric = metrics.ConfusionMatrix()
    metric.update_state(mask, np.tile(np.float32([0, 1, 0]), (images, 2, 1, 1)))
    assert metric.confusion()[1, 1] == 2 * images


@pytest.mark.slow
def test_fit_logs_each_class_and_the_model_is_saved_and_loaded(rng, tmp_path):
    mask, logits = classes(rng)
    model = keras.Sequential([keras.Input((9, 7, 4)), keras.layers.Conv2D(4, 1)])
    given = [metrics.SegmentationMetrics(class_names=NAMES), metrics.MeanIoU(), metrics.ImageF1()]
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(True, 255), metrics=given)
    history = model.fit(logits, mask, batch_size=4, validation_data=(logits, mask), verbose=0).history
    assert {"f1", "val_f1", "f1_cat", "val_iou_bird", "val_mean_class_iou", "mean_f1"} <= set(history)
    logs = model.evaluate(logits, mask, batch_size=4, verbose=0, return_dict=True)
    outputs = model.predict(logits, verbose=0)
    scores = result(update(metrics.SegmentationMetrics(class_names=NAMES), mask, outputs, [11]))
    expected = {name: float(score) for name, score in scores.items()}
    assert {name: logs[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.evaluate(logits, mask, batch_size=4, verbose=0, return_dict=True) == logs


@pytest.mark.parametrize("metric", [*ALL, *IMAGES, metrics.ConfusionMatrix])
def test_reading_before_the_first_update_leaves_the_number_of_classes_open(metric, rng):
    instance = metric()
    assert not np.any(list(instance.counts().values()))
    instance.result()
    mask, logits = classes(rng)
    np.testing.assert_equal(result(update(instance, mask, logits, [11])), result(update(metric(), mask, logits, [11])))


@pytest.mark.parametrize("metric", [*ALL, *IMAGES, metrics.ConfusionMatrix])
def test_another_number_of_classes_than_before_is_refused(metric):
    instance = metric()
    instance.update_state(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 3), np.float32))
    with pytest.raises(ValueError, match=r"has counted 3 classes, and the prediction has 4.*expected the same in all"):
        instance.update_state(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 4), np.float32))


def test_another_number_of_names_than_channels_is_refused():
    metric = metrics.SegmentationMetrics(class_names=["cat", "dog"])
    with pytest.raises(
        ValueError, match="class_names are cat, dog, and the prediction has 3 channels; expected a name"
    ):
        metric.update_state(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 3), np.float32))


def test_another_average_is_refused():
    with pytest.raises(ValueError, match="average is 'weighted'; expected 'macro', 'micro' or None"):
        metrics.F1Score(average="weighted")


def test_a_confusion_of_one_logit_is_refused():
    with pytest.raises(ValueError, match="softmax' over one channel"):
        metrics.ConfusionMatrix().update_state(np.zeros((1, 2, 2, 1)), np.zeros((1, 2, 2, 1), np.float32))


@pytest.mark.parametrize("metric", EVERY)
def test_config_round_trip(metric):
    arguments = {"average": None} if metric in [single for single, _ in RATIOS.values()] else {}
    arguments |= {"class_names": NAMES} if metric is metrics.SegmentationMetrics else {}
    first = metric(from_logits=False, name="mine", **arguments)
    again = keras.metrics.deserialize(keras.metrics.serialize(first))
    assert type(again) is metric
    assert again.get_config() == first.get_config()


def test_files_of_before_call_the_mean_over_images_mean_iou():
    written = keras.metrics.serialize(metrics.MeanIoU())
    assert written["registered_name"] == "kseg>MeanClassIoU"
    assert type(keras.metrics.deserialize(written)) is metrics.MeanIoU
    old = written | {"registered_name": "kseg>MeanIoU", "config": metrics.ImageIoU().get_config()}
    assert type(keras.metrics.deserialize(old)) is metrics.ImageIoU
