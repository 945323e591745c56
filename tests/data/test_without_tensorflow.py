"""kseg[tfds] is an extra: what needs it says so, and all else works without it."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest

from kseg.data import open_sources
from kseg.data.conversion.convert import convert
from kseg.data.sources.shapes import draw
from kseg.errors import KsegError


@pytest.fixture(params=["tensorflow", "tensorflow_datasets"])
def missing(request, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == request.param else find(name))


@pytest.mark.backend_free
@pytest.mark.usefixtures("missing")
def test_what_needs_tfds_says_so(make_folder, pairs, tmp_path):
    with pytest.raises(
        KsegError, match=r"There is no data set 'cells': .* TFDS, .*, is not installed \(kseg\[tfds\]\)"
    ):
        open_sources("cells")
    (tmp_path / "packed").mkdir()
    for name in ("features.json", "dataset_info.json"):
        (tmp_path / "packed" / name).write_text("{}")
    for dataset in (str(tmp_path / "packed"), "builder.py"):
        with pytest.raises(
            KsegError, match=r"is read by TensorFlow Datasets, which is not installed. Install kseg\[tfds"
        ):
            open_sources(dataset)
    with pytest.raises(KsegError, match=r"kseg convert writes with .*, which is not installed. Install kseg\[tfds\]"):
        convert(str(make_folder(pairs)), tmp_path / "cells")


COMMAND = """
import sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, *arguments):
        if name.partition(".")[0] not in ("tensorflow", "tensorflow_datasets", "etils", "array_record"):
            return super().find_spec(name, *arguments)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from kseg.commands.main import main
sys.exit(main())
"""


@pytest.mark.slow
def test_a_run_and_what_follows_it_need_no_tensorflow(make_folder, tmp_path_factory):
    pictures = {f"{number}": draw("standard", "train", number) for number in range(8)}
    folder = make_folder({name: (image, mask[..., 0]) for name, (image, mask) in pictures.items()})
    out = tmp_path_factory.mktemp("out")  # not inside the data set
    run = out / "run"
    settings = ["--model", "tests.runs.test_optimizers:own_model", "--epochs", "1", "--image-size", "32"]
    for arguments in (
        ["train", "--dataset", str(folder), "--run-dir", str(run), *settings],
        ["evaluate", str(run / "best.keras"), "--dataset", str(folder), "--out", str(out / "scores")],
        ["predict", str(run / "best.keras"), str(folder / "images"), "--out", str(out / "predicted")],
        ["audit", str(folder), "--output", str(out / "audit")],
    ):
        done = subprocess.run([sys.executable, "-c", COMMAND, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((out / "predicted").glob("masks/*.png"))) == len(pictures)


@pytest.mark.backend_free
def test_the_built_in_data_set_is_drawn_once(tmp_path, monkeypatch):
    training, validation = open_sources("shapes/rare", data_dir=tmp_path, take=3)
    assert (len(training), len(validation), training.layout) == (3, 3, "drawn by kseg")
    (folder,) = tmp_path.iterdir()
    assert {len(list(folder.glob(f"{split}/images/*"))) for split in ("train", "validation")} == {500, 100}
    monkeypatch.setattr("kseg.data.sources.shapes.draw", None)
    again = open_sources("shapes/rare", data_dir=tmp_path, take=3)[0]
    np.testing.assert_array_equal(again.read(2)[0], training.read(2)[0])
    assert again.summary() == training.summary() != training.take(2).summary()


@pytest.mark.slow
def test_where_it_is_installed_a_run_does_not_import_it(make_folder, pairs, tmp_path):
    flags = ["--model", "tests.runs.test_optimizers:own_model", "--image-size", "32", "--epochs", "1"]
    code = "import sys; from kseg.commands.main import main; main(); print('imported', 'tensorflow' in sys.modules)"
    command = ["train", "--dataset", str(make_folder(pairs)), "--run-dir", str(tmp_path / "run"), *flags]
    done = subprocess.run([sys.executable, "-c", code, *command], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-2:] == ["imported", "False"]
