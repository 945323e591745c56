"""Runs of several classes, from masks to the files that a run leaves."""

import csv

import keras
import numpy as np
import pytest
from PIL import Image

from kseg.config.train import ModelOptions, TrainConfig
from kseg.errors import KsegError
from kseg.runs import train
from kseg.runs.model import balance, check_task, make_loss
from kseg.task import Task
from tests.gradients import to_numpy

NAMES = ("red", "green", "blue")
FOUR = Task("multiclass", ("background", *NAMES))


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Sixteen pictures with a square in each of three colours, which are the classes."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("squares")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(16):
        mask, image = np.zeros((32, 32), np.uint8), rng.normal(60, 8, (32, 32, 3))
        for value in rng.permutation(3):
            y, x = rng.integers(0, 22, 2)
            mask[y : y + 10, x : x + 10] = value + 1
            image[y : y + 10, x : x + 10] = 60
            image[y : y + 10, x : x + 10, value] = 200
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    return folder


def settings(folder, run, **others):
    small = {"image_size": 32, "batch_size": 4, "epochs": 2, "class_names": NAMES, "augment": "none"}
    network = {"model": "tests.runs.test_optimizers:own_model"}  # which is compiled at once
    return TrainConfig(**small | network | {"dataset": str(folder), "run_dir": run} | others)


@pytest.mark.slow
def test_a_run_of_classes_says_its_task_and_scores_each_class(folder, tmp_path, capsys):
    result = train(settings(folder, tmp_path / "run", epochs=25, lr=0.01))
    log = (result.run.path / "train.log").read_text()
    assert "Task: 4 classes: 0 background, 1 red, 2 green, 3 blue; 255 ignored" in log
    assert "Mask values: 1 is red, 2 is green, 3 is blue; 255 is ignored" in log
    assert "Class  Val F1  Val IoU  Pixels" in log
    assert "Classes:     logits.argmax(-1) is the index of each pixel's class" in log
    with result.run.history.open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        scores = [float(row[f"val_f1_{name}"]) for name in NAMES]
        assert float(row["val_f1"]) == pytest.approx(np.mean(scores), rel=1e-5)
    assert result.best_f1 > 0.5
    assert result.model.output_shape[-1] == 4
    with Image.open(result.run.pictures) as picture:
        assert picture.size[0] > 300


@pytest.mark.slow
def test_a_resumed_run_of_classes_ends_with_the_same_bits(folder, tmp_path):
    whole = train(settings(folder, tmp_path / "whole"))
    train(settings(folder, tmp_path / "parts", epochs=1))
    # The learning rate depends on the number of epochs, so the first epoch is that of a run of one.
    parts = train(settings(folder, tmp_path / "parts"), resume=True)
    again = train(settings(folder, tmp_path / "again", epochs=1))
    again = train(settings(folder, tmp_path / "again"), resume=True)
    assert len(whole.history) == len(parts.history) == 2
    for one, two in zip(parts.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, two)
    with pytest.raises(KsegError, match=r"cannot be changed in mid-run: class_names \['red', 'green', 'blue'\] -> "):
        train(settings(folder, tmp_path / "parts", epochs=3, class_names=("a", "b", "c")), resume=True)


@pytest.mark.slow
def test_one_selected_class_is_a_binary_run(folder, tmp_path):
    result = train(settings(folder, tmp_path / "run", classes=["green"], epochs=1))
    log = (result.run.path / "train.log").read_text()
    assert "Task: binary: green against background" in log
    assert result.model.output_shape[-1] == 1


@pytest.mark.slow
def test_the_output_bias_is_the_share_of_each_class(folder, tmp_path):
    shares = np.bincount(
        np.concatenate([np.asarray(Image.open(path)).ravel() for path in (folder / "masks").iterdir()]), minlength=4
    ) / (16 * 32 * 32)
    result = train(settings(folder, tmp_path / "run", output_bias="prior", epochs=1, lr=1e-12))
    model = keras.models.load_model(result.run.last, compile=False)
    probabilities = to_numpy(keras.ops.softmax(model.layers[-1].bias))
    np.testing.assert_allclose(probabilities, shares, atol=0.02)  # of the training images, and not of all


def test_balanced_weights_have_a_mean_of_1_over_the_pixels_and_favour_what_is_rare():
    shares = [0.9, 0.09, 0.01, 0.0]
    weights = balance(shares)
    assert np.dot(shares, weights) == pytest.approx(1)
    assert weights[2] / weights[0] == pytest.approx((0.9 / 0.01) ** 0.5)
    assert weights[3] == weights[2]
    loss = make_loss(ModelOptions(class_weight="balanced"), shares)
    assert loss.get_config()["class_weight"] == weights
    assert make_loss(ModelOptions(class_weight=(1, 2))).get_config()["class_weight"] == [1, 2]


@pytest.mark.parametrize(
    ("task", "options", "message"),
    [
        (FOUR, {"loss": "bce"}, "loss: bce is for one class; expected cross_entropy for 4 classes: 0 background"),
        (FOUR, {"threshold": 0.3}, "threshold: 0.3 is not allowed for several classes, of which the most probable"),
        (FOUR, {"threshold": "auto"}, "threshold: auto is not allowed for several classes"),
        (FOUR, {"class_weight": (1, 2)}, "class_weight: 2 weights are not allowed; expected 4, for background, red, "),
        (Task(), {"class_weight": (1, 2, 3)}, "3 weights are not allowed; expected 2, for background, foreground"),
    ],
)
def test_settings_that_do_not_fit_the_task_are_refused(task, options, message):
    with pytest.raises(KsegError, match=message):
        check_task(task, ModelOptions(**options))


def test_a_loss_without_class_weights_says_so():
    with pytest.raises(KsegError, match="loss bce with .*: The loss 'bce' takes no 'class_weight'"):
        make_loss(ModelOptions(loss="bce", class_weight=(1, 2)))
    with pytest.raises(KsegError, match="loss bce with {'class_weight': 'balanced'}: The loss 'bce' takes no"):
        make_loss(ModelOptions(loss="bce", class_weight="balanced"))
