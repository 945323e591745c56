import os

import pytest

from kseg.commands import evaluate, export, lr_find, models, predict, report, train
from kseg.commands.prepare import prepare_for_keras

pytestmark = pytest.mark.backend_free


def test_memory_is_kept_and_tensorflow_is_quiet(monkeypatch):
    called = []
    monkeypatch.setattr("kseg.commands.prepare.keep_freed_memory", lambda: called.append("kept"))
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL")
    prepare_for_keras()
    assert called == ["kept"]
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "2"


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        (train, []),
        (lr_find, ["--dataset", "shapes"]),
        (models, []),
        (predict, ["best.keras", "images", "--out", "masks"]),
        (evaluate, ["best.keras", "--dataset", "shapes"]),
        (report, ["run"]),
        (export, ["best.keras", "--format", "onnx"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_each_command_that_needs_keras_prepares_first(command, arguments, monkeypatch, tmp_path):
    def refuse():
        raise RuntimeError("prepared")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "prepare_for_keras", refuse)
    with pytest.raises(RuntimeError, match="prepared"):
        command.main(arguments)
    assert list(tmp_path.iterdir()) == []
