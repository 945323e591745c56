import os
import platform
import shutil
import signal
import subprocess
import sys

import pytest

from kseg.errors import KsegError
from kseg.storage.lock import LOCK_FILE, lock, only_writer, unlock

pytestmark = pytest.mark.backend_free

LOCK_AND_WAIT = """
import sys, time, pathlib
from kseg.storage.lock import lock
lock(pathlib.Path(sys.argv[1]))
print("locked", flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(tmp_path):
    """Another process that has locked the folder."""
    process = subprocess.Popen([sys.executable, "-c", LOCK_AND_WAIT, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.communicate()


def use(folder):
    with only_writer(folder):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("take", [lock, use])
def test_a_second_process_is_refused_until_the_first_is_killed(take, owner, tmp_path):
    with pytest.raises(KsegError, match=f"in use by process {owner.pid} on {platform.node()}. Wait for it, end it"):
        take(tmp_path)
    owner.kill()
    owner.wait()
    take(tmp_path)
    unlock(tmp_path)


@pytest.mark.slow
def test_a_folder_that_was_removed_is_made_and_locked_anew(tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):
        lock(folder)
        lock(folder)  # does nothing
        code = f"import pathlib; from kseg.storage.lock import lock; lock(pathlib.Path({str(folder)!r}))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"is in use by process {os.getpid()}" in other.stderr
        shutil.rmtree(folder)
    folder.mkdir()  # by somebody else
    lock(folder)
    assert (folder / LOCK_FILE).exists()
    unlock(folder)


@pytest.mark.slow
def test_a_forked_child_does_not_keep_the_lock_of_a_killed_process(tmp_path):
    code = LOCK_AND_WAIT.replace('"locked"', "os.fork() and time.sleep(60) or os.getpid()")
    code = code.replace("import sys", "import os, sys")
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as process:
        child = int(process.stdout.readline())
        process.kill()
        process.wait()
        try:
            lock(tmp_path)
        finally:
            os.kill(child, signal.SIGKILL)
    unlock(tmp_path)


def test_the_owner_is_named_in_the_file(tmp_path):
    lock(tmp_path)
    assert (tmp_path / ".lock").read_text().strip() == f"process {os.getpid()} on {platform.node()}"
    unlock(tmp_path)


def test_a_process_may_lock_a_folder_twice(tmp_path):
    lock(tmp_path)
    lock(tmp_path)
    unlock(tmp_path)
    unlock(tmp_path)


def test_one_unlock_is_enough(tmp_path):
    lock(tmp_path)
    lock(tmp_path)
    unlock(tmp_path)
    use(tmp_path)


def test_only_writer_is_refused_twice_in_one_process(tmp_path):
    with only_writer(tmp_path / "set"), pytest.raises(KsegError, match=f"set is in use by process {os.getpid()} on"):
        use(tmp_path / "set")
    use(tmp_path / "set")


def test_only_writer_leaves_no_file(tmp_path):
    with only_writer(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("take", [lock, use])
def test_a_folder_that_cannot_be_written_to_is_named(take, tmp_path, monkeypatch):
    def read_only(*arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(KsegError, match=f"{tmp_path} cannot be made or written to: Read-only file system"):
        take(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(KsegError, match="file/run cannot be made or written to: Not a directory"):
        lock(tmp_path / "file/run")


def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", no_locks)
    lock(tmp_path)
    assert "cannot be locked (Operation not supported): make sure that no other process" in caplog.text
    unlock(tmp_path)


def test_a_link_in_place_of_the_lock_is_refused(tmp_path):
    other = tmp_path / "other"
    other.write_text("untouched")
    (tmp_path / LOCK_FILE).symlink_to(other)
    with pytest.raises(KsegError, match=r".lock is a link, and a lock is not written through one"):
        lock(tmp_path)
    assert other.read_text() == "untouched"
