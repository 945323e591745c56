"""Run an exported model by the format's own runtime, without Keras; and what each format can."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

Logits = Callable[[np.ndarray], np.ndarray]
"""From images, uint8 `(B, H, W, C)`, to logits, float32 `(B, H, W, outputs)`."""

METADATA = "kseg"
"""The key of the metadata, JSON text, in an exported file."""


@dataclass(frozen=True)
class ExportFormat:
    """What a format needs and can."""

    suffix: str
    backend: str
    """The Keras backend that it is converted on."""
    packages: tuple[str, ...]
    """What has to be importable, to convert it and to run it."""
    any_size: bool
    """Whether height, width and batch can be left open."""
    open: Callable[[Path], Logits]
    """Opens a file."""
    describe: Callable[[Path, str], None]
    """Writes the metadata, JSON text, into a file."""

    def missing(self) -> list[str]:
        """Return the packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def _open_onnx(path: Path) -> Logits:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: session.run(None, {name: images})[0]


def _describe_onnx(path: Path, text: str) -> None:
    import onnx

    model = onnx.load(path)
    onnx.helper.set_model_props(model, {METADATA: text})
    onnx.save(model, path)


def _open_saved_model(path: Path) -> Logits:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: loaded.serve(images).numpy()


def _describe_saved_model(path: Path, text: str) -> None:
    folder = path / "assets.extra"  # TensorFlow's place for what belongs to a model and is not read by it
    folder.mkdir(exist_ok=True)
    (folder / "kseg.json").write_text(text)


def _open_litert(path: Path) -> Logits:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    given, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def one(image: np.ndarray) -> np.ndarray:
        interpreter.set_tensor(given, image[None])
        interpreter.invoke()
        return interpreter.get_tensor(result)[0]

    return lambda images: np.stack([one(image) for image in images])


def _describe_beside(path: Path, text: str) -> None:
    path.with_name(f"{path.name}.json").write_text(text)


def _open_torch(path: Path) -> Logits:
    import torch

    module = torch.export.load(path).module()

    def logits(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.concatenate([module(torch.from_numpy(image[None])).numpy() for image in images])

    return logits


def _describe_torch(path: Path, text: str) -> None:
    import torch

    torch.export.save(torch.export.load(path), path, extra_files={f"{METADATA}.json": text})


FORMATS = {
    "onnx": ExportFormat(".onnx", "tensorflow", ("tf2onnx", "onnx", "onnxruntime"), True, _open_onnx, _describe_onnx),
    "saved_model": ExportFormat(
        "-saved-model", "tensorflow", ("tensorflow",), True, _open_saved_model, _describe_saved_model
    ),
    "litert": ExportFormat(
        ".tflite", "tensorflow", ("tensorflow", "ai_edge_litert"), False, _open_litert, _describe_beside
    ),
    "torch": ExportFormat(".pt2", "torch", ("torch",), False, _open_torch, _describe_torch),
}
"""What each format needs and can, by its name."""
