import numpy as np
import pytest
from scipy import ndimage

from kseg.audit.statistics import count_specks, measure_image, measure_mask

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_specks_are_the_small_components_that_scipy_finds(rng, share):
    mask = rng.random((200, 150)) < share
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())[1:]
    assert count_specks(mask) == (sizes <= 2).sum() > 0
    assert len(sizes) == count


def test_a_mask_is_measured_by_the_table(rng):
    mask = np.zeros((10, 10, 1), np.uint16)
    mask[:5], mask[5, 0] = 3, 255
    measured = measure_mask(mask, None, thumbnail=False)
    assert (measured.values.tolist(), measured.counts.tolist()) == ([0, 3, 255], [49, 50, 1])
    assert measured.share == pytest.approx(50 / 99)
    table = np.zeros(65536, np.uint8)
    assert measure_mask(mask, table, thumbnail=False).share == 0


def test_an_image_of_one_colour_is_constant_and_one_with_a_bright_pixel_is_not(rng):
    image = np.full((600, 400, 3), 90, np.uint8)
    assert measure_image(image, False).is_constant
    image[123, 45] = 200
    assert not measure_image(image, False).is_constant
