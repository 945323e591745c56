import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses.examples import SHAPES, make_masks


def test_tversky_at_a_half_is_dice_and_at_one_is_iou(rng):
    mask, logits = make_masks("random", SHAPES["image"], rng), rng.normal(size=SHAPES["image"]).astype(np.float32)
    half = to_numpy(losses.tversky(mask, logits, alpha=0.5, beta=0.5))
    np.testing.assert_array_equal(half, to_numpy(losses.dice(mask, logits)))
    one = to_numpy(losses.tversky(mask, logits, alpha=1, beta=1))
    np.testing.assert_array_equal(one, to_numpy(losses.iou(mask, logits)))


def test_tversky_alpha_weighs_false_positives_and_beta_false_negatives():
    alarm, miss = np.float32([[[20.0], [20.0]]]), np.float32([[[-20.0], [-20.0]]])
    mask = np.float32([[[1.0], [0.0]]])
    for alpha, beta in ((0.2, 0.8), (0.9, 0.1)):
        # One hit and one false alarm; one miss. smooth is 1.
        alarm_loss = to_numpy(losses.tversky(mask, alarm, alpha=alpha, beta=beta))
        np.testing.assert_allclose(alarm_loss, alpha / (1 + alpha + 1), rtol=1e-5)
        miss_loss = to_numpy(losses.tversky(mask, miss, alpha=alpha, beta=beta))
        np.testing.assert_allclose(miss_loss, beta / (beta + 1), rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dice", "iou", "tversky"])
def test_region_losses_have_no_gradient_when_confidently_wrong_and_their_docstrings_say_so(name):
    mask, logits = np.ones((1, 32, 32, 1), np.uint8), np.full((1, 32, 32, 1), -80.0)
    assert abs(gradient(lambda x: getattr(losses, name)(mask, x), logits)).max() < 1e-30
    assert "CombinedSegmentationLoss` can" in losses.BY_NAME[name].__doc__


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("tversky", {"alpha": -0.1}, r"alpha is -0.1 and beta 0.7; expected 0 or more"),
        ("tversky", {"alpha": 0, "beta": 0}, r"one of them above 0"),
        ("tversky", {"smooth": 0}, r"smooth is 0 pixels; expected more than 0"),
        ("dice", {"smooth": -1}, r"smooth is -1 pixels"),
        ("iou", {"smooth": 0}, r"smooth is 0 pixels"),
    ],
)
def test_impossible_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **arguments)
