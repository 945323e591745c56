import base64
import io

import numpy as np
import pytest
from PIL import Image

from kseg.inference.gallery import Gallery

pytestmark = pytest.mark.backend_free


def test_the_worst_the_best_and_random_ones_are_kept_in_order():
    gallery, scores = Gallery(1), np.random.default_rng(0).random(50)
    picture = np.zeros((8, 8, 3), np.uint8)
    mask = np.zeros((8, 8, 1), bool)
    for index, score in enumerate(scores):
        gallery.add(str(index), picture, mask, mask, ~mask, score)
    worst, best, random = ([picture.name for picture in pictures] for _, pictures in gallery.sections())
    order = [str(index) for index in np.argsort(scores)]
    assert worst == order[:12]
    assert best == order[::-1][:6]
    assert len(set(random)) == 12
    assert random not in (order[:12], order[::-1][:12])


def test_a_picture_shows_what_is_right_and_wrong_and_is_at_most_640_pixels_long():
    image = np.full((300, 1000, 5), 100, np.uint8)
    truth, predicted = np.zeros((2, 300, 1000, 1), bool)
    truth[:, :500] = 1
    predicted[:150] = 1
    gallery = Gallery(1)
    gallery.add("a", image, truth, predicted, np.ones_like(truth), 0.5)
    (picture,) = gallery.sections()[0][1]
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture.data.partition(",")[2])))).astype(int)
    assert shown.shape == (192, 640, 3)
    assert picture.caption == "F1 0.500, 50.0% foreground"
    hit, missed, alarm = shown[40, 100], shown[150, 100], shown[40, 500]
    assert hit.argmax() == 1  # green
    assert missed.argmax() == 2  # blue
    assert alarm.argmax() == 0  # orange
