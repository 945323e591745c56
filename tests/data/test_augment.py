import numpy as np
import pytest
import tensorflow as tf

from kseg.data.augment import augment

pytestmark = pytest.mark.backend_free


def planted(height, width, rng):
    """A mask of blocks, and an image that shows the same blocks: what holds for one has to hold for the other."""
    blocks = rng.integers(0, 2, (height // 8, width // 8))
    mask = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint8)[..., None]
    return np.repeat(mask * 200, 3, -1), mask


@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_one_geometry_for_image_and_mask(size, rng):
    image, mask = planted(*size, rng)
    for seed in range(50):
        new_image, new_mask = (np.asarray(x) for x in augment(image, mask, (0, seed)))
        seen = new_image[..., :1] > (int(new_image.min()) + int(new_image.max())) / 2
        # Edges fall between pixels: the image is interpolated there, the mask is not.
        assert (seen == (new_mask == 1)).mean() > 0.97


@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_shapes_dtypes_and_mask_values_stay(size, rng):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    mask = rng.choice(np.uint8([0, 1, 255]), (*size, 1))
    for seed in range(20):
        new_image, new_mask = augment(image, mask, (1, seed))
        assert (new_image.shape, new_image.dtype) == (image.shape, tf.uint8)
        assert (new_mask.shape, new_mask.dtype) == (mask.shape, tf.uint8)
        assert set(np.unique(new_mask)) <= {0, 1, 255}


def test_all_eight_symmetries_of_a_square_occur():
    corners = np.zeros((32, 32, 1), np.uint8)
    corners[:16, :16], corners[:16, 16:] = 1, 2
    corners[16:, :16], corners[16:, 16:] = 3, 4
    image = np.zeros((32, 32, 3), np.uint8)
    seen = set()
    for seed in range(100):
        mask = np.asarray(augment(image, corners, (2, seed))[1])[..., 0]
        seen.add((mask[0, 0], mask[0, -1], mask[-1, 0], mask[-1, -1]))
    assert len(seen) == 8


def test_a_dark_image_is_not_blackened(rng):
    image, mask = rng.integers(0, 20, (32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.uint8)
    assert all(np.asarray(augment(image, mask, (3, seed))[0]).std() > 1 for seed in range(30))


def test_a_seed_gives_one_result_eagerly_and_in_a_pipeline(rng):
    image, mask = rng.integers(0, 256, (32, 32, 3), np.uint8), rng.integers(0, 2, (32, 32, 1), np.uint8)
    eagerly = [augment(image, mask, (4, seed)) for seed in range(8)]
    seeds = tf.data.Dataset.range(8)
    piped = seeds.map(lambda seed: augment(image, mask, tf.stack([4, seed])), num_parallel_calls=2)
    for (image_1, mask_1), (image_2, mask_2) in zip(eagerly, piped, strict=True):
        np.testing.assert_array_equal(image_1, image_2)
        np.testing.assert_array_equal(mask_1, mask_2)
    assert len({np.asarray(image).tobytes() for image, _ in eagerly}) == 8
