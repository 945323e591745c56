import numpy as np
import pytest
from PIL import Image

from kseg.reports.class_predictions import judge_classes, save_class_predictions, voc_palette

pytestmark = pytest.mark.backend_free

NAMES = ("background", "cat", "dog")
VERDICTS = {
    "right": (0, 158, 115),
    "taken": (240, 228, 66),
    "missed": (86, 180, 233),
    "false": (230, 97, 0),
    "ignored": (128, 128, 128),
}


def test_the_palette_is_that_of_pascal_voc():
    # From the list of the VOC2012 devkit.
    expected = {0: (0, 0, 0), 1: (128, 0, 0), 7: (128, 128, 128), 8: (64, 0, 0), 15: (192, 128, 128), 20: (0, 64, 128)}
    palette = voc_palette(255)
    assert {index: tuple(palette[index].tolist()) for index in expected} == expected
    assert len(np.unique(palette, axis=0)) == 255


def test_each_pixel_has_one_verdict_and_the_score_is_the_mean_f1():
    mask = np.uint8([[1, 1, 1, 0, 0, 255]])
    predicted = np.array([[1, 2, 0, 2, 0, 1]])
    image = np.full((1, 6, 3), 100, np.uint8)
    picture, score = judge_classes(image, mask, predicted, 3)
    names = ["right", "taken", "missed", "false", None, "ignored"]
    for pixel, name in zip(picture[0], names, strict=True):
        expected = np.full(3, 50) if name is None else 25 + np.array(VERDICTS[name]) / 1.5
        np.testing.assert_allclose(pixel, expected, atol=1)
    assert score == "mean F1 0.500"  # of cat, 2 * 1 / (3 + 1); dog is not in the mask


def test_an_empty_mask_has_no_score():
    mask, predicted = np.uint8([[0, 0, 255]]), np.array([[1, 0, 2]])
    assert judge_classes(np.zeros((1, 3, 3), np.uint8), mask, predicted, 3)[1] == "empty, 1 px raised"


def test_pictures_have_the_palette_in_mask_and_prediction(tmp_path):
    mask = np.zeros((2, 16, 16, 1), np.uint8)
    mask[:, :8] = 1
    predicted = np.full((2, 16, 16), 2)
    save_class_predictions(tmp_path / "p.png", np.full((2, 16, 16, 3), 100, np.uint8), mask, predicted, NAMES)
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert {(128, 0, 0), (0, 128, 0)} <= colours
