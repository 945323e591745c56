"""Weights of single pixels, in every loss."""

import keras
import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy

NAMES = sorted(losses.BY_NAME)
SHAPE = (3, 6, 5, 1)


@pytest.fixture
def batch(rng):
    """Masks, logits, and weights of which some are 0."""
    weights = rng.choice(np.float32([0, 0.5, 1, 3]), SHAPE)
    return rng.integers(0, 2, SHAPE).astype(np.uint8), rng.normal(0, 3, SHAPE).astype(np.float32), weights


def reference(name, mask, logits, weight):
    """The loss of each image in float64, pixel by pixel."""
    y, x, w = (np.float64(array).reshape(len(mask), -1) for array in (mask, logits, weight))
    p = 1 / (1 + np.exp(-x))

    def mean(cost):
        return (w * cost).sum(1) / (w > 0).sum(1)

    bce = mean(-y * np.log(p) - (1 - y) * np.log(1 - p))
    focal = mean(-y * 0.25 * (1 - p) ** 2 * np.log(p) - (1 - y) * 0.75 * p**2 * np.log(1 - p))

    def tversky(alpha, beta):
        tp, fp, fn = (w * y * p).sum(1), (w * (1 - y) * p).sum(1), (w * y * (1 - p)).sum(1)
        return 1 - (tp + 1) / (tp + alpha * fp + beta * fn + 1)

    return {
        "bce": bce,
        "cross_entropy": bce,
        "lovasz": np.array([lovasz(*image) for image in zip(x, y, w, strict=True)]),
        "focal": focal,
        "tversky": tversky(0.3, 0.7),
        "dice": tversky(0.5, 0.5),
        "iou": tversky(1, 1),
        "combined": 0.4 * bce + 0.4 * tversky(0.5, 0.5) + 0.2 * focal,
    }[name]


def lovasz(x, y, w):
    """The weighted 1 - IoU after each further hinge error, times the error."""
    errors = np.maximum(1 - x * (2 * y - 1), 0)
    wrong, before, total = np.zeros(len(x), bool), 0.0, 0.0
    for pixel in np.argsort(-errors, kind="stable"):
        if w[pixel] > 0:
            wrong[pixel] = True
            lost = 1 - (w * ((y == 1) & ~wrong)).sum() / (w * ((y == 1) | wrong)).sum()
            total += errors[pixel] * (lost - before)
            before = lost
    return total


@pytest.mark.parametrize("name", NAMES)
def test_the_weighted_sums_are_those_of_float64(name, batch):
    mask, logits, weight = batch
    loss = losses.get(name, reduction=None)
    expected = reference(name, mask, logits, weight)
    np.testing.assert_allclose(to_numpy(loss(mask, logits, sample_weight=weight)), expected, rtol=2e-6)
    np.testing.assert_allclose(to_numpy(loss(mask[..., 0], logits, sample_weight=weight[..., 0])), expected, rtol=2e-6)
    mean = losses.get(name)(mask, logits, sample_weight=weight)
    assert float(mean) == pytest.approx(expected.mean(), rel=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weight_zero_is_255_and_weight_one_is_none(name, batch):
    mask, logits, weight = batch
    loss = losses.get(name, reduction=None)
    there = np.float32(weight > 0)
    logits = np.where(there, logits, np.nan)
    expected = to_numpy(loss(np.where(there, mask, 255), logits))
    np.testing.assert_array_equal(to_numpy(loss(mask, logits, sample_weight=there)), expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_no_gradient_passes_a_pixel_of_weight_zero_even_a_nan(name, from_logits, batch):
    mask, logits, weight = batch
    prediction = logits if from_logits else 1 / (1 + np.exp(-logits))
    prediction = np.where(weight == 0, np.nan, prediction)
    loss = losses.get(name, reduction="sum", from_logits=from_logits)
    weights = keras.ops.convert_to_tensor(weight)
    found = gradient(lambda x: loss(mask, x, sample_weight=weights), prediction)
    assert (found[weight == 0] == 0).all()
    assert np.isfinite(found).all()
    if name != "lovasz":  # its hinge ends where a pixel is right enough
        assert abs(found[weight > 0]).min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_one_weight_an_image_multiplies_its_loss_as_before(name, batch):
    mask, logits, _ = batch
    each = to_numpy(losses.get(name, reduction=None)(mask, logits))
    weight = np.float32([0, 0.5, 3])
    for weights in (weight, weight[:, None]):
        found = to_numpy(losses.get(name, reduction=None)(mask, logits, sample_weight=weights)).ravel()
        np.testing.assert_allclose(found, each * weight, rtol=1e-6)


@pytest.mark.parametrize("shape", [(3, 6), (3, 5, 6), (3, 6, 5, 2), (3, 1, 1, 1, 1)])
def test_weights_of_another_shape_are_refused(shape, batch):
    mask, logits, _ = batch
    with pytest.raises(
        ValueError, match=r"sample_weight has shape .*; expected one weight an image, \(batch,\), or one"
    ):
        losses.BCELoss()(mask, logits, sample_weight=np.ones(shape, np.float32))
    with pytest.raises(ValueError, match="pixel_weight has one weight an image; expected one a pixel"):
        losses.bce(mask, logits, pixel_weight=np.ones(3, np.float32))


@pytest.mark.slow
def test_in_fit_only_the_labelled_half_is_learned(rng):
    images = rng.normal(size=(8, 6, 6, 1)).astype(np.float32)
    masks = (images > 0).astype(np.uint8)
    masks[:, :, 3:] = 1 - masks[:, :, 3:]  # wrong, and of weight 0
    weight = np.ones((8, 6, 6), np.float32)
    weight[:, :, 3:] = 0
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Conv2D(1, 1)])
    model.compile(keras.optimizers.Adam(0.3), losses.CombinedSegmentationLoss())
    model.fit(images, masks, sample_weight=weight, epochs=40, verbose=0)
    assert ((model.predict(images, verbose=0) > 0) == (images > 0)).mean() > 0.95
