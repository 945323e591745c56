import csv
import json

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics

from kseg.commands import evaluate as command
from kseg.data.classes import Classes
from kseg.data.labels import Foreground
from kseg.task import Task
from tests.inference.models import CLASSES, bright, save

pytestmark = pytest.mark.slow

RULE = Classes(("grey", "white"), (5, 9), {5: "grey", 9: "white"})


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Images of three grey levels in two folders, and masks that are right but for some pixels; 255 is ignored."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for index in range(6):
        classes = np.kron(rng.integers(0, 3, (3, 4)), np.ones((9, 8), int))[: 20 + index]
        mask = np.where(rng.random(classes.shape) < 0.1, rng.integers(0, 3, classes.shape), classes)
        stored = np.array([0, 5, 9])[mask]
        stored[0] = 255
        for kind, values in (("images", np.array([20, 150, 250])[classes]), ("masks", stored)):
            path = tmp_path / "set" / kind / ("east" if index % 2 else "west") / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(path)
    return tmp_path / "set"


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def pairs(data, table):
    """All valid pixels as (truth, what the image shows)."""
    truth, shown = [], []
    for path in sorted((data / "masks").rglob("*.png")):
        mask = np.asarray(Image.open(path))
        image = np.asarray(Image.open(data / "images" / path.relative_to(data / "masks")))
        truth.append(np.vectorize(table.get)(mask[mask != 255]))
        shown.append(np.searchsorted([100, 200], image)[mask != 255])
    return np.concatenate(truth), np.concatenate(shown)


def classes_model(path, **metadata):
    """A model that tells the three grey levels apart without fail."""
    model = bright(outputs=3)
    kernel, _ = model.layers[-1].get_weights()
    # Of logits k (x - 127.5) / 12.75 with a bias, neighbouring ones cross between the levels.
    model.layers[-1].set_weights([kernel, np.float32([0, 3.3, 0])])
    return save(path, model, task=CLASSES, **metadata)


def test_groups_are_those_of_a_column_of_the_table(data, tmp_path, capsys):
    lines = ["image,mask,split,Scanner"]
    for index, path in enumerate(sorted((data / "images").rglob("*.png"))):
        name = path.relative_to(data / "images")
        lines.append(f"images/{name},masks/{name},{'val' if index else 'train'},{'old' if index < 3 else ''}")
    (data / "all.csv").write_text("\n".join(lines) + "\n")
    model = classes_model(tmp_path / "model.keras", rule=RULE)
    assert run(model, "--dataset", data, "--split", "all", "--out", "result", "--group-by", "scanner") == 0
    groups = json.loads((tmp_path / "result/evaluation.json").read_text())["groups"]
    assert {name: group["images"] for name, group in groups.items()} == {"old": 3, "no group": 3}
    assert run(model, "--dataset", data, "--out", "other", "--group-by", "site") == 2
    assert "expected folder, a column of the table (scanner, split), or a regular" in capsys.readouterr().err


def test_scores_of_classes_are_those_of_scikit_learn_at_the_images_own_size(data, tmp_path, capsys):
    model = classes_model(tmp_path / "model.keras", rule=RULE)
    assert run(model, "--dataset", data, "--split", "all", "--out", "result", "--group-by", "folder") == 0
    truth, shown = pairs(data, {0: 0, 5: 1, 9: 2})
    summary = json.loads((tmp_path / "result/evaluation.json").read_text())
    assert summary["mean"]["f1"] == pytest.approx(metrics.f1_score(truth, shown, labels=[1, 2], average="macro"))
    assert summary["classes"]["grey"]["iou"] == pytest.approx(metrics.jaccard_score(truth == 1, shown == 1))
    assert summary["mean"]["accuracy"] == pytest.approx(metrics.accuracy_score(truth, shown))
    low, high = summary["interval_95"]["f1"]
    assert low < summary["mean"]["f1"] < high
    assert set(summary["groups"]) == {"east", "west"}
    output = capsys.readouterr().out
    assert "6 images of" in output
    assert "same answer everywhere" in output
    with (tmp_path / "result/images.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [row["image"].rpartition("/")[2] for row in rows] == [
        "1.png",
        "3.png",
        "5.png",
        "0.png",
        "2.png",
        "4.png",
    ] or len(rows) == 6
    assert sum(int(row["tp_white"]) for row in rows) == ((truth == 2) & (shown == 2)).sum()
    assert (tmp_path / "result/evaluation.png").exists()


def test_a_set_without_one_of_the_classes_is_scored_on_the_others(data, tmp_path):
    for path in (data / "masks").rglob("*.png"):
        mask = np.array(Image.open(path))
        mask[mask == 5] = 0
        Image.fromarray(mask).save(path)
    model = classes_model(tmp_path / "model.keras", rule=RULE)
    assert run(model, "--dataset", data, "--split", "all", "--out", "result") == 0
    summary = json.loads((tmp_path / "result/evaluation.json").read_text())
    assert summary["classes"]["grey"]["f1"] is None
    assert summary["mean"]["f1"] == summary["classes"]["white"]["f1"]


def test_one_class_and_the_best_constant_answer(data, tmp_path):
    rule = Foreground((9,))
    model = save(tmp_path / "model.keras", task=Task("binary", ("white",)), rule=rule, threshold=0.99)
    assert run(model, "--dataset", data, "--split", "all", "--out", "result") == 0
    truth, shown = pairs(data, {0: 0, 5: 0, 9: 1})
    summary = json.loads((tmp_path / "result/evaluation.json").read_text())
    assert summary["mean"]["f1"] == pytest.approx(metrics.f1_score(truth, shown == 2))
    share = truth.mean()
    assert summary["trivial"]["f1"] == {"score": pytest.approx(2 * share / (1 + share)), "answer": "all white"}
    assert summary["trivial"]["accuracy"]["score"] == pytest.approx(max(share, 1 - share))


def test_images_of_16_bits_are_scaled_as_in_training_though_the_new_ones_are_darker(tmp_path):
    # The brightest is 900 of the 4095 of training: by this set alone 10 bits would do, and it would be foreground.
    for kind, value in (("images", 900), ("masks", 255)):
        (tmp_path / "dark" / kind).mkdir(parents=True)
        for index in range(3):
            picture = np.zeros((8, 8), np.uint16 if kind == "images" else np.uint8)
            picture[:, 4:] = value
            Image.fromarray(picture).save(tmp_path / "dark" / kind / f"{index}.png")
    model = save(tmp_path / "model.keras", rule=Foreground((255,), ignored=()), bit_depth=12)
    for flags, recall in (([], 0.0), (["--bit-depth", "10"], 1.0)):
        assert run(model, "--dataset", tmp_path / "dark", "--split", "all", "--out", tmp_path / "result", *flags) == 0
        assert json.loads((tmp_path / "result/evaluation.json").read_text())["mean"]["recall"] == recall


def test_a_foreign_model_is_told_how_to_read_the_masks(data, tmp_path, capsys):
    bright().save(tmp_path / "model.keras")
    assert run(tmp_path / "model.keras", "--dataset", data, "--foreground", "9", "--split", "all", "--out", "a") == 0
    assert run(tmp_path / "model.keras", "--dataset", data, "--split", "all", "--out", "b") == 2
    assert "are read as 3 classes: 0 background, 1 5, 2 9, and the model is for binary" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "comes from no run of kseg train. Name a --dataset."),
        (["--dataset", "set", "--group-by", "(a"], "group_by: '(a' is no regular expression"),
        (["--dataset", "set", "--group-by", "a"], "group_by: 'a' has 0 groups in brackets; expected folder"),
        (["--dataset", "gone"], "There is no data set 'gone'"),
    ],
)
def test_what_has_to_be_put_right_is_said_with_status_2(arguments, message, data, tmp_path, capsys):
    model = save(tmp_path / "model.keras", rule=Foreground((9,)))
    assert run(model, *arguments) == 2
    assert message in capsys.readouterr().err


def test_classes_are_matched_by_their_names(data, tmp_path, capsys):
    other = save(tmp_path / "other.keras", bright(outputs=3), task=CLASSES, rule=RULE)
    assert run(other, "--dataset", "shapes/classes", "--out", "y") == 2
    assert "has no class grey, white, which the model tells apart" in capsys.readouterr().err
