"""What every loss does with masks, ignored pixels, dtypes and weights, and how it is saved."""

import keras
import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses import reference
from tests.losses.examples import NAMES, make_masks


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_mask_dtype_and_a_mask_without_channel_axis_change_nothing(name, rng):
    mask, logits = make_masks("ignored", (3, 8, 8, 1), rng), rng.normal(size=(3, 8, 8, 1)).astype(np.float32)
    loss = getattr(losses, name)
    expected = to_numpy(loss(mask, logits))
    for variant in (mask.astype(np.int32), mask.astype(np.float32), mask[..., 0]):
        np.testing.assert_array_equal(to_numpy(loss(variant, logits)), expected)


def test_class_indices_above_1_are_foreground(rng):
    # A mask of class indices, or of 0/200, must not make a loss negative or a Dice above 1.
    mask, logits = rng.integers(0, 2, (2, 8, 8, 1)), rng.normal(size=(2, 8, 8, 1)).astype(np.float32)
    for name in NAMES:
        loss = getattr(losses, name)
        np.testing.assert_array_equal(to_numpy(loss(mask * 200, logits)), to_numpy(loss(mask, logits)))


@pytest.mark.parametrize("name", NAMES)
def test_mismatched_shapes_are_refused(name):
    with pytest.raises(ValueError, match=r"mask has shape \(2, 8, 8, 2\) and the prediction \(2, 8, 8, 3\)"):
        getattr(losses, name)(np.zeros((2, 8, 8, 2)), np.zeros((2, 8, 8, 3), np.float32))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_ignored_pixels_have_no_effect(name, rng):
    mask, logits = make_masks("random", (2, 60, 1), rng), rng.normal(0, 3, (2, 60, 1)).astype(np.float32)
    ignored = mask.copy()
    ignored[:, 40:] = 255
    poisoned = logits.copy()
    poisoned[:, 40:] = np.nan
    loss = getattr(losses, name)
    removed = to_numpy(loss(mask[:, :40], logits[:, :40]))
    np.testing.assert_allclose(to_numpy(loss(ignored, logits)), removed, rtol=1e-6)
    np.testing.assert_allclose(to_numpy(loss(ignored, poisoned)), removed, rtol=1e-6)
    assert (gradient(lambda x: loss(ignored, x), poisoned)[:, 40:] == 0).all()


@pytest.mark.slow
def test_sums_are_float32_with_half_precision_logits(rng):
    # 512 x 512 pixels are more than float16 can count, and bfloat16 stops at 256.
    mask = np.ones((1, 512, 512, 1), np.uint8)
    for dtype in ("float16", "bfloat16"):
        logits = keras.ops.convert_to_tensor(np.zeros(mask.shape), dtype=dtype)
        for name in NAMES:
            expected = getattr(reference, name)(mask, np.zeros(mask.shape))
            np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_one_value_per_image_so_that_sample_weight_weighs_images(name, rng):
    # Width equals batch size: a loss of shape (B, H, W) would broadcast (B,) against the width.
    mask, logits = make_masks("random", (8, 8, 8, 1), rng), rng.normal(size=(8, 8, 8, 1)).astype(np.float32)
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
    "cross_entropy": {"label_smoothing": 0.1, "class_weight": [1.0, 3.0], "activation": "sigmoid"},
    "dice": {"smooth": 0.5},
    "focal": {"alpha": 0.4, "gamma": 1.5},
    "iou": {"smooth": 3.0},
    "lovasz": {},
    "tversky": {"alpha": 0.1, "beta": 0.9, "smooth": 0.1},
}


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name, rng):
    loss = losses.get(name, from_logits=False, reduction="sum", **ARGUMENTS[name])
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert again.get_config() == loss.get_config()
    mask, probabilities = make_masks("random", (2, 5, 5, 1), rng), rng.random((2, 5, 5, 1)).astype(np.float32)
    assert float(again(mask, probabilities)) == float(loss(mask, probabilities))
    assert float(loss(mask, probabilities)) != float(losses.get(name)(mask, probabilities))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_compiled_model_is_saved_and_loaded(name, rng, tmp_path):
    images, mask = rng.random((4, 8, 8, 3)).astype(np.float32), make_masks("random", (4, 8, 8, 1), rng)
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile("sgd", losses.get(name, **ARGUMENTS[name]))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.loss) is losses.BY_NAME[name]
    assert again.evaluate(images, mask, verbose=0) == model.evaluate(images, mask, verbose=0)
