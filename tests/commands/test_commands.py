import logging
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kseg.commands import audit
from kseg.commands import main as cli
from kseg.reports.predictions import save_predictions
from kseg.runs.directory import RunDirectory

pytestmark = pytest.mark.backend_free

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def debug_masks():
    return runpy.run_path(str(SCRIPTS / "debug_masks.py"))["main"]


def folder_of(folder, *shares):
    for split in ("train", "val"):
        for kind in ("images", "masks"):
            (folder / split / kind).mkdir(parents=True)
        for index, share in enumerate(shares):
            mask = np.zeros(100, np.uint8)
            mask[: round(share * 100)] = 255
            Image.fromarray(mask.reshape(10, 10)).save(folder / split / f"masks/{index}.png")
            Image.new("L", (10, 10)).save(folder / split / f"images/{index}.png")
    return str(folder)


def test_debug_masks_reports_both_splits(debug_masks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert debug_masks(folder_of(tmp_path / "set", 0, 0.5)) == 0
    report = capsys.readouterr().out
    assert "pairs:       4 (train 2, val 2)" in report
    assert "empty:       2 of 4 masks (50%)" in report
    assert "values:      0, 255" in report


def test_debug_masks_ends_with_1_when_no_mask_has_foreground(debug_masks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert debug_masks(folder_of(tmp_path / "set", 0, 0)) == 1
    assert "No mask has any foreground" in capsys.readouterr().out


def test_audit_writes_its_two_files_beside_and_not_into_the_data_set(tmp_path, monkeypatch, capsys):
    folder = folder_of(tmp_path / "set", 0.5)
    held = sorted(Path(folder).rglob("*"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kseg", "audit", folder])
    assert cli.main() == 0
    assert sorted(path.name for path in (tmp_path / "audit-set").iterdir()) == ["audit.html", "audit.json"]
    monkeypatch.chdir(folder)
    assert audit.main(["."]) == 2
    assert "audit-set lies in the data set ., where kseg writes nothing" in capsys.readouterr().err
    assert sorted(Path(folder).rglob("*")) == held


def test_audit_ends_with_2_when_nothing_can_be_read(tmp_path, capsys):
    (tmp_path / "set/images").mkdir(parents=True)
    assert audit.main([str(tmp_path / "set"), "--output", str(tmp_path / "out")]) == 2
    assert f"There is no folder {tmp_path / 'set/masks'}. Expected" in capsys.readouterr().err
    (tmp_path / "set/masks").mkdir()
    for kind in ("images", "masks"):
        (tmp_path / f"set/{kind}/a.png").write_text("no picture")
    assert audit.main([str(tmp_path / "set"), "--output", str(tmp_path / "out")]) == 2
    assert (
        "ERROR  files that cannot be read: 2  [unreadable]\n    images/a.png  cannot be read: cannot identify"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "status", "rule"),
    [
        (["--foreground", "1", "3"], 1, "value 1, 3; ignored: 255 (as set)"),
        (["--foreground", "any"], 0, "every value but 0 (as set)"),
        (["--workers", "1"], 0, "value 255 (the masks hold 0 and 255)"),
    ],
)
def test_audit_takes_the_foreground_as_kseg_train_does(arguments, status, rule, tmp_path, capsys):
    assert audit.main([folder_of(tmp_path / "set", 0.5), "--output", str(tmp_path / "out"), *arguments]) == status
    assert f"foreground is {rule}" in capsys.readouterr().out


def test_debug_masks_ends_with_2_when_there_is_nothing_to_read(debug_masks, capsys):
    assert debug_masks("./nowhere") == 2
    assert "kseg: There is no folder ./nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "status"), [([], 0), (["--help"], 0), (["fly"], 2)])
def test_kseg_says_what_it_can_do(arguments, status, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", *arguments])
    assert cli.main() == status
    assert "kseg train --help\n  kseg audit --help" in capsys.readouterr().out


def test_kseg_train_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", "train", "--dataset", "./nowhere"])
    assert cli.main() == 2
    assert "There is no folder ./nowhere" in capsys.readouterr().err


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


def test_a_run_leaves_the_logger_as_it_was(tmp_path, capsys):
    logger = logging.getLogger("kseg")
    before = (logger.level, logger.propagate, list(logger.handlers), logger.isEnabledFor(logging.INFO))
    with RunDirectory(tmp_path).logging():
        logger.info("an epoch")
        logger.warning("a warning")
    assert (logger.level, logger.propagate, list(logger.handlers), logger.isEnabledFor(logging.INFO)) == before
    assert capsys.readouterr().out == "an epoch\n\na warning\n"
    assert [line.split(" ", 2)[2] for line in (tmp_path / "train.log").read_text().splitlines()] == [
        "an epoch",
        "a warning",
    ]
