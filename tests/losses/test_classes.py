"""The losses of several classes by softmax: beside NumPy float64, beside sigmoid, and their gradient."""

import itertools

import keras
import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses.reference import lovasz_of

NAMES = ["combined", "cross_entropy", "dice", "focal", "iou", "lovasz", "tversky"]
PIXEL = ["combined", "cross_entropy", "focal"]
SHAPE = (3, 6, 7, 4)


def make_masks(kind, rng, shape=SHAPE):
    """Class indices `(B, ..., 1)`."""
    places, classes = (*shape[:-1], 1), shape[-1]
    mask = rng.integers(0, classes, places)
    if kind == "background":
        mask[:] = 0
    elif kind == "absent":
        mask[mask == 2] = 1
    elif kind == "one class":
        mask[:] = classes - 1
    elif kind == "ignored":
        mask = rng.choice([0, 1, 3, 255], places)
        mask[0] = 255
    return mask


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def of_image(name, mask, x, weight=None, smoothing=0.0, include_background=False):
    """The loss of an image in float64, class by class, from the pixels that are not ignored."""
    valid = mask != 255
    mask, p, classes = mask[valid], softmax(x[valid]), x.shape[-1]
    weight = np.ones(classes) if weight is None else np.asarray(weight)
    mean = np.mean if mask.size else np.sum
    rows = np.arange(len(mask))
    hard = np.eye(classes)[mask]
    y = (1 - smoothing) * hard + smoothing / classes
    cross_entropy = mean((y * weight * -np.log(p)).sum(-1))
    alpha = np.where(mask == 0, 0.75, 0.25)
    of_class = p[rows, mask]
    focal = mean(weight[mask] * alpha * (1 - of_class) ** 2 * -np.log(of_class))
    counted = range(0 if include_background else 1, classes)
    there = [k for k in counted if (mask == k).any()]

    def over(of_class, of_absent=True):
        classes = there or (counted if of_absent else [])
        values = [of_class(k) for k in classes]
        return np.average(values, weights=weight[list(classes)]) if values else 0.0

    def tversky(a, b, of_absent=True):
        def score(k):
            tp, fp = (hard[:, k] * p[:, k]).sum(), ((1 - hard[:, k]) * p[:, k]).sum()
            fn = (hard[:, k] * (1 - p[:, k])).sum()
            return 1 - (tp + 1) / (tp + a * fp + b * fn + 1)

        return over(score, of_absent)

    return {
        "cross_entropy": lambda: cross_entropy,
        "focal": lambda: focal,
        "tversky": lambda: tversky(0.3, 0.7),
        "dice": lambda: tversky(0.5, 0.5),
        "iou": lambda: tversky(1, 1),
        "lovasz": lambda: over(lambda k: lovasz_of(abs(hard[:, k] - p[:, k]), mask == k)),
        "combined": lambda: 0.4 * cross_entropy + 0.4 * tversky(0.5, 0.5, of_absent=False) + 0.2 * focal,
    }[name]()


def reference(name, mask, logits, **arguments):
    images = zip(mask[..., 0], np.float64(logits), strict=True)
    return np.array([of_image(name, *image, **arguments) for image in images])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "background", "absent", "one class", "ignored"])
def test_loss_equals_the_float64_reference(name, kind, rng):
    mask, logits = make_masks(kind, rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    loss, expected = getattr(losses, name), reference(name, mask, logits)
    np.testing.assert_allclose(to_numpy(loss(mask, logits)), expected, rtol=2e-5, atol=1e-7)
    np.testing.assert_array_equal(to_numpy(loss(mask[..., 0], logits)), to_numpy(loss(mask, logits)))
    probabilities = softmax(np.float64(logits)).astype(np.float32)
    from_probabilities = to_numpy(loss(mask, probabilities, from_logits=False))
    np.testing.assert_allclose(from_probabilities, expected, rtol=2e-4, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_one_hot_masks_cost_the_same_as_their_indices(name, rng):
    mask, logits = make_masks("ignored", rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    one_hot = np.where(mask == 255, 255, np.eye(SHAPE[-1], dtype=int)[mask[..., 0] % 255])
    loss = getattr(losses, name)
    expected = to_numpy(loss(mask, logits))
    np.testing.assert_allclose(to_numpy(loss(one_hot, logits, activation="softmax")), expected, rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("weight", [[1, 2, 0, 0.5], [0, 1, 1, 3]])
def test_class_weights_are_those_of_the_reference(name, weight, rng):
    mask, logits = make_masks("random", rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    expected = reference(name, mask, logits, weight=weight)
    loss = to_numpy(getattr(losses, name)(mask, logits, class_weight=weight))
    np.testing.assert_allclose(loss, expected, rtol=2e-5)


def test_class_weights_of_one_logit_are_for_background_and_foreground(rng):
    mask, logits = rng.integers(0, 2, (2, 5, 5, 1)), rng.normal(size=(2, 5, 5, 1)).astype(np.float32)
    y, x = np.float64(mask), np.float64(logits)
    expected = (5 * y * np.logaddexp(0, -x) + 2 * (1 - y) * np.logaddexp(0, x)).mean((1, 2, 3))
    loss = to_numpy(losses.cross_entropy(mask, logits, class_weight=[2, 5]))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_class_weights_of_several_labels_are_one_for_each(rng):
    mask, logits = rng.integers(0, 2, (2, 5, 5, 3)), rng.normal(size=(2, 5, 5, 3)).astype(np.float32)
    parts = [to_numpy(losses.cross_entropy(mask[..., k : k + 1], logits[..., k : k + 1])) for k in range(3)]
    expected = (1 * parts[0] + 0 * parts[1] + 4 * parts[2]) / 3
    loss = to_numpy(losses.cross_entropy(mask, logits, class_weight=[1, 0, 4]))
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_label_smoothing_is_that_of_the_reference_and_of_keras(smoothing, rng):
    mask, logits = make_masks("random", rng), rng.normal(0, 2, SHAPE).astype(np.float32)
    ours = to_numpy(losses.cross_entropy(mask, logits, label_smoothing=smoothing))
    np.testing.assert_allclose(ours, reference("cross_entropy", mask, logits, smoothing=smoothing), rtol=1e-5)
    theirs = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=smoothing)
    np.testing.assert_allclose(ours.mean(), float(theirs(np.eye(4)[mask[..., 0]], logits)), rtol=1e-5)
    binary = rng.integers(0, 2, (2, 5, 5, 1))
    ours = losses.CrossEntropyLoss(label_smoothing=smoothing)(binary, logits[:2, :5, :5, :1])
    theirs = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=smoothing)
    np.testing.assert_allclose(float(ours), float(theirs(binary, logits[:2, :5, :5, :1])), rtol=1e-5)


@pytest.mark.parametrize("name", ["dice", "iou", "lovasz", "tversky"])
def test_background_is_one_of_the_classes_if_it_is_asked_for(name, rng):
    mask, logits = make_masks("absent", rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    expected = reference(name, mask, logits, include_background=True)
    loss = to_numpy(getattr(losses, name)(mask, logits, include_background=True))
    np.testing.assert_allclose(loss, expected, rtol=2e-5)
    assert (loss != to_numpy(getattr(losses, name)(mask, logits))).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lovasz"])  # by sigmoid it is a hinge
@pytest.mark.parametrize("kind", ["random", "background", "one class", "ignored"])
def test_two_classes_by_softmax_are_one_by_sigmoid_of_the_difference(name, kind, rng):
    mask = make_masks(kind, rng, (3, 6, 7, 2))
    mask = np.where(mask == 3, 1, mask)
    logits = rng.normal(0, 3, (3, 6, 7, 2)).astype(np.float32)
    loss = getattr(losses, name)
    by_sigmoid = to_numpy(loss(mask, logits[..., 1:] - logits[..., :1]))
    np.testing.assert_allclose(to_numpy(loss(mask, logits)), by_sigmoid, rtol=2e-5, atol=1e-7)


def test_tversky_at_a_half_is_dice_and_focal_at_0_is_cross_entropy(rng):
    mask, logits = make_masks("ignored", rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    half = losses.tversky(mask, logits, alpha=0.5, beta=0.5)
    np.testing.assert_array_equal(to_numpy(half), to_numpy(losses.dice(mask, logits)))
    focal = losses.focal(mask, logits, gamma=0, alpha=None)
    np.testing.assert_allclose(to_numpy(focal), to_numpy(losses.cross_entropy(mask, logits)), rtol=1e-6)


def test_lovasz_of_certain_predictions_is_one_minus_the_iou(rng):
    mask, predicted = make_masks("random", rng), rng.integers(0, 4, SHAPE[:-1])
    logits = np.where(np.eye(4)[predicted] == 1, 1e4, -1e4).astype(np.float32)
    ious = [
        np.mean([((m == k) & (q == k)).sum() / ((m == k) | (q == k)).sum() for k in (1, 2, 3)])
        for m, q in zip(mask[..., 0], predicted, strict=True)
    ]
    np.testing.assert_allclose(to_numpy(losses.lovasz(mask, logits)), 1 - np.array(ious), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "background", "absent", "ignored"])
def test_gradient_equals_finite_differences(name, kind, rng):
    shape, step = (2, 3, 4, 3), 1e-5
    mask, logits = np.minimum(make_masks(kind, rng, shape), 255), rng.normal(0, 2, shape)
    mask = np.where((mask > 2) & (mask < 255), 2, mask)
    expected = np.zeros(shape)
    for place in np.ndindex(*shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        expected[place] = (reference(name, mask, above) - reference(name, mask, below)).sum() / (2 * step)
    result = gradient(lambda x: getattr(losses, name)(mask, x), logits)
    np.testing.assert_allclose(result, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("name", PIXEL)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [20.0, 80.0])
@pytest.mark.parametrize(("true", "predicted"), list(itertools.permutations(range(3), 2)))
def test_a_confidently_wrong_model_keeps_its_gradient(name, dtype, size, true, predicted):
    mask = np.full((1, 8, 8, 1), true)
    logits = np.full((1, 8, 8, 3), -size)
    logits[..., predicted] = size
    result = gradient(lambda x: getattr(losses, name)(mask, x), logits, dtype)
    assert (result[..., true] < -0.02 / 64).all()
    assert (result[..., predicted] > 0.02 / 64).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_loss_and_gradient_are_finite_at_any_logit(name, dtype, rng):
    mask = make_masks("ignored", rng)
    largest = 6e4 if dtype == "float16" else 1e30
    logits = rng.choice([-largest, -1e4, -89, -80, -20, -1e-30, 0, 17, 80, 89, 1e4, largest], SHAPE)
    loss = getattr(losses, name)
    assert np.isfinite(to_numpy(loss(mask, logits.astype(np.float32)))).all()
    assert np.isfinite(gradient(lambda x: loss(mask, x), logits, dtype)).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_ignored_pixels_have_no_effect_even_if_their_prediction_is_nan(name, from_logits, rng):
    mask, logits = make_masks("random", rng, (2, 60, 1, 4)), rng.normal(0, 3, (2, 60, 1, 4))
    prediction = (logits if from_logits else softmax(logits)).astype(np.float32)
    ignored, poisoned = mask.copy(), prediction.copy()
    ignored[:, 40:] = 255
    poisoned[:, 40:] = np.nan
    loss = getattr(losses, name)
    removed = to_numpy(loss(mask[:, :40], prediction[:, :40], from_logits=from_logits))
    np.testing.assert_allclose(to_numpy(loss(ignored, poisoned, from_logits=from_logits)), removed, rtol=1e-6)
    found = gradient(lambda x: loss(ignored, x, from_logits=from_logits), poisoned)
    assert (found[:, 40:] == 0).all()
    assert np.isfinite(found).all()


@pytest.mark.parametrize("name", NAMES)
def test_pixel_weights_are_weighted_sums_and_weight_zero_is_255(name, rng):
    mask, logits = make_masks("random", rng), rng.normal(0, 3, SHAPE).astype(np.float32)
    there = rng.choice(np.float32([0, 1]), SHAPE[:-1])
    loss = losses.get(name, reduction=None)
    expected = to_numpy(loss(np.where(there[..., None], mask, 255), logits))
    np.testing.assert_array_equal(to_numpy(loss(mask, logits, sample_weight=there)), expected)
    twice = to_numpy(loss(mask, logits, sample_weight=2 * np.ones_like(there)))
    once = to_numpy(loss(mask, logits))
    if name in ("cross_entropy", "focal"):
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)
    elif name == "lovasz":  # a ratio of weighted sums
        np.testing.assert_allclose(twice, once, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_one_value_an_image_and_float32_sums(name):
    mask = np.tile(np.arange(3)[:, None, None], (2, 1, 256, 256)).reshape(2, -1, 256, 1)
    logits = keras.ops.convert_to_tensor(np.zeros((*mask.shape[:-1], 3)), dtype="bfloat16")
    loss = to_numpy(getattr(losses, name)(mask, logits))
    assert loss.shape == (2,)
    assert loss.dtype == np.float32
    np.testing.assert_allclose(
        loss, reference(name, mask, np.zeros(logits.shape)) if name != "lovasz" else loss, rtol=1e-5
    )


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name, rng):
    arguments = {"class_weight": [1.0, 2.0, 0.5, 1.0], "activation": "softmax"}
    loss = losses.get(name, from_logits=False, **arguments)
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    mask, prediction = make_masks("random", rng), softmax(rng.normal(size=SHAPE)).astype(np.float32)
    assert float(again(mask, prediction)) == float(loss(mask, prediction)) != float(losses.get(name)(mask, prediction))


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("dice", {"class_weight": [1, -1]}, r"class_weight is \[1, -1\]; expected 0 or more, and one of them above 0"),
        ("focal", {"class_weight": [0, 0]}, r"one of them above 0"),
        ("lovasz", {"class_weight": [1, float("nan")]}, r"expected 0 or more"),
        ("cross_entropy", {"label_smoothing": 1}, r"label_smoothing is 1; expected 0 or more, and less than 1"),
        ("combined", {"label_smoothing": -0.1}, r"label_smoothing is -0.1"),
    ],
)
def test_impossible_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **arguments)


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_class_weights_is_refused(name):
    loss = losses.get(name, class_weight=[1, 2, 3])
    with pytest.raises(ValueError, match=r"class_weight has 3 weights; expected 4, one for each class"):
        loss(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 4), np.float32))


def test_bce_refuses_class_indices():
    with pytest.raises(ValueError, match="The mask has one channel, of class indices, and the prediction 4"):
        losses.BCELoss()(np.zeros((1, 2, 2), int), np.zeros((1, 2, 2, 4), np.float32))
