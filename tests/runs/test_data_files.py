import json
import os
import shutil

import pytest

from kseg.errors import KsegError
from kseg.runs.data_files import RECORD, check_data_files

pytestmark = pytest.mark.backend_free


@pytest.fixture
def paths(tmp_path):
    """Files of two folders with the same names."""
    made = [tmp_path / f"set/{folder}/{number}.png" for folder in ("train/images", "val/images") for number in range(8)]
    for path in made:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {path.parent.parent.name} {path.name}".encode())
    return made


@pytest.fixture
def run(tmp_path, paths):
    folder = tmp_path / "run"
    folder.mkdir()
    check_data_files(paths, folder, None)
    return folder


def again(paths, run):
    check_data_files(paths, run, run / "last.keras")


def test_the_same_files_go_on_also_with_another_time_or_elsewhere(paths, run, tmp_path):
    again(paths, run)
    for path in paths:
        os.utime(path, (1, 1))
    again(paths, run)
    assert {entry[2] for entry in json.loads((run / RECORD).read_text())} == {10**9}
    shutil.copytree(tmp_path / "set", tmp_path / "moved")
    again([tmp_path / "moved" / path.relative_to(tmp_path / "set") for path in paths], run)


def test_files_of_another_content_and_the_same_size_are_named(paths, run):
    before = (run / RECORD).read_text()
    for path in paths[2:9]:
        path.write_bytes(path.read_bytes()[::-1])
    message = r"of 16 files, 7 have another content than .* train/images/2.png, .* and 2 more. Put them back, or start"
    for _ in range(2):
        with pytest.raises(KsegError, match=message):
            again(paths, run)
    assert (run / RECORD).read_text() == before


def test_of_a_large_file_both_ends_are_compared(paths, run):
    size = 65 * 2**20
    for place in (None, 5, size - 5):
        with paths[0].open("wb") as file:
            file.truncate(size)
            if place:
                file.seek(place)
                file.write(b"x")
        if place is None:
            check_data_files(paths, run, None)
        else:
            with pytest.raises(KsegError, match="1 have another content"):
                again(paths, run)


@pytest.mark.parametrize("record", ["", "{}", "[1]", '[["a"]]'])
def test_a_damaged_record_is_said_and_written_anew(paths, run, caplog, record):
    (run / RECORD).write_text(record)
    again(paths, run)
    assert "cannot be read: whether the data is the same" in caplog.text or record == "{}"
    assert len(json.loads((run / RECORD).read_text())) == len(paths)


def test_a_run_without_a_record_goes_on(paths, run):
    (run / RECORD).unlink()
    again(paths, run)
    assert (run / RECORD).exists()


def test_a_file_that_is_gone_is_named(paths, run):
    paths[3].unlink()
    with pytest.raises(KsegError, match=r"train/images/3.png cannot be read: No such file"):
        again(paths, run)
