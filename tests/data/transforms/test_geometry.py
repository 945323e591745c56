import numpy as np
import pytest

from kseg.data import Augmentation
from kseg.data.transforms import geometry

pytestmark = pytest.mark.backend_free

WHOLE = (0, 0, 40, 60)


@pytest.mark.parametrize("channels", range(1, 17))
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("quarters", range(4))
def test_symmetries_are_those_of_numpy(quarters, mirrored, channels, rng):
    image = rng.integers(0, 256, (9, 9, channels), np.uint8)
    expected = np.rot90(image, -quarters)
    expected = expected[:, ::-1] if mirrored else expected
    np.testing.assert_array_equal(geometry.turn_and_mirror(image, quarters, mirrored), expected)


@pytest.mark.parametrize("channels", [1, 3, 5, 16])
@pytest.mark.parametrize("box", [(3, 7, 20, 30), (0, 0, 39, 59), (19, 29, 21, 31)])
def test_a_crop_is_the_same_as_a_slice_and_as_a_map(box, channels, rng):
    image, mask = rng.integers(0, 256, (40, 60, channels), np.uint8), rng.integers(0, 256, (40, 60, 1), np.uint8)
    sliced, sliced_mask = geometry.crop(image, mask, box)
    where = geometry.source_points((40, 60), box, (29.5, 19.5), None, None)
    mapped, mapped_mask = geometry.sample(image, mask, where)
    # A map knows where pixels are to 1/32 of their distance, which is up to 255 here.
    inner = np.s_[2:-2, 2:-2]  # further out a map reflects, and a resized slice ends
    assert np.abs(sliced.astype(int) - mapped)[inner].max() <= 255 / 16
    assert (sliced_mask != mapped_mask).mean() < 0.1  # where two pixels are equally near


def test_a_crop_of_half_shows_every_pixel_of_the_mask_four_times(rng):
    mask = rng.integers(0, 256, (40, 60, 1), np.uint8)
    _, cropped = geometry.crop(mask, mask, (5, 11, 20, 30))
    np.testing.assert_array_equal(cropped, mask[5:25, 11:41].repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("kept", [(0, 0), (13, 31), (59, 39)])
def test_the_place_that_is_kept_stays_where_it_is(kept, rng):
    x, y = kept
    pull = rng.uniform(-3, 3, (40, 60, 2)).astype(np.float32)
    for matrix in (None, rng.uniform(-2, 2, (2, 2))):
        where = geometry.source_points((40, 60), WHOLE, kept, matrix, pull)
        np.testing.assert_allclose(where[y, x], kept, atol=1e-4)


def test_a_map_is_linear_but_for_the_pull(rng):
    matrix, kept, box = rng.uniform(-1, 1, (2, 2)), np.array([31.0, 7.0]), (4, 6, 20, 45)
    where = geometry.source_points((40, 60), box, tuple(kept), matrix, None)
    rows, columns = np.indices((40, 60))
    step = np.stack([columns, rows], -1) - kept
    scale = np.array([45 / 60, 20 / 40])
    expected = (kept + 0.5) * scale - 0.5 + (6, 4) + step @ matrix.T * scale
    np.testing.assert_allclose(where, expected, atol=1e-4)


def test_a_quarter_turn_by_a_matrix_is_the_symmetry(rng):
    image, mask = rng.integers(0, 256, (40, 40, 3), np.uint8), rng.integers(0, 256, (40, 40, 1), np.uint8)
    where = geometry.source_points((40, 40), (0, 0, 40, 40), (19.5, 19.5), np.array([[0, 1], [-1, 0]]), None)
    for turned, array in zip(geometry.sample(image, mask, where), (image, mask), strict=True):
        np.testing.assert_array_equal(turned, geometry.turn_and_mirror(array, 1, mirrored=False))


def test_outside_lies_the_reflection(rng):
    image, mask = rng.integers(0, 256, (10, 10, 3), np.uint8), rng.integers(0, 256, (10, 10, 1), np.uint8)
    rows, columns = np.indices((10, 10), np.float32)
    where = np.stack([columns - 4, rows + 5], -1)
    for moved, array in zip(geometry.sample(image, mask, where), (image, mask), strict=True):
        np.testing.assert_array_equal(moved, np.pad(array, ((5, 5), (4, 4), (0, 0)), "reflect")[10:20, :10])


def test_moves_are_within_their_strengths():
    how = Augmentation(rotation=30, zoom=1.5, shear=20, share=1)
    rng = np.random.default_rng(0)
    matrices = np.stack([geometry._draw_matrix(how, rng) for _ in range(2000)])
    angle = np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))
    zoom = 1 / np.sqrt(np.linalg.det(matrices))
    # Along the first column, which is turned and scaled, the second leans.
    lean = np.degrees(np.arctan2((matrices[:, :, 0] * matrices[:, :, 1]).sum(1), np.linalg.det(matrices)))
    for found, most in ((angle, 30), (np.log(zoom), np.log(1.5)), (lean, 20)):
        assert abs(found).max() <= most * (1 + 1e-9)
        assert found.min() < -0.95 * most
        assert found.max() > 0.95 * most
        assert abs(found.mean()) < 0.05 * most


@pytest.mark.parametrize("size", [(64, 64), (32, 128)])
def test_an_elastic_change_pulls_no_further_than_it_says_and_never_folds(size):
    rng = np.random.default_rng(0)
    how = Augmentation(elastic=0.05, share=1)
    height, width = size
    furthest = 0
    for _ in range(200):
        x, y = np.moveaxis(geometry._draw_displacement(size, how, rng), -1, 0)
        furthest = max(furthest, abs(x).max() / width, abs(y).max() / height)
        # Turned over is where the area of a pixel becomes negative.
        area = (1 + np.gradient(x, axis=1)) * (1 + np.gradient(y, axis=0)) - np.gradient(x, axis=0) * np.gradient(
            y, axis=1
        )
        assert area.min() > 0
    assert 0.04 < furthest < 0.05 * 1.4**2  # a cubic goes a little beyond its knots
