import keras
import numpy as np
import pytest
from scipy import special
from scipy.spatial.distance import cdist

from kseg.data import signed_distances
from kseg.losses import BoundaryLoss, CombinedSegmentationLoss, boundary
from tests.gradients import gradient, to_numpy


def brute_force(inside):
    """Signed distances by comparing every pixel with every other."""
    places = np.argwhere(np.ones_like(inside))
    to_inside = cdist(places, np.argwhere(inside)).min(1).reshape(inside.shape)
    to_outside = cdist(places, np.argwhere(~inside)).min(1).reshape(inside.shape)
    return np.where(inside, 1 - to_outside, to_inside)


@pytest.mark.backend_free
def test_distances_are_those_of_comparing_all_pixels(rng):
    mask = (rng.random((13, 17, 1)) < 0.3).astype(np.uint8)
    np.testing.assert_allclose(signed_distances(mask)[..., 0], brute_force(mask[..., 0] == 1), rtol=1e-6)
    classes = rng.integers(0, 3, (9, 11, 1)).astype(np.uint8)
    classes[0] = 255
    found = signed_distances(classes, 3)
    assert np.isnan(found[0]).all()
    for index in range(3):
        np.testing.assert_allclose(found[1:, :, index], brute_force(classes[..., 0] == index)[1:], rtol=1e-6)
    labels = (rng.random((9, 11, 2)) < 0.4).astype(np.uint8)
    for index in range(2):
        np.testing.assert_array_equal(
            signed_distances(labels, 2)[..., index], signed_distances(labels[..., index : index + 1])[..., 0]
        )


@pytest.mark.backend_free
def test_a_class_that_nothing_or_everything_has_is_at_0():
    for value in (0, 1):
        assert not signed_distances(np.full((4, 5, 1), value, np.uint8)).any()
    with pytest.raises(ValueError, match=r"shape \(4, 5, 3\); expected \(H, W, 1\) or \(H, W, 2\)"):
        signed_distances(np.zeros((4, 5, 3), np.uint8), 2)


@pytest.mark.parametrize("activation", [None, "softmax"])
def test_it_is_the_mean_of_probability_times_distance(activation, rng):
    distances = rng.normal(0, 5, (2, 6, 7, 3))
    logits = rng.normal(0, 4, distances.shape)
    distances[0, 0] = np.nan
    found = to_numpy(boundary(distances, logits, activation=activation))
    probability = special.softmax(logits, -1) if activation else special.expit(logits)
    product = (probability * distances)[..., 1:] if activation else probability * distances
    np.testing.assert_allclose(found, np.nanmean(product.reshape(2, -1), axis=1), rtol=1e-5)
    given = boundary(distances, probability, activation=activation, from_logits=False)
    np.testing.assert_allclose(to_numpy(given), found, rtol=1e-4)


def test_its_gradient_points_away_from_far_pixels_and_ignores_the_ignored(rng):
    distances = rng.normal(0, 5, (1, 6, 7, 1)).astype("float32")
    distances[0, 0] = np.nan
    logits = rng.normal(0, 2, distances.shape).astype("float32")
    logits[0, 0, 0] = np.nan
    found = gradient(lambda x: boundary(distances, x), logits)
    p = special.expit(logits)
    expected = np.where(np.isnan(distances), 0, p * (1 - p) * distances / (5 * 7))
    np.testing.assert_allclose(found, np.nan_to_num(expected), rtol=1e-4, atol=1e-7)


def test_weights_of_pixels_and_other_shapes():
    distances, logits = np.float32([[[[-1.0], [2.0]]]]), np.zeros((1, 1, 2, 1), "float32")
    loss = BoundaryLoss()
    assert float(loss(distances, logits, sample_weight=np.float32([[[1, 0]]]))) == pytest.approx(-0.5)
    assert float(loss(distances, logits, sample_weight=np.float32([2]))) == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"distances have shape \(1, 1, 2\) and the prediction \(1, 1, 2, 1\)"):
        boundary(distances[..., 0], logits)


def test_beside_masks_it_pulls_predictions_to_the_boundary(rng):
    keras.utils.set_random_seed(0)
    images = rng.normal(0, 0.3, (8, 16, 16, 1)).astype("float32")
    masks = np.zeros((8, 16, 16, 1), np.uint8)
    masks[:, 4:12, 4:12] = 1
    images += masks
    distances = np.stack([signed_distances(mask) for mask in masks])
    inputs = keras.Input((16, 16, 1))
    logits = keras.layers.Conv2D(1, 3, padding="same")(inputs)
    model = keras.Model(inputs, {"mask": logits, "boundary": logits})
    model.compile(
        keras.optimizers.Adam(0.05),
        loss={"mask": CombinedSegmentationLoss(), "boundary": BoundaryLoss()},
        loss_weights={"mask": 1.0, "boundary": 0.01},
    )
    targets = {"mask": masks, "boundary": distances}
    history = model.fit(images, targets, epochs=15, verbose=0).history
    assert history["boundary_loss"][-1] < 0.7 * history["boundary_loss"][0]
    assert history["mask_loss"][-1] < history["mask_loss"][0]
    again = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(BoundaryLoss(activation="softmax"))
    )
    assert again.get_config()["activation"] == "softmax"
