import os
import platform
import subprocess
import sys

import pytest

from kseg.errors import KsegError
from kseg.storage.lock import lock, unlock

pytestmark = pytest.mark.backend_free

HOLD = """
import sys, time, pathlib
from kseg.checkpoints import lock
lock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


@pytest.mark.slow
def test_another_process_is_refused_and_named_until_it_dies(holder, tmp_path):
    with pytest.raises(KsegError, match=f"in use by process {holder.pid} on {platform.node()}. Wait for it, end it"):
        lock(tmp_path)
    holder.kill()
    holder.wait()
    lock(tmp_path)
    assert (tmp_path / ".lock").read_text() == f"process {os.getpid()} on {platform.node()}\n"
    unlock(tmp_path)


def test_the_same_process_may_have_it_again(tmp_path):
    lock(tmp_path)
    lock(tmp_path)
    unlock(tmp_path)
    unlock(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path, monkeypatch):
    def read_only(*arguments):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", read_only)
    with pytest.raises(KsegError, match=f"{tmp_path} cannot be written to: Read-only file system"):
        lock(tmp_path)


def test_a_file_system_without_locks_is_warned_about(tmp_path, monkeypatch, caplog):
    def none(*arguments):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", none)
    lock(tmp_path)
    assert "cannot be locked (Operation not supported): see that no other run" in caplog.text
    unlock(tmp_path)
