import io
import sys

import pytest

from kseg.progress import is_watched, progress

pytestmark = pytest.mark.backend_free


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("stream", "bars"), [(Terminal, True), (io.StringIO, False)])
def test_a_bar_is_drawn_for_a_terminal_and_not_into_a_file(stream, bars, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream())
    assert is_watched(sys.stderr) == bars
    assert list(progress(range(3), "Counting", unit="numbers", delay=0)) == [0, 1, 2]
    with progress(description="Counting", total=3, unit="numbers", delay=0) as bar:
        bar.update(2)
    assert ("Counting" in sys.stderr.getvalue()) == bars


def test_a_notebook_shows_bars_and_one_that_was_started_from_here_changes_nothing(monkeypatch):
    stream = type("OutStream", (io.StringIO,), {"__module__": "ipykernel.iostream"})()
    assert is_watched(stream)
    monkeypatch.setitem(sys.modules, "ipykernel", object())
    assert not is_watched(io.StringIO())
