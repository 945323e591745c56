import base64
import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from kseg.reports.outlines import draw_outline

pytestmark = pytest.mark.backend_free


def decode(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,")))), int)


def test_the_outline_is_the_rim_of_the_foreground_with_a_dark_halo(rng):
    mask = ndimage.gaussian_filter(rng.normal(size=(200, 180)), 8) > 0
    picture = decode(draw_outline(np.full((200, 180, 3), 255, np.uint8), mask))
    rim = mask & ~ndimage.binary_erosion(mask)
    halo = ndimage.binary_dilation(rim) & ~mask
    # JPEG blurs, so the colours are compared on average.
    assert np.abs(picture[rim].mean(0) - (255, 150, 0)).max() < 25
    assert picture[halo].mean() < 60
    assert picture[~(rim | halo)].mean() > 235


def test_an_image_without_mask_and_a_tiny_one_are_drawn():
    assert decode(draw_outline(np.full((400, 200, 1), 9, np.uint8), None)).shape == (240, 120, 3)
    assert decode(draw_outline(np.zeros((2, 1, 3), np.uint8), np.ones((2, 1), bool))).shape == (160, 80, 3)
