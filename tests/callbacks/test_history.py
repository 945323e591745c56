import csv
import json

import pytest

from kseg.callbacks import EpochSeconds, HistoryFile
from kseg.checkpoints.memory import Memory
from kseg.diagnosis.rules import code_of
from kseg.errors import KsegError


def test_each_epoch_has_its_finding(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    for epoch, cause in enumerate([None, "all_background"]):
        history.on_epoch_end(epoch, {"loss": 0.5, "finding": code_of(cause)})
    with history.path.open() as file:
        assert [row["finding"] for row in csv.DictReader(file)] == ["", "all_background"]


def test_each_epoch_has_a_row_and_a_history_continues(tmp_path):
    path = tmp_path / "history.csv"
    history = HistoryFile(path)
    history.on_epoch_end(0, {"loss": 0.5})
    continued = HistoryFile(path)
    continued.set_state(history.get_state())
    continued.on_epoch_end(1, {"loss": 0.25, "val_f1": 0.75})
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "loss": "0.5", "val_f1": ""},
        {"epoch": "2", "loss": "0.25", "val_f1": "0.75"},
    ]


def test_rows_get_new_columns(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    for epoch in range(3):
        history.on_epoch_end(epoch, {"loss": 0.5 * epoch, "finding": 0.0})
    resumed = HistoryFile(history.path)
    resumed.set_state(json.loads(json.dumps(history.get_state())))
    resumed.on_epoch_end(3, {"loss": 1.0, "finding": 0.0})
    resumed.on_epoch_end(4, {"loss": 1.0, "finding": 0.0, "val_f1": 0.25})
    assert history.path.read_text().splitlines() == [
        "epoch,loss,finding,val_f1",
        *("1,0.0,,", "2,0.5,,", "3,1.0,,", "4,1.0,,", "5,1.0,,0.25"),
    ]


def test_rows_of_older_versions_go_on(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    rows = [
        {"epoch": 1, "loss": 0.1 + 0.2, "finding": code_of("all_background")},
        {"epoch": 2, "loss": 1e-7, "val_f1": 1 / 3},
    ]
    history.set_state({"rows": rows})
    history.on_epoch_end(2, {"loss": 0.5, "val_f1": float("nan")})
    assert history.path.read_text().splitlines() == [
        "epoch,loss,finding,val_f1",
        *("1,0.30000000000000004,all_background,", "2,1e-07,,0.3333333333333333", "3,0.5,,nan"),
    ]


def test_a_full_disk_keeps_the_rows_before(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    history = HistoryFile(tmp_path / "history.csv")
    history.on_epoch_end(0, {"loss": 0.5})
    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(KsegError, match="Cannot write to .*: No space left on device. Files written earlier"):
        history.on_epoch_end(1, {"loss": 0.25})
    assert history.path.read_text().splitlines() == ["epoch,loss", "1,0.5"]


def test_seconds_of_each_epoch_are_added_to_their_file(tmp_path, monkeypatch):
    now = iter([10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr("kseg.callbacks.history.time.monotonic", lambda: next(now))
    for epoch in (0, 1):
        seconds = EpochSeconds(tmp_path / "seconds.csv")  # as in another process
        seconds.on_epoch_begin(epoch)
        seconds.on_epoch_end(epoch)
    assert (tmp_path / "seconds.csv").read_text() == "epoch,seconds\n1,2.5\n2,0.2\n"


def test_no_checkpoint_holds_the_time(tmp_path):
    seconds = EpochSeconds(tmp_path / "seconds.csv")
    memory = Memory([seconds])
    seconds.on_epoch_begin(0)
    assert memory.read() == [{"callback": "EpochSeconds", "memory": {}}]
    memory.write([{"callback": "EpochSeconds", "memory": {"_began": 9.0}}])  # of an older file
    assert seconds._began != 9.0
