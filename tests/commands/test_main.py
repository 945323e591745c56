import sys

import pytest

import kseg
from kseg.commands import main as cli

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_kseg_lists_its_commands(arguments, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", *arguments])
    assert cli.main() == 0
    assert "  train        Train a segmentation model" in capsys.readouterr().out


def test_another_command_is_refused(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", "fly"])
    assert cli.main() == 2
    commands = "train, evaluate, predict, compare, export, report, models, lr-find, audit, debug-masks, convert"
    assert f"There is no command 'fly'; expected one of {commands}." in capsys.readouterr().err


def test_kseg_tells_its_version(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", "--version"])
    assert cli.main() == 0
    assert capsys.readouterr().out == f"kseg {kseg.__version__}\n"


@pytest.mark.parametrize("command", ["train", "audit", "convert"])
def test_help_shows_the_command_as_it_was_typed(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", command, "--help"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert f"usage: kseg {command} " in capsys.readouterr().out


def test_kseg_train_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["kseg", "train", "--dataset", "./nowhere"])
    assert cli.main() == 2
    assert "There is no folder ./nowhere" in capsys.readouterr().err
