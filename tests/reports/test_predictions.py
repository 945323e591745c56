import numpy as np
import pytest
from PIL import Image

from kseg.reports.predictions import save_predictions

pytestmark = pytest.mark.backend_free


def test_pictures_colour_hits_misses_and_false_alarms(tmp_path):
    # Four quarters: hit, missed, false alarm, ignored; a second image with an empty mask.
    mask = np.zeros((2, 16, 16, 1), np.uint8)
    probability = np.zeros((2, 16, 16, 1))
    mask[0, :8, :] = 1
    probability[0, :, :8] = 1
    mask[0, 8:, 8:] = 255
    images = np.full((2, 16, 16, 3), 100, np.uint8)
    save_predictions(tmp_path / "predictions.png", images, mask, probability, threshold=0.5)
    with Image.open(tmp_path / "predictions.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = {tuple(int(channel) for channel in pixel) for pixel in pixels}
    verdict = [25 + np.array(c) / 1.5 for c in ((0, 158, 115), (86, 180, 233), (230, 97, 0), (128, 128, 128))]
    for colour in verdict:
        assert any(np.abs(np.subtract(found, colour)).max() <= 2 for found in colours)
