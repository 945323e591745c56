import os
import subprocess
import sys

import pytest

from kseg.commands.guard import guard
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


class CollapsedError(KsegError):
    status = 3


def test_the_status_of_the_command_is_returned(capsys):
    assert guard(lambda: 1) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "status"), [(KsegError("no data"), 2), (CollapsedError("no data"), 3), (OSError("no data"), 2)]
)
def test_an_error_is_printed_without_a_traceback(error, status, capsys):
    def fail():
        raise error

    assert guard(fail) == status
    assert capsys.readouterr() == ("", "kseg: no data\n")


def test_ctrl_c_is_130():
    def interrupt():
        raise KeyboardInterrupt

    assert guard(interrupt) == 130


def test_another_error_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        guard(lambda: 1 // 0)


def test_an_empty_argument_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", "train", "--run-dir", ""])
    assert guard(lambda: 0) == 2
    assert "kseg: The argument after --run-dir is empty; expected some text." in capsys.readouterr().err


def run(command, output):
    """Status and messages of a process that guards a command."""
    program = f"import sys; from kseg.commands.guard import guard; sys.exit(guard(lambda: {command}))"
    ended = subprocess.run(
        [sys.executable, "-c", program], stdout=output, stderr=subprocess.PIPE, text=True, check=False
    )
    return ended.returncode, ended.stderr


def test_where_nothing_reads_the_output_the_command_says_so():
    reader, writer = os.pipe()
    os.close(reader)
    said = "kseg: stopped, because nothing reads the output any more.\n"
    assert run("print('a' * 100_000)", writer) == (141, said)
    os.close(writer)


def test_another_broken_pipe_is_an_error():
    assert run("exec(\"raise BrokenPipeError('a worker ended')\")", subprocess.PIPE) == (2, "kseg: a worker ended\n")
