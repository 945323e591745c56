import csv

import numpy as np
import pytest
from PIL import Image

from kseg.commands import predict as command
from kseg.task import Task
from tests.inference.models import CLASSES, bright, save

pytestmark = pytest.mark.slow

WHITE = 255


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three images in two folders, and one file that is no image."""
    monkeypatch.chdir(tmp_path)
    images = tmp_path / "photos"
    (images / "deep").mkdir(parents=True)
    picture = np.zeros((30, 40), np.uint8)
    picture[2:10, 5:15] = WHITE
    picture[20:25, 20:38] = WHITE
    Image.fromarray(picture).save(images / "two.png")
    Image.fromarray(picture[:12, :20]).save(images / "deep/one.png")
    Image.fromarray(np.full((9, 7), 3, np.uint8)).save(images / "deep/none.jpg", quality=100)
    return images


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


def table(path):
    with (path / "predictions.csv").open() as lines:
        return list(csv.DictReader(lines))


def test_masks_and_a_table(folder, tmp_path, capsys):
    model = save(tmp_path / "model.keras", task=Task("binary", ("cell",)))
    assert run(model, folder, "--out", "out") == 0
    assert "3 images predicted. See out" in capsys.readouterr().out
    mask = Image.open("out/masks/two.png")
    assert mask.mode == "L"
    np.testing.assert_array_equal(np.asarray(mask), np.asarray(Image.open(folder / "two.png")))
    expected = [
        ["deep/none", "9", "7", "0", "0", "0"],
        ["deep/one", "12", "20", "80", "0.333333", "1"],
        ["two", "30", "40", "170", "0.141667", "2"],
    ]
    assert [list(row.values()) for row in table(tmp_path / "out")] == expected
    assert list(table(tmp_path / "out")[0]) == [
        "image", "height", "width", "pixels_cell", "share_cell", "instances_cell"
    ]  # fmt: skip


def test_class_indices_come_with_the_colours_of_the_masks_or_those_of_voc(folder, tmp_path):
    colours = ("#0000ff", "ignore=#ffffff", "#00ff00", "#ff0000")
    for name, given, expected in (
        ("plain", (), [(0, 0, 0), (128, 0, 0), (0, 128, 0)]),
        ("coloured", colours, [(0, 0, 255), (0, 255, 0), (255, 0, 0)]),
    ):
        model = save(tmp_path / f"{name}.keras", bright(outputs=3), task=CLASSES, colours=given)
        assert run(model, folder, "--out", name) == 0
        mask = Image.open(f"{name}/masks/two.png")
        assert mask.mode == "P"
        assert set(np.unique(np.asarray(mask))) == {0, 2}
        assert np.array(mask.getpalette()[:9]).reshape(3, 3).tolist() == [list(colour) for colour in expected]
        assert {"pixels_grey", "pixels_white"} <= table(tmp_path / name)[0].keys()


def test_probabilities_and_overlays(folder, tmp_path):
    model = save(tmp_path / "model.keras", bright(outputs=3), task=CLASSES)
    assert run(model, folder / "two.png", "--out", "npy", "--probabilities", "npy", "--overlays") == 0
    probabilities = np.load("npy/probabilities/two.npy")
    assert probabilities.shape == (30, 40, 3)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert run(model, folder / "two.png", "--out", "png", "--probabilities", "png") == 0
    for index, name in enumerate(CLASSES.classes):
        stored = np.asarray(Image.open(f"png/probabilities/two_{name}.png"))
        np.testing.assert_allclose(stored / 65535, probabilities[..., index], atol=1e-5)
    overlay = np.asarray(Image.open("npy/overlays/two.jpg")).astype(int)
    assert overlay.shape == (30, 40, 3)
    assert overlay[15, 20].max() < 20  # background stays as it is
    assert overlay[6, 10, 1] > overlay[6, 10, 0] + 20  # white is the second class: green


def test_it_goes_on_where_it_was_interrupted(folder, tmp_path, monkeypatch, capsys):
    model = save(tmp_path / "model.keras")
    from kseg.inference import predict as module

    calls = []
    original = module._predict_one

    def interrupted(predictor, one, *rest):
        calls.append(one.name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        original(predictor, one, *rest)

    monkeypatch.setattr(module, "_predict_one", interrupted)
    assert run(model, folder, "--out", "out") == 130
    assert len(table(tmp_path / "out")) == 2
    assert run(model, folder, "--out", "out") == 0
    assert calls == ["deep/none", "deep/one", "two", "two"]
    assert "1 images predicted; 2 were there already" in capsys.readouterr().out
    assert [row["image"] for row in table(tmp_path / "out")] == ["deep/none", "deep/one", "two"]
    assert run(model, folder, "--out", "out", "--overwrite") == 0
    assert "3 images predicted. See out" in capsys.readouterr().out


def test_a_bad_image_is_named_and_the_others_are_done(folder, tmp_path, capsys):
    (folder / "bad.png").write_bytes((folder / "two.png").read_bytes()[:60])
    assert run(save(tmp_path / "model.keras"), folder, "--out", "out") == 1
    output = capsys.readouterr()
    assert "3 images predicted; 1 could not be read" in output.out
    assert "bad.png cannot be read" in output.err
    assert not (tmp_path / "out/masks/bad.png").exists()


def test_results_of_other_settings_are_not_mixed(folder, tmp_path, capsys):
    model = save(tmp_path / "model.keras")
    assert run(model, folder, "--out", "out") == 0
    assert run(model, folder, "--out", "out", "--threshold", "0.3") == 2
    assert "out holds results with another threshold: None, now 0.3. Give another --out, or --overwrite" in (
        capsys.readouterr().err
    )
    (tmp_path / "full").mkdir()
    (tmp_path / "full/notes").write_text("mine")
    assert run(model, folder, "--out", "full") == 2
    assert "full is not empty, and holds no results of kseg predict" in capsys.readouterr().err


def test_settings_that_cannot_be_read_are_said(folder, tmp_path, capsys):
    model = save(tmp_path / "model.keras")
    (tmp_path / "out").mkdir()
    for content in ("{bad", "7"):
        (tmp_path / "out/predict.json").write_text(content)
        assert run(model, folder, "--out", "out") == 2
        assert "predict.json cannot be read: " in capsys.readouterr().err


@pytest.mark.parametrize("out", ["file", "masks/mask.png", "results.csv"])
def test_a_file_to_write_to_is_refused(folder, tmp_path, out, capsys):
    model = save(tmp_path / "model.keras")
    (tmp_path / "file").write_text("mine")
    assert run(model, folder, "--out", out) == 2
    assert f"{out} is a file, or is named like one; expected a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_tiles_and_other_views_from_the_command(folder, tmp_path):
    model = save(tmp_path / "model.keras", image_size=(16, 16), size_multiple=8)
    assert run(model, folder, "--out", "out", "--tile", "16", "--tta", "mirrors", "--ensemble", model) == 0
    np.testing.assert_array_equal(
        np.asarray(Image.open("out/masks/two.png")), np.asarray(Image.open(folder / "two.png"))
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos"], "out"),
        (["--out", "out"], "There is nothing to predict; expected images"),
        (["gone.png", "--out", "out"], "gone.png does not exist"),
        (["photos", "--out", "out", "--tile", "12"], "tile: 12 is not a multiple of 8; near it are 8 and 16"),
        (["photos", "--out", "out", "--overlap", "0.25"], "overlap: 0.25 is not allowed without tiles; expected also"),
        (["photos", "--out", "out", "--overlap", "1"], "overlap: 1.0 is not allowed; expected less than 1"),
    ],
)
def test_what_has_to_be_put_right_is_said_with_status_2(arguments, message, folder, tmp_path, capsys):
    model = save(tmp_path / "model.keras", size_multiple=8)
    try:
        status = run(model, *arguments)
    except SystemExit as exit:
        status = exit.code
    output = capsys.readouterr()
    assert status == 2
    assert message in " ".join((output.out + output.err).replace("│", " ").split())


@pytest.mark.parametrize(
    ("how", "file"), [("coco", "coco.json"), ("labelme", "deep/one.json"), ("yolo", "deep/one.txt")]
)
def test_polygons_keep_the_names(how, file, folder, tmp_path):
    assert run(save(tmp_path / "model.keras"), folder, "--out", "out", "--polygons", how) == 0
    text = (tmp_path / "out/polygons" / file).read_text()
    assert {"coco": '"file_name": "deep/one.png"', "labelme": '"imagePath": "one.png"', "yolo": "0 0."}[how] in text
