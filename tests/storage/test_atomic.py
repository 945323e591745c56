import os
from pathlib import Path

import pytest

from kseg.errors import KsegError
from kseg.storage.atomic import explain_write_errors, temporary_path, write_atomically

pytestmark = pytest.mark.backend_free


@pytest.fixture
def path(tmp_path):
    """A file that exists already."""
    path = tmp_path / "history.csv"
    path.write_text("before")
    return path


def names(path):
    return sorted(one.name for one in path.parent.iterdir())


def test_a_file_is_replaced_and_the_temporary_one_is_gone(path):
    write_atomically(path, lambda temporary: temporary.write_text("after"))
    assert path.read_text() == "after"
    assert names(path) == ["history.csv"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_former_file_and_nothing_else(path, error):
    def fail(temporary):
        temporary.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, fail)
    assert path.read_text() == "before"
    assert names(path) == ["history.csv"]


def test_the_content_is_on_the_disk_before_the_file_has_its_name(path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def replaced(source, target):
        calls.append(f"{source.name} -> {target.name}")
        return replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    write_atomically(path, lambda temporary: temporary.write_text("after"))
    assert calls == [".history.part.csv", ".history.part.csv -> history.csv", path.parent.name]


def test_the_temporary_path_can_be_chosen(path):
    def write(temporary):
        assert temporary == path.with_name(".part")
        temporary.write_text("after")

    write_atomically(path, write, path.with_name(".part"))
    assert names(path) == ["history.csv"]


def test_the_temporary_name_is_hidden_and_keeps_the_suffix():
    assert temporary_path(Path("a/last.keras")) == Path("a/.last.part.keras")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError("unable to write\nsecond line"), "unable to write"),
        (RuntimeError("write() failed\nsecond line"), r"write\(\) failed"),
    ],
)
def test_an_error_says_what_to_do(tmp_path, error, reason):
    with (
        pytest.raises(
            KsegError,
            match=f"Cannot write to {tmp_path}: {reason}. Files written earlier are complete. Free disk space or check",
        ),
        explain_write_errors(tmp_path, RuntimeError),
    ):
        raise error


def test_other_errors_stay_what_they_are(tmp_path):
    with pytest.raises(RuntimeError, match="bug"), explain_write_errors(tmp_path):
        raise RuntimeError("bug")


def test_a_link_in_place_of_the_temporary_file_is_not_followed(tmp_path):
    other = tmp_path / "other"
    other.write_text("untouched")
    path = tmp_path / "file.txt"
    temporary_path(path).symlink_to(other)
    write_atomically(path, lambda temporary: temporary.write_text("new"))
    assert (other.read_text(), path.read_text(), path.is_symlink()) == ("untouched", "new", False)
