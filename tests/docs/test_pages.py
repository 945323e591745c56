"""Every block of code in README and docs is run, or is plainly output."""

import re
import shlex
import subprocess
import sys
import tomllib

import cv2
import numpy as np
import pytest
import yaml

from kseg.commands import main as kseg
from kseg.commands import train as train_command
from kseg.config.train import TrainConfig
from kseg.data.sources.shapes import draw
from tests.docs.pages import PAGES, ROOT, blocks_of, commands_in

pytestmark = pytest.mark.backend_free

TUTORIAL = "tutorial.md"  # its commands are run as a reader gives them, by test_tutorial.py
# Few small images, and a network that is compiled at once.
SMALL = {
    "--dev-samples": "8",
    "--model": "tests.runs.test_optimizers:own_model",
    "--image-size": "32",
    "--epochs": "2",
}
BEFORE = {"use.md": "kseg train --dataset pictures --run-dir runs/mine"}


def small(command):
    """A command as it is written, but with few small images, and a small network."""
    arguments = shlex.split(re.sub(r"^until (.*); do .*$", r"\1", command))
    arguments = arguments[3:] if arguments[:2] == ["python", "-m"] else arguments[1:]
    if command.startswith("python -m kseg.train"):
        arguments = ["train", *arguments]
    if arguments[0] in ("train", "lr-find"):
        flags = SMALL | ({"--steps": "20"} if arguments[0] == "lr-find" else {})
        arguments += [part for flag, value in flags.items() if flag not in arguments for part in (flag, value)]
        arguments += [] if "--dev-mode" in arguments else ["--dev-mode"]
    return arguments


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder with the data sets that the pages name."""
    for index in range(12):
        image, mask = draw("standard", "train", index)
        image, mask = image[:64, :64], mask[:64, :64, 0] * 255
        files = {
            "pictures/images": image,
            "pictures/masks": mask,
            "overlapping/images": image,
            "overlapping/masks/nucleus": mask,
            "overlapping/masks/large": cv2.dilate(mask, np.ones((5, 5), np.uint8)),
        }
        for name, values in files.items():
            (tmp_path / name).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / name / f"{index:02}.png"), values)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_small_changes_nothing_but_the_size():
    assert small("until kseg train --epochs 3 --resume; do sleep 1; done")[:4] == ["train", "--epochs", "3", "--resume"]
    assert small("python -m kseg.train --dev-mode --lr 1")[:4] == ["train", "--dev-mode", "--lr", "1"]
    assert small("kseg audit pictures") == ["audit", "pictures"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_says_what_it_is(page):
    assert {block.language for block in blocks_of(page)} <= {"sh", "python", "yaml", "text", "console"}
    assert not re.search(
        r"^    (?!options:)\S", re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL), re.MULTILINE
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_and_what_needs_a_network_or_more_devices_are_possible(page):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()
    for block in blocks_of(page):
        if block.language == "yaml":
            TrainConfig(**yaml.safe_load(block.text))
        elif block.language == "console":
            for line in map(shlex.split, block.text.splitlines()):
                words = [word for word in line if "=" not in word or word.startswith("-") or "==" in word]
                if words[:2] == ["kseg", "train"]:
                    train_command.parse(words[2:])
                elif words == ["kseg", "models"]:
                    assert (ROOT / "tests/commands/test_models.py").exists()  # builds large networks: tried there
                elif words[0] == "make":
                    assert words[1] in targets
                else:
                    assert words[:2] == ["pip", "install"], words
                    assert set(re.findall(r"\w+", words[2].partition("[")[2])) <= set(extras), words


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if page.name != TUTORIAL], ids=lambda page: page.name)
def test_every_command_and_all_python_works(page, folder, monkeypatch, capsys):
    names = {"__name__": "__main__"}
    blocks = [block for block in blocks_of(page) if block.language in ("sh", "python")]
    commands = [BEFORE[page.name]] if page.name in BEFORE else []
    for block in blocks:
        if block.language == "python":
            commands.append(compile(block.text, str(page), "exec"))
        else:
            commands += commands_in(block.text)
    for command in commands:
        if not isinstance(command, str):
            exec(command, names)
            continue
        # The backend is that of the tests; the same commands on torch are in tests/runs.
        name, *arguments = small(command.removeprefix("KERAS_BACKEND=torch "))
        monkeypatch.setattr(sys, "argv", ["kseg", name, *arguments])
        status = kseg.main()
        assert status in ((0, 1) if name == "audit" else (0,)), (command, capsys.readouterr())


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", tmp_path / "site"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for page in PAGES[1:]:
        assert (tmp_path / "site" / ("" if page.stem == "index" else page.stem) / "index.html").exists()
    assert "Tversky loss of each image" in (tmp_path / "site/api/index.html").read_text()
    sources = re.findall(
        r"<(?:script|link|img)[^>]*(?:src|href)=\"(http[^\"]*)", (tmp_path / "site/index.html").read_text()
    )
    assert sources == []
