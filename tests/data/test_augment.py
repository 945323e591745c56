import numpy as np
import pytest
import tensorflow as tf

from kseg.data.augment import augment, crop_around_foreground

pytestmark = pytest.mark.backend_free


def planted(height, width, rng):
    """A mask of blocks, and an image that shows the same blocks: what holds for one has to hold for the other."""
    blocks = rng.integers(0, 2, (height // 8, width // 8))
    mask = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint8)[..., None]
    return np.repeat(mask * 200, 3, -1), mask


def one_pixel(height, width, row, column):
    """A mask of one foreground pixel, and an image that says in each pixel where that is."""
    mask = np.zeros((height, width, 1), np.uint8)
    mask[row, column] = 1
    rows, columns = np.indices((height, width))
    return np.stack([rows * 3, columns * 3, np.full_like(rows, 200)], -1).astype(np.uint8), mask


def around_foreground(image, mask, seed):
    return augment(image, mask, seed, around_foreground=True)


@pytest.mark.parametrize("change", [augment, around_foreground, crop_around_foreground])
@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_one_geometry_for_image_and_mask(size, change, rng):
    image, mask = planted(*size, rng)
    for seed in range(50):
        new_image, new_mask = (np.asarray(x) for x in change(image, mask, (0, seed)))
        seen = new_image[..., :1] > (int(new_image.min()) + int(new_image.max())) / 2
        # Edges fall between pixels: the image is interpolated there, the mask is not.
        assert (seen == (new_mask == 1)).mean() > 0.97


@pytest.mark.parametrize("change", [augment, around_foreground, crop_around_foreground])
@pytest.mark.parametrize("size", [(64, 64), (32, 64)])
def test_shapes_dtypes_and_mask_values_stay(size, change, rng):
    image = rng.integers(0, 256, (*size, 3), np.uint8)
    mask = rng.choice(np.uint8([0, 1, 255]), (*size, 1))
    for seed in range(20):
        new_image, new_mask = change(image, mask, (1, seed))
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


@pytest.mark.parametrize("change", [augment, around_foreground, crop_around_foreground])
def test_a_seed_gives_one_result_eagerly_and_in_a_pipeline(change, rng):
    image, mask = rng.integers(0, 256, (32, 32, 3), np.uint8), rng.integers(0, 2, (32, 32, 1), np.uint8)
    eagerly = [change(image, mask, (4, seed)) for seed in range(8)]
    seeds = tf.data.Dataset.range(8)
    piped = seeds.map(lambda seed: change(image, mask, tf.stack([4, seed])), num_parallel_calls=2)
    for (image_1, mask_1), (image_2, mask_2) in zip(eagerly, piped, strict=True):
        np.testing.assert_array_equal(image_1, image_2)
        np.testing.assert_array_equal(mask_1, mask_2)
    assert len({np.asarray(image).tobytes() for image, _ in eagerly}) == 8


CORNERS = [(0, 0), (0, 59), (39, 0), (39, 59), (20, 59)]


@pytest.mark.parametrize("pixel", [*CORNERS, (7, 31)])
def test_a_crop_around_foreground_holds_the_only_foreground_pixel(pixel):
    image, mask = one_pixel(40, 60, *pixel)
    for seed in range(50):
        new_image, new_mask = (np.asarray(x) for x in crop_around_foreground(image, mask, (5, seed)))
        assert new_mask.any()
        places = new_image[new_mask[..., 0] == 1][:, :2] / 3
        assert (abs(places - pixel) < 0.8).all()
        assert (new_image[..., 2] == 200).all()  # nothing from outside
        assert np.asarray(around_foreground(image, mask, (5, seed))[1]).any()


@pytest.mark.parametrize("pixel", CORNERS)
def test_a_crop_around_foreground_is_half_to_all_of_the_image_and_inside_it(pixel):
    image, mask = one_pixel(40, 60, *pixel)
    sides = []
    for seed in range(50):
        new_image = np.asarray(crop_around_foreground(image, mask, (6, seed))[0]).astype(int)
        height = (new_image[-1, 0, 0] - new_image[0, 0, 0]) / (3 * 39)
        width = (new_image[0, -1, 1] - new_image[0, 0, 1]) / (3 * 59)
        assert height == pytest.approx(width, abs=0.02)
        sides.append(height)
    assert 0.49 < min(sides) < 0.6
    assert 0.9 < max(sides) <= 1


def test_every_foreground_pixel_is_as_likely_to_be_cropped_around():
    image, mask = one_pixel(64, 64, 63, 63)
    mask[:3, :3] = 1
    crops = np.stack([crop_around_foreground(image, mask, (7, seed))[0] for seed in range(300)])
    first, last = crops[:, 0, 0, 0] / 3, crops[:, -1, -1, 0] / 3
    with_nine, with_one = ((first <= 2) & (last < 63)).sum(), ((first > 2) & (last == 63)).sum()
    assert 0.8 < with_nine / (with_nine + with_one) < 0.97


@pytest.mark.parametrize("value", [0, 255])
def test_a_mask_without_foreground_is_cropped_as_usual(value, rng):
    image, mask = rng.integers(0, 256, (32, 32, 3), np.uint8), np.full((32, 32, 1), value, np.uint8)
    for seed in range(10):
        for one, other in zip(around_foreground(image, mask, (8, seed)), augment(image, mask, (8, seed)), strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(crop_around_foreground(image, mask, (8, seed)), (image, mask), strict=True):
            np.testing.assert_array_equal(one, other)
