import numpy as np
import pytest
from PIL import Image

from kseg.reports.class_predictions import flatten, judge, save_class_predictions, voc_palette
from kseg.task import Task

pytestmark = pytest.mark.backend_free

TASK = Task("multiclass", ("background", "cat", "dog"))
LABELS = Task("multilabel", ("cat", "dog"))
VERDICTS = {
    "right": (0, 158, 115),
    "taken": (240, 228, 66),
    "missed": (86, 180, 233),
    "false": (230, 97, 0),
    "ignored": (128, 128, 128),
}


def verdict(task, image, mask, predicted):
    return judge(image, task.layers(mask), task.layers(predicted), task.judged(mask))


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
    picture, score = verdict(TASK, image, mask, predicted)
    names = ["right", "taken", "missed", "false", None, "ignored"]
    for pixel, name in zip(picture[0], names, strict=True):
        expected = np.full(3, 50) if name is None else 25 + np.array(VERDICTS[name]) / 1.5
        np.testing.assert_allclose(pixel, expected, atol=1)
    assert score == "mean F1 0.500"  # of cat, 2 * 1 / (3 + 1); dog is not in the mask


def test_an_empty_mask_has_no_score():
    mask, predicted = np.uint8([[0, 0, 255]]), np.array([[1, 0, 2]])
    assert verdict(TASK, np.zeros((1, 3, 3), np.uint8), mask, predicted)[1] == "empty, 1 px raised"


def test_pictures_have_the_palette_in_mask_and_prediction(tmp_path):
    mask = np.zeros((2, 16, 16, 1), np.uint8)
    mask[:, :8] = 1
    predicted = np.full((2, 16, 16), 2)
    save_class_predictions(tmp_path / "p.png", np.full((2, 16, 16, 3), 100, np.uint8), mask, predicted, TASK)
    with Image.open(tmp_path / "p.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    colours = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert {(128, 0, 0), (0, 128, 0)} <= colours


def test_a_pixel_of_several_labels_is_right_with_all_of_them_and_no_other():
    mask = np.uint8([[[1, 1], [1, 1], [1, 1], [0, 0], [1, 255], [255, 255]]])
    predicted = np.uint8([[[1, 1], [1, 0], [0, 0], [0, 1], [1, 1], [1, 1]]])
    picture, score = verdict(LABELS, np.full((1, 6, 3), 100, np.uint8), mask, predicted)
    names = ["right", "taken", "missed", "false", "right", "ignored"]
    for pixel, name in zip(picture[0], names, strict=True):
        np.testing.assert_allclose(pixel, 25 + np.array(VERDICTS[name]) / 1.5, atol=1)
    # cat: 3 of 4 found, no other raised; dog: 1 of 3, one other raised.
    assert score == f"mean F1 {(6 / 7 + 2 / 5) / 2:.3f}"


def test_where_labels_overlap_the_smallest_is_on_top():
    layers = np.zeros((4, 4, 3), bool)
    layers[..., 0], layers[1:, :, 2], layers[2:, 2:, 1] = True, True, True
    assert flatten(layers).tolist() == [[1, 1, 1, 1], [3, 3, 3, 3], [3, 3, 2, 2], [3, 3, 2, 2]]
    assert not flatten(np.zeros((2, 2, 3), bool)).any()
