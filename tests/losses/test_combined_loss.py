import numpy as np
import pytest

from kseg import losses
from tests.gradients import to_numpy
from tests.losses.examples import SHAPES, make_masks


def test_combined_is_the_weighted_sum_of_its_parts(rng):
    mask, logits = make_masks("ignored", SHAPES["image"], rng), rng.normal(0, 3, SHAPES["image"]).astype(np.float32)
    parts = 0.5 * losses.bce(mask, logits) + 2 * losses.dice(mask, logits) + 3 * losses.focal(mask, logits)
    whole = losses.combined(mask, logits, bce_weight=0.5, dice_weight=2, focal_weight=3)
    np.testing.assert_allclose(to_numpy(whole), to_numpy(parts), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("combined", {"bce_weight": -1}, r"weights are .*-1.*; expected 0 or more"),
        ("combined", {"bce_weight": 0, "dice_weight": 0, "focal_weight": 0}, r"one of them above 0"),
        ("combined", {"alpha": 2}, r"expected 0 to 1, or None"),
    ],
)
def test_impossible_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **arguments)
