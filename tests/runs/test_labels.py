"""Runs of several labels that overlap, from masks to the files that a run leaves, and what is done with the model."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import kseg
from kseg.audit import audit
from kseg.commands import evaluate, predict
from kseg.config.train import ModelOptions, TrainConfig
from kseg.data import open_sources
from kseg.errors import KsegError
from kseg.runs import train
from kseg.runs.model import balance, check_task
from kseg.task import Task

NAMES = ("blue", "green", "red")
TASK = Task("multilabel", NAMES)


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Pictures with a square in each of three colours; where squares overlap, so do the colours and the labels."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("overlap")
    for part in ("images", *(f"masks/{name}" for name in NAMES)):
        (folder / part).mkdir(parents=True)
    for index in range(16):
        image = rng.normal(60, 8, (32, 32, 3))
        for place, name in enumerate(NAMES):
            mask = np.zeros((32, 32), np.uint8)
            y, x = rng.integers(0, 18, 2)
            mask[y : y + 14, x : x + 14] = 255
            image[mask > 0, 2 - place] = 200
            Image.fromarray(mask).save(folder / f"masks/{name}/{index}.png")
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"images/{index}.png")
    return folder


@pytest.fixture(scope="session")
def result(folder, tmp_path_factory):
    config = TrainConfig(
        dataset=str(folder), run_dir=tmp_path_factory.mktemp("runs") / "run", image_size=32,
        model="tests.runs.test_optimizers:own_model", batch_size=4, epochs=50, lr=0.03, augment="none",
    )  # fmt: skip
    return train(config)


@pytest.mark.slow
def test_a_run_says_its_task_and_scores_each_label(result):
    log = (result.run.path / "train.log").read_text()
    assert "Task: 3 labels: 0 blue, 1 green, 2 red; 255 ignored" in log
    assert "(every label)" in log
    last = result.history[-1]
    for name in NAMES:
        assert last[f"val_f1_{name}"] > 0.7
    assert last["val_f1"] == pytest.approx(np.mean([last[f"val_f1_{name}"] for name in NAMES]), abs=1e-6)
    with Image.open(result.run.pictures) as picture:
        assert picture.width == 640


@pytest.mark.slow
def test_predicted_labels_are_files_that_training_reads(result, folder, tmp_path):
    out = tmp_path / "out"
    model = str(result.run.best)
    arguments = [model, str(folder / "images"), "--out", str(out), "--overlays", "--polygons", "coco"]
    assert predict.main(arguments) == 0
    predictor = kseg.load(model)
    for image in sorted((folder / "images").iterdir()):
        mask = predictor(str(image))
        assert mask.shape == (32, 32, 3)
        for place, name in enumerate(NAMES):
            written = np.asarray(Image.open(out / f"masks/{name}/{image.name}"))
            np.testing.assert_array_equal(written, 255 * mask[..., place])
    with (out / "predictions.csv").open() as lines:
        row = next(iter(csv.DictReader(lines)))
    mask = predictor(str(folder / f"images/{row['image']}.png"))
    assert [int(row[f"pixels_{name}"]) for name in NAMES] == mask.sum((0, 1)).tolist()
    (out / "masks").rename(tmp_path / "masks")
    shutil.copytree(folder / "images", tmp_path / "images")
    again = open_sources(str(tmp_path))[0]
    assert again.labels == NAMES


@pytest.mark.slow
def test_polygons_of_labels_overlap(result, folder, tmp_path):
    out = tmp_path / "out"
    assert predict.main([str(result.run.best), str(folder / "images"), "--out", str(out), "--polygons", "coco"]) == 0
    data = tmp_path / "coco"
    shutil.copytree(folder / "images", data / "images")
    (out / "polygons/coco.json").rename(data / "annotations.json")
    sources = open_sources(str(data), multilabel=True)
    predictor = kseg.load(result.run.best)
    for source in sources:
        for index, (image, _) in enumerate(source.pairs):
            np.testing.assert_array_equal(source.read_mask(index), predictor(str(image)))


@pytest.mark.slow
def test_an_evaluation_scores_each_label_by_itself(result, folder, tmp_path, capsys):
    command = [str(result.run.best), "--dataset", str(folder), "--split", "all", "--out", str(tmp_path / "scores")]
    assert evaluate.main(command) == 0
    scores = json.loads((tmp_path / "scores/evaluation.json").read_text())
    predictor = kseg.load(result.run.best)
    for place, name in enumerate(NAMES):
        tp = total = 0
        for image in (folder / "images").iterdir():
            truth = np.asarray(Image.open(folder / f"masks/{name}/{image.name}")) > 0
            found = predictor(str(image))[..., place] > 0
            tp, total = tp + (truth & found).sum(), total + truth.sum() + found.sum()
        assert scores["classes"][name]["f1"] == pytest.approx(2 * tp / total)
    assert scores["trivial"]["f1"]["answer"] == "every label"
    # With the best threshold of each label it scores what was foretold.
    best = [scores["best_threshold"][name] for name in NAMES]
    shown = "--threshold " + " ".join(f"{one['threshold']:.3f}" for one in best)
    assert shown in capsys.readouterr().out
    assert evaluate.main([*command[:-1], str(tmp_path / "again"), *shown.split()]) == 0
    again = json.loads((tmp_path / "again/evaluation.json").read_text())
    for name, one in zip(NAMES, best, strict=True):
        assert again["classes"][name]["f1"] == pytest.approx(one["f1"], abs=1e-9)


def test_the_audit_counts_each_label(folder):
    found = audit(str(folder), workers=1)
    assert [counted.name for counted in found.classes] == list(NAMES)
    for counted in found.classes:
        assert counted.pixels == 16 * 14 * 14
        assert counted.count == 16
    union = np.mean(list(found.shares.values()))
    assert 196 / 1024 < union < 3 * 196 / 1024


def test_settings_that_fit_no_labels_are_refused():
    with pytest.raises(KsegError, match="threshold: auto is not allowed for several labels; expected a number"):
        check_task(TASK, ModelOptions(threshold="auto"))
    with pytest.raises(KsegError, match="class_weight: 2 weights are not allowed; expected 3, for blue, green, red"):
        check_task(TASK, ModelOptions(class_weight=(1.0, 2.0)))
    check_task(TASK, ModelOptions(loss="bce", threshold=0.3))


def test_balanced_weights_of_labels_average_1_over_their_pixels():
    shares = [0.16, 0.04, 0.01]
    weights = np.array(balance(shares))
    np.testing.assert_allclose(weights / weights[0], [1, 2, 4])
    assert np.average(weights, weights=shares) == pytest.approx(1)
