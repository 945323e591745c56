import keras
import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses import reference

NAMES = ["bce", "combined", "dice", "focal", "iou", "tversky"]
KEEP_THEIR_GRADIENT = ["bce", "combined", "focal"]

SHAPES = {"image": (3, 16, 24, 1), "volume": (2, 8, 6, 10, 1), "channels": (2, 12, 12, 3), "signal": (2, 50, 1)}


def masks(kind, shape, rng):
    mask = np.zeros(shape, np.uint8)
    if kind == "random":
        mask = (rng.random(shape) < 0.3).astype(np.uint8)
    elif kind == "full":
        mask[:] = 1
    elif kind == "ignored":
        mask = rng.choice(np.uint8([0, 1, 255]), shape)
        mask[0] = 255
    elif kind == "one pixel":
        mask[(slice(None), *[size // 2 for size in shape[1:-1]])] = 1
    return mask


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored", "one pixel"])
@pytest.mark.parametrize("name", NAMES)
def test_equals_float64_reference(name, kind, shape, rng):
    mask = masks(kind, shape, rng)
    logits = rng.normal(0, 4, shape).astype(np.float32)
    expected = getattr(reference, name)(mask, logits)
    np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_equals_float64_reference_on_large_images(name, rng):
    mask = (rng.random((2, 512, 512, 1)) < 0.01).astype(np.uint8)
    logits = rng.normal(-4, 3, mask.shape).astype(np.float32)
    expected = getattr(reference, name)(mask, logits)
    np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored"])
def test_probabilities_cost_what_their_logits_cost(name, kind, rng):
    mask = masks(kind, SHAPES["image"], rng)
    logits = rng.normal(0, 4, mask.shape)
    probabilities = reference.sigmoid(logits).astype(np.float32)
    loss = to_numpy(getattr(losses, name)(mask, probabilities, from_logits=False))
    np.testing.assert_allclose(loss, getattr(reference, name)(mask, logits), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_mask_dtypes_and_a_missing_channel_axis_change_nothing(name, rng):
    mask, logits = masks("ignored", (3, 8, 8, 1), rng), rng.normal(size=(3, 8, 8, 1)).astype(np.float32)
    loss = getattr(losses, name)
    expected = to_numpy(loss(mask, logits))
    for variant in (mask.astype(np.int32), mask.astype(np.float32), mask[..., 0]):
        np.testing.assert_array_equal(to_numpy(loss(variant, logits)), expected)


def test_class_indices_are_foreground(rng):
    # A mask of class indices, or of 0/200, must not make a loss negative or a Dice above 1.
    mask, logits = rng.integers(0, 2, (2, 8, 8, 1)), rng.normal(size=(2, 8, 8, 1)).astype(np.float32)
    for name in NAMES:
        loss = getattr(losses, name)
        np.testing.assert_array_equal(to_numpy(loss(mask * 200, logits)), to_numpy(loss(mask, logits)))


@pytest.mark.parametrize("name", NAMES)
def test_mismatched_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"mask has shape \(2, 8, 8\) and the prediction \(2, 8, 8, 3\)"):
        getattr(losses, name)(np.zeros((2, 8, 8)), np.zeros((2, 8, 8, 3), np.float32))


# Identities


def test_tversky_at_a_half_is_dice_and_at_one_is_iou(rng):
    mask, logits = masks("random", SHAPES["image"], rng), rng.normal(size=SHAPES["image"]).astype(np.float32)
    half = to_numpy(losses.tversky(mask, logits, alpha=0.5, beta=0.5))
    np.testing.assert_array_equal(half, to_numpy(losses.dice(mask, logits)))
    one = to_numpy(losses.tversky(mask, logits, alpha=1, beta=1))
    np.testing.assert_array_equal(one, to_numpy(losses.iou(mask, logits)))


def test_tversky_alpha_weighs_false_positives_and_beta_false_negatives():
    alarm, miss = np.float32([[[20.0], [20.0]]]), np.float32([[[-20.0], [-20.0]]])
    mask = np.float32([[[1.0], [0.0]]])
    for alpha, beta in ((0.2, 0.8), (0.9, 0.1)):
        # One hit and one false alarm; one miss. smooth is 1.
        of_alarm = to_numpy(losses.tversky(mask, alarm, alpha=alpha, beta=beta))
        np.testing.assert_allclose(of_alarm, alpha / (1 + alpha + 1), rtol=1e-5)
        of_miss = to_numpy(losses.tversky(mask, miss, alpha=alpha, beta=beta))
        np.testing.assert_allclose(of_miss, beta / (beta + 1), rtol=1e-5)


def test_focal_without_focus_is_bce(rng):
    mask, logits = masks("ignored", SHAPES["image"], rng), rng.normal(0, 9, SHAPES["image"]).astype(np.float32)
    focal = to_numpy(losses.focal(mask, logits, gamma=0, alpha=None))
    np.testing.assert_allclose(focal, to_numpy(losses.bce(mask, logits)), rtol=1e-6)


def test_combined_is_the_weighted_sum_of_its_parts(rng):
    mask, logits = masks("ignored", SHAPES["image"], rng), rng.normal(0, 3, SHAPES["image"]).astype(np.float32)
    parts = 0.5 * losses.bce(mask, logits) + 2 * losses.dice(mask, logits) + 3 * losses.focal(mask, logits)
    whole = losses.combined(mask, logits, bce_weight=0.5, dice_weight=2, focal_weight=3)
    np.testing.assert_allclose(to_numpy(whole), to_numpy(parts), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_ignoring_pixels_is_removing_them(name, rng):
    mask, logits = masks("random", (2, 60, 1), rng), rng.normal(0, 3, (2, 60, 1)).astype(np.float32)
    ignored = mask.copy()
    ignored[:, 40:] = 255
    poisoned = logits.copy()
    poisoned[:, 40:] = np.nan
    loss = getattr(losses, name)
    removed = to_numpy(loss(mask[:, :40], logits[:, :40]))
    np.testing.assert_allclose(to_numpy(loss(ignored, logits)), removed, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(loss(ignored, poisoned)), removed, rtol=1e-6)
    assert (gradient(lambda x: loss(ignored, x), poisoned)[:, 40:] == 0).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "one pixel"])
def test_a_perfect_prediction_costs_next_to_nothing(name, kind, rng):
    mask = masks(kind, (2, 256, 256, 1), rng)
    logits = np.where(mask == 1, 20, -20).astype(np.float32)
    assert (to_numpy(getattr(losses, name)(mask, logits)) < 1e-3).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_false_positive_on_an_empty_mask_costs_and_has_a_gradient(name):
    mask, logits = np.zeros((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), -20, np.float32)
    empty = to_numpy(getattr(losses, name)(mask, logits))[0]
    logits[0, 5, 5, 0] = 1.0
    assert to_numpy(getattr(losses, name)(mask, logits))[0] > empty + 1e-4
    assert gradient(lambda x: getattr(losses, name)(mask, x), logits)[0, 5, 5, 0] > 1e-4


# Peers, where they are right


def test_agrees_with_keras_where_keras_is_not_clipped(rng):
    mask, logits = masks("random", (2, 9, 9, 1), rng), rng.normal(0, 2, (2, 9, 9, 1)).astype(np.float32)
    pairs = [
        (losses.BCELoss(), keras.losses.BinaryCrossentropy(from_logits=True)),
        (
            losses.FocalLoss(),
            keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, from_logits=True),
        ),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(float(ours(mask, logits)), float(theirs(mask, logits)), rtol=1e-5)


# Gradients


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored", "one pixel"])
def test_gradient_equals_finite_differences(name, kind, rng):
    mask, logits = masks(kind, (2, 4, 5, 1), rng), rng.normal(0, 2, (2, 4, 5, 1))
    step = 1e-5
    expected = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        rise = getattr(reference, name)(mask, above) - getattr(reference, name)(mask, below)
        expected[place] = rise.sum() / (2 * step)
    found = gradient(lambda x: getattr(losses, name)(mask, x), logits)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored"])
def test_loss_and_gradient_are_finite_at_any_logit(name, dtype, kind, rng):
    mask = masks(kind, (2, 16, 16, 1), rng)
    logits = rng.choice([-1e30, -1e4, -89, -80, -20, -1e-30, 0, 1e-30, 17, 80, 89, 1e4, 1e30], mask.shape)
    loss = getattr(losses, name)
    assert np.isfinite(to_numpy(loss(mask, logits.astype(np.float32)))).all()
    assert np.isfinite(gradient(lambda x: loss(mask, x), logits, dtype)).all()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5])
def test_focal_gradient_is_finite_at_any_gamma(gamma):
    mask, logits = np.uint8([[[1], [0], [1], [0]]]), np.float32([[[90], [-90], [-90], [90]]])
    assert np.isfinite(gradient(lambda x: losses.focal(mask, x, gamma=gamma), logits)).all()


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_finite_at_any_probability(name, rng):
    mask = masks("random", (2, 16, 16, 1), rng)
    probabilities = rng.choice([0, 1e-45, 1e-30, 1e-7, 0.5, 1 - 1e-7, 1], mask.shape).astype(np.float32)
    loss = getattr(losses, name)
    assert np.isfinite(to_numpy(loss(mask, probabilities, from_logits=False))).all()
    assert np.isfinite(gradient(lambda x: loss(mask, x, from_logits=False), probabilities)).all()


@pytest.mark.parametrize("name", KEEP_THEIR_GRADIENT)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("sure", [20.0, 80.0])
@pytest.mark.parametrize("foreground", [0, 1])
def test_a_model_that_is_wrong_and_sure_keeps_its_gradient(name, dtype, sure, foreground):
    # All foreground on an empty mask, all background on a full one.
    mask = np.full((2, 32, 32, 1), foreground, np.uint8)
    logits = np.full(mask.shape, sure if foreground == 0 else -sure)
    of_bce = (reference.sigmoid(logits) - mask) / (32 * 32)
    found = gradient(lambda x: getattr(losses, name)(mask, x), logits, dtype)
    assert (np.sign(found) == np.sign(of_bce)).all()
    assert (abs(found) >= 0.1 * abs(of_bce)).all()


@pytest.mark.parametrize("name", ["dice", "iou", "tversky"])
def test_what_the_docstrings_say_of_region_losses_is_so(name):
    mask, logits = np.ones((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), -80.0)
    assert abs(gradient(lambda x: getattr(losses, name)(mask, x), logits)).max() < 1e-30
    assert "CombinedSegmentationLoss` can" in losses.BY_NAME[name].__doc__


def test_sums_are_float32_under_half_precision(rng):
    # 512 x 512 pixels are more than float16 can count, and bfloat16 stops at 256.
    mask = np.ones((1, 512, 512, 1), np.uint8)
    for dtype in ("float16", "bfloat16"):
        logits = keras.ops.convert_to_tensor(np.zeros(mask.shape), dtype=dtype)
        for name in NAMES:
            expected = getattr(reference, name)(mask, np.zeros(mask.shape))
            np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5)


# As Keras losses


@pytest.mark.parametrize("name", NAMES)
def test_one_value_an_image_so_that_sample_weights_mean_what_they_say(name, rng):
    # Width equals batch size: a loss of shape (B, H, W) would broadcast (B,) against the width.
    mask, logits = masks("random", (8, 8, 8, 1), rng), rng.normal(size=(8, 8, 8, 1)).astype(np.float32)
    weight = np.float32([1, 0, 2, 0, 1, 3, 0, 1])
    each = to_numpy(getattr(losses, name)(mask, logits))
    assert each.shape == (8,)
    loss = losses.get(name)
    np.testing.assert_allclose(float(loss(mask, logits, sample_weight=weight)), (each * weight).mean(), rtol=1e-5)


ARGUMENTS = {
    "bce": {},
    "combined": {
        "bce_weight": 0.1,
        "dice_weight": 0.2,
        "focal_weight": 0.3,
        "alpha": None,
        "gamma": 1.0,
        "smooth": 2.0,
    },
    "dice": {"smooth": 0.5},
    "focal": {"alpha": 0.4, "gamma": 1.5},
    "iou": {"smooth": 3.0},
    "tversky": {"alpha": 0.1, "beta": 0.9, "smooth": 0.1},
}


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name, rng):
    loss = losses.get(name, from_logits=False, reduction="sum", **ARGUMENTS[name])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    mask, probabilities = masks("random", (2, 5, 5, 1), rng), rng.random((2, 5, 5, 1)).astype(np.float32)
    assert float(again(mask, probabilities)) == float(loss(mask, probabilities))
    assert float(loss(mask, probabilities)) != float(losses.get(name)(mask, probabilities))


@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_model_is_saved_and_loaded_again(name, rng, tmp_path):
    images, mask = rng.random((4, 8, 8, 3)).astype(np.float32), masks("random", (4, 8, 8, 1), rng)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile("sgd", losses.get(name, **ARGUMENTS[name]))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is losses.BY_NAME[name]
    assert again.evaluate(images, mask, verbose=0) == model.evaluate(images, mask, verbose=0)


def test_get_refuses_what_it_does_not_know():
    with pytest.raises(ValueError, match="no loss 'lovasz'; expected one of bce, combined"):
        losses.get("lovasz")
    with pytest.raises(ValueError, match="'tversky' takes no 'gamma'; it takes alpha, beta, smooth"):
        losses.get("tversky", gamma=1)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("focal", {"alpha": 1.5}, r"alpha, the weight of foreground, is 1.5; expected 0 to 1"),
        ("focal", {"gamma": -1}, r"gamma is -1; expected 0 or more"),
        ("focal", {"gamma": float("nan")}, r"gamma is nan"),
        ("tversky", {"alpha": -0.1}, r"alpha is -0.1 and beta 0.7; expected 0 or more"),
        ("tversky", {"alpha": 0, "beta": 0}, r"one of them above 0"),
        ("tversky", {"smooth": 0}, r"smooth is 0 pixels; expected more than 0"),
        ("dice", {"smooth": -1}, r"smooth is -1 pixels"),
        ("iou", {"smooth": 0}, r"smooth is 0 pixels"),
        ("combined", {"bce_weight": -1}, r"weights are .*-1.*; expected 0 or more"),
        ("combined", {"bce_weight": 0, "dice_weight": 0, "focal_weight": 0}, r"one of them above 0"),
        ("combined", {"alpha": 2}, r"expected 0 to 1, or None"),
    ],
)
def test_impossible_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **arguments)
