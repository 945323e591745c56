import runpy
from pathlib import Path

import pytest

from tests.commands.folders import folder_of

pytestmark = pytest.mark.backend_free

SCRIPTS = Path(__file__).parent.parent / "scripts"


@pytest.fixture
def debug_masks():
    return runpy.run_path(str(SCRIPTS / "debug_masks.py"))["main"]


def test_debug_masks_reports_both_splits(debug_masks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert debug_masks(["--dataset", folder_of(tmp_path / "set", 0, 0.5)]) == 0
    report = capsys.readouterr().out
    assert "pairs:       4 (train 2, val 2)" in report
    assert "empty:       2 of 4 masks (50%)" in report
    assert "values:      0, 255" in report


def test_debug_masks_ends_with_1_when_no_mask_has_foreground(debug_masks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert debug_masks(["--dataset", folder_of(tmp_path / "set", 0, 0)]) == 1
    assert "No mask has any foreground" in capsys.readouterr().out


def test_debug_masks_ends_with_2_when_there_is_nothing_to_read(debug_masks, capsys):
    assert debug_masks(["--dataset", "./nowhere"]) == 2
    assert "kseg: There is no folder ./nowhere" in capsys.readouterr().err
