"""What every loss gives: its value beside a float64 reference, its gradient, and `losses.get`."""

import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses import reference
from tests.losses.examples import NAMES, SHAPES, make_masks


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored", "one pixel"])
@pytest.mark.parametrize("name", NAMES)
def test_loss_equals_the_float64_reference(name, kind, shape, rng):
    mask = make_masks(kind, shape, rng)
    logits = rng.normal(0, 4, shape).astype(np.float32)
    expected = getattr(reference, name)(mask, logits)
    np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_loss_equals_the_float64_reference_on_large_images(name, rng):
    mask = (rng.random((2, 512, 512, 1)) < 0.01).astype(np.uint8)
    logits = rng.normal(-4, 3, mask.shape).astype(np.float32)
    expected = getattr(reference, name)(mask, logits)
    np.testing.assert_allclose(to_numpy(getattr(losses, name)(mask, logits)), expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored"])
def test_probabilities_cost_the_same_as_their_logits(name, kind, rng):
    mask = make_masks(kind, SHAPES["image"], rng)
    logits = rng.normal(0, 4, mask.shape)
    probabilities = reference.sigmoid(logits).astype(np.float32)
    loss = to_numpy(getattr(losses, name)(mask, probabilities, from_logits=False))
    # A hinge takes the logit itself, and float32 holds few digits of 1 - p.
    expected, rtol = getattr(reference, name)(mask, logits), 1e-4 if name == "lovasz" else 1e-5
    np.testing.assert_allclose(loss, expected, rtol=rtol, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "one pixel"])
def test_a_perfect_prediction_costs_almost_nothing(name, kind, rng):
    mask = make_masks(kind, (2, 256, 256, 1), rng)
    logits = np.where(mask == 1, 20, -20).astype(np.float32)
    assert (to_numpy(getattr(losses, name)(mask, logits)) < 1e-3).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_false_positive_on_an_empty_mask_costs_and_has_a_gradient(name):
    mask, logits = np.zeros((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), -20, np.float32)
    empty = to_numpy(getattr(losses, name)(mask, logits))[0]
    logits[0, 5, 5, 0] = 1.0
    assert to_numpy(getattr(losses, name)(mask, logits))[0] > empty + 1e-4
    assert gradient(lambda x: getattr(losses, name)(mask, x), logits)[0, 5, 5, 0] > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored", "one pixel"])
def test_gradient_equals_finite_differences(name, kind, rng):
    mask, logits = make_masks(kind, (2, 4, 5, 1), rng), rng.normal(0, 2, (2, 4, 5, 1))
    step = 1e-5
    expected = np.zeros(logits.shape)
    for place in np.ndindex(*logits.shape):
        above, below = logits.copy(), logits.copy()
        above[place] += step
        below[place] -= step
        rise = getattr(reference, name)(mask, above) - getattr(reference, name)(mask, below)
        expected[place] = rise.sum() / (2 * step)
    result = gradient(lambda x: getattr(losses, name)(mask, x), logits)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-8)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["random", "empty", "full", "ignored"])
def test_loss_and_gradient_are_finite_at_any_logit(name, dtype, kind, rng):
    mask = make_masks(kind, (2, 16, 16, 1), rng)
    logits = rng.choice([-1e30, -1e4, -89, -80, -20, -1e-30, 0, 1e-30, 17, 80, 89, 1e4, 1e30], mask.shape)
    loss = getattr(losses, name)
    assert np.isfinite(to_numpy(loss(mask, logits.astype(np.float32)))).all()
    assert np.isfinite(gradient(lambda x: loss(mask, x), logits, dtype)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_finite_at_any_probability(name, rng):
    mask = make_masks("random", (2, 16, 16, 1), rng)
    probabilities = rng.choice([0, 1e-45, 1e-30, 1e-7, 0.5, 1 - 1e-7, 1], mask.shape).astype(np.float32)
    loss = getattr(losses, name)
    assert np.isfinite(to_numpy(loss(mask, probabilities, from_logits=False))).all()
    assert np.isfinite(gradient(lambda x: loss(mask, x, from_logits=False), probabilities)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["bce", "combined", "focal"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", [20.0, 80.0])
@pytest.mark.parametrize("foreground", [0, 1])
def test_a_confidently_wrong_model_keeps_its_gradient(name, dtype, size, foreground):
    # All foreground on an empty mask, all background on a full one.
    mask = np.full((2, 32, 32, 1), foreground, np.uint8)
    logits = np.full(mask.shape, size if foreground == 0 else -size)
    bce_gradient = (reference.sigmoid(logits) - mask) / (32 * 32)
    result = gradient(lambda x: getattr(losses, name)(mask, x), logits, dtype)
    assert (np.sign(result) == np.sign(bce_gradient)).all()
    assert (abs(result) >= 0.1 * abs(bce_gradient)).all()


def test_get_refuses_unknown_names_and_arguments():
    with pytest.raises(ValueError, match="no loss 'hausdorff'; expected one of bce, combined, cross_entropy"):
        losses.get("hausdorff")
    with pytest.raises(ValueError, match="'tversky' takes no 'gamma'; it takes alpha, beta, smooth"):
        losses.get("tversky", gamma=1)
