import json
import os
import sys
from pathlib import Path

import pytest

from kseg.commands import audit
from kseg.commands import main as cli
from tests.commands.folders import folder_of

pytestmark = pytest.mark.backend_free


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


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_names_that_are_no_utf_8_are_shown_and_written(tmp_path, capsys):
    folder = Path(folder_of(tmp_path / "set", 0.5))
    odd = os.fsdecode(b"odd\xff.png")
    image = next(path for path in sorted(folder.rglob("*.png")) if path.parent.name == "images")
    (image.parent / odd).write_bytes(image.read_bytes())  # an image without a mask
    assert audit.main([str(folder), "--output", str(tmp_path / "out")]) in (0, 1)
    assert r"odd\udcff.png" in capsys.readouterr().out
    files = [
        name
        for finding in json.loads((tmp_path / "out/audit.json").read_text())["findings"]
        for name in finding["files"]
    ]
    assert any(name.endswith(odd) for name in files)
    assert r"odd\udcff.png" in (tmp_path / "out/audit.html").read_text()
