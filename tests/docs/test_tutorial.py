"""Every command of the tutorial, in its order, as a reader would give it."""

import re
import shlex
import sys

import pytest

from kseg.commands import main as kseg
from tests.docs.pages import ROOT, blocks_of, commands_in

COMMANDS = [
    command
    for block in blocks_of(ROOT / "docs/tutorial.md")
    if block.language == "sh"
    for command in commands_in(block.text)
]


def test_commands_are_found_whole():
    found = COMMANDS
    assert all(command.startswith(("kseg ", "python -c")) for command in found)
    named = {command.split()[1] for command in found if command.startswith("kseg ")}
    assert named == {"audit", "train", "evaluate", "compare", "report", "predict", "export", "convert"}


@pytest.mark.slow
@pytest.mark.backend_free
def test_every_command_works(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    outputs = {}
    for command in COMMANDS:
        program, *arguments = shlex.split(command)
        if program == "python":
            exec(arguments[1], {})
            status = 0
        else:
            monkeypatch.setattr(sys, "argv", ["kseg", *arguments])
            status = kseg.main()
        output = capsys.readouterr()
        outputs[command] = output.out + output.err
        assert status in ((0, 1) if command.startswith("kseg audit") else (0,)), outputs[command]
    for file in ("audit-pictures/audit.html", "runs/first/report.html", "runs/second/evaluation/evaluation.html"):
        assert (tmp_path / file).exists()
    assert len(list((tmp_path / "masks/masks").glob("*.png"))) == 40
    assert (tmp_path / "runs/first/best.onnx").exists()
    assert any("Started from runs/first/best.keras: " in output for output in outputs.values())
    assert any(re.search(r"\(128, 128\) uint8 [01]", output) for output in outputs.values())
