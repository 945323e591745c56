import json

import pytest

from kseg.config import TrainConfig
from kseg.errors import KsegError
from kseg.runs.places import recall_places, remember_places, without_places

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_what_a_run_was_started_with_is_recalled_whatever_its_files_say(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    remember_places(run, TrainConfig(dataset="mine", data_dir=tmp_path / "tfds"))
    hostile = {"dataset": "evil.py", "data_dir": "/elsewhere"}
    assert recall_places(run, hostile, run) == {"dataset": "mine", "data_dir": str(tmp_path / "tfds")}
    (tmp_path / "link").symlink_to(run)
    assert recall_places(tmp_path / "link", hostile, run)["dataset"] == "mine"


@pytest.mark.parametrize("record", ["", "[]", "{}", '"text"', json.dumps({"run_dir": "x"})])
def test_a_damaged_record_is_none(tmp_path, home, record):
    remember_places(tmp_path, TrainConfig(dataset="mine"))
    (file,) = home.rglob("*.json")
    file.write_text(record)
    with pytest.raises(KsegError, match=r"last.keras names the data set folder, and the run in .* --data-dir there if"):
        recall_places(tmp_path, {"dataset": "folder", "data_dir": "there"}, tmp_path / "last.keras")


def test_a_built_in_data_set_needs_no_word_unless_a_folder_has_its_name(tmp_path, monkeypatch):
    assert recall_places(tmp_path, {"dataset": "shapes/rare", "data_dir": "/x"}, tmp_path) == {
        "dataset": "shapes/rare",
        "data_dir": None,
    }
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()
    with pytest.raises(KsegError, match="names the data set shapes, and the run in"):
        recall_places(tmp_path, {}, tmp_path)


def test_runs_that_are_gone_are_forgotten(tmp_path, home):
    for name in "ab":
        (tmp_path / name).mkdir()
        remember_places(tmp_path / name, TrainConfig(dataset=name))
    (tmp_path / "a").rmdir()
    remember_places(tmp_path / "b", TrainConfig(dataset="c"))
    assert [json.loads(file.read_text())["dataset"] for file in home.rglob("*.json")] == ["c"]


def test_no_setting_that_is_a_place_is_taken_from_a_file():
    settings = TrainConfig(dataset="x", run_dir="y", data_dir="z", lr=0.1).settings()
    assert settings.keys() - without_places(settings).keys() == {"dataset", "run_dir", "data_dir", "start_from"}
    assert without_places({"unknown": 1}) == {"unknown": 1}
