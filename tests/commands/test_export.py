import json

import numpy as np
import pytest

from kseg.commands import export as command
from kseg.inference import runtimes
from kseg.metadata import Metadata
from kseg.task import Task
from tests.inference.models import CLASSES, bright, save


def run(*arguments):
    return command.main([str(argument) for argument in arguments])


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return save(tmp_path / "model.keras", task=Task("binary", ("cell",)), image_size=(32, 48), size_multiple=8)


def expected_logits(images):
    return (images.mean(-1, keepdims=True) - 127.5) / 12.75


@pytest.mark.slow
@pytest.mark.parametrize("name", runtimes.FORMATS)
def test_the_exported_file_computes_the_same_and_says_how_it_is_used(name, model, rng, capsys):
    assert run(model, "--format", name, "--images", "3") == 0
    assert "on 3 images" in capsys.readouterr().out
    path = model.with_name(f"model{runtimes.FORMATS[name].suffix}")
    images = rng.integers(0, 256, (2, 32, 48, 3)).astype(np.uint8)
    np.testing.assert_allclose(runtimes.FORMATS[name].open(path)(images), expected_logits(images), atol=1e-4)
    if name == "onnx":
        import onnx

        text = onnx.load(path).metadata_props[0].value
    elif name == "torch":
        import torch

        files = {"kseg.json": ""}
        torch.export.load(path, extra_files=files)
        text = files["kseg.json"]
    else:
        text = (
            path / "assets.extra/kseg.json" if name == "saved_model" else path.with_name("model.tflite.json")
        ).read_text()
    metadata = Metadata.read(json.loads(text))
    assert (metadata.task.classes, metadata.image_size) == (("cell",), (32, 48))
    assert run(model, "--format", name) == 2
    assert f"{path} is there already" in capsys.readouterr().err


@pytest.mark.slow
def test_images_of_any_size_or_of_one(model, rng, tmp_path):
    assert run(model, "--images", "1") == 0
    for shape in ((1, 8, 16, 3), (3, 40, 24, 3)):
        images = rng.integers(0, 256, shape).astype(np.uint8)
        logits = runtimes.FORMATS["onnx"].open(tmp_path / "model.onnx")(images)
        np.testing.assert_allclose(logits, expected_logits(images), atol=1e-4)
    assert run(model, "--format", "litert", "--size", "16", "24", "--images", "1") == 0
    images = rng.integers(0, 256, (1, 16, 24, 3)).astype(np.uint8)
    logits = runtimes.FORMATS["litert"].open(tmp_path / "model.tflite")(images)
    np.testing.assert_allclose(logits, expected_logits(images), atol=1e-4)


@pytest.mark.slow
def test_several_classes_and_channels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = save(tmp_path / "model.keras", bright(channels=5, outputs=3, kernel=3), task=CLASSES, channels=5)
    assert run(model, "--images", "2") == 0


@pytest.mark.slow
@pytest.mark.parametrize(("offset", "message"), [(0.02, "logits by up to 0.02"), (np.nan, "logits by up to inf")])
def test_a_difference_fails_the_export_and_nothing_is_left(offset, message, model, monkeypatch, capsys):
    how = runtimes.FORMATS["onnx"]

    def open_wrong(path):
        logits = how.open(path)
        return lambda images: logits(images) + np.float32(offset)

    monkeypatch.setitem(runtimes.FORMATS, "onnx", runtimes.ExportFormat(**vars(how) | {"open": open_wrong}))
    before = sorted(model.parent.iterdir())
    assert run(model, "--images", "2") == 2
    assert message in capsys.readouterr().err
    assert sorted(model.parent.iterdir()) == before


@pytest.mark.slow
def test_what_a_converter_refuses_is_said(model, monkeypatch, capsys):
    how = runtimes.FORMATS["torch"]
    monkeypatch.setitem(runtimes.FORMATS, "torch", runtimes.ExportFormat(**vars(how) | {"backend": "tensorflow"}))
    assert run(model, "--format", "torch") == 2
    assert "cannot be converted to torch: ValueError: Torch export requires PyTorch backend." in capsys.readouterr().err


def test_a_missing_package_is_named_with_the_formats_that_are_possible(model, monkeypatch, capsys):
    monkeypatch.setattr(runtimes.importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else name)
    assert run(model) == 2
    message = capsys.readouterr().err
    assert "format onnx needs tf2onnx, which is not installed: pip install 'kseg[export]'" in message
    assert "Possible here: saved_model, litert, torch." in message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "20"], "size: 20 is not a multiple of 8, as the model needs it"),
        (["--out", "model.tflite"], "out: model.tflite is not allowed for onnx; expected a name that ends in .onnx"),
    ],
)
def test_what_has_to_be_put_right_is_said_before_anything_is_written(arguments, message, model, capsys):
    assert run(model, *arguments) == 2
    assert message in capsys.readouterr().err


def test_a_format_of_one_size_needs_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run(save(tmp_path / "model.keras"), "--format", "litert") == 2
    assert "takes images of one size, and the model does not say which. Give --size" in capsys.readouterr().err
