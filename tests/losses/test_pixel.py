import keras
import numpy as np
import pytest

from kseg import losses
from tests.gradients import gradient, to_numpy
from tests.losses.examples import SHAPES, make_masks


def test_focal_at_gamma_0_without_alpha_is_bce(rng):
    mask, logits = make_masks("ignored", SHAPES["image"], rng), rng.normal(0, 9, SHAPES["image"]).astype(np.float32)
    focal = to_numpy(losses.focal(mask, logits, gamma=0, alpha=None))
    np.testing.assert_allclose(focal, to_numpy(losses.bce(mask, logits)), rtol=1e-6)


def test_bce_and_focal_equal_those_of_keras_where_keras_does_not_clip(rng):
    mask, logits = make_masks("random", (2, 9, 9, 1), rng), rng.normal(0, 2, (2, 9, 9, 1)).astype(np.float32)
    pairs = [
        (losses.BCELoss(), keras.losses.BinaryCrossentropy(from_logits=True)),
        (
            losses.FocalLoss(),
            keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, from_logits=True),
        ),
    ]
    for ours, theirs in pairs:
        np.testing.assert_allclose(float(ours(mask, logits)), float(theirs(mask, logits)), rtol=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.5])
def test_focal_gradient_is_finite_at_any_gamma(gamma):
    mask, logits = np.uint8([[[1], [0], [1], [0]]]), np.float32([[[90], [-90], [-90], [90]]])
    assert np.isfinite(gradient(lambda x: losses.focal(mask, x, gamma=gamma), logits)).all()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("focal", {"alpha": 1.5}, r"alpha, the weight of foreground, is 1.5; expected 0 to 1"),
        ("focal", {"gamma": -1}, r"gamma is -1; expected 0 or more"),
        ("focal", {"gamma": float("nan")}, r"gamma is nan"),
    ],
)
def test_impossible_arguments_are_refused(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        losses.get(name, **arguments)
