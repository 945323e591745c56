import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

import kseg
from kseg.commands import export
from tests.inference.models import CLASSES, bright, save

pytestmark = [pytest.mark.slow, pytest.mark.backend_free]  # export is tested on both

SERVICE = Path(__file__).parents[2] / "examples/serve/service.py"


@pytest.fixture(scope="module", params=["stretch", "pad", "classes"])
def served(request, tmp_path_factory):
    """A client of the service, and the Keras model that it serves."""
    from fastapi.testclient import TestClient

    several, tmp_path = request.param == "classes", tmp_path_factory.mktemp(request.param)
    metadata = {"image_size": (32, 48), "size_multiple": 8, "resize": "pad" if request.param == "pad" else "stretch"}
    model = save(
        tmp_path / "model.keras",
        bright(outputs=3 if several else 1),
        **metadata,
        **({"task": CLASSES} if several else {}),
    )
    assert export.main([str(model), "--images", "1"]) == 0
    specification = importlib.util.spec_from_file_location("service", SERVICE)
    service = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MODEL", str(tmp_path / "model.onnx"))
        patch.setenv("MOST_BYTES", "100000")
        specification.loader.exec_module(service)
    return TestClient(service.app), kseg.load(model)


def encoded(image):
    return cv2.imencode(".png", image[..., ::-1])[1].tobytes()


def test_masks_are_those_of_kseg(served, rng):
    client, predictor = served
    for size in ((32, 48), (50, 80), (21, 90)):
        image = cv2.resize(rng.integers(0, 256, (5, 6, 3)).astype(np.uint8), size[::-1])
        answer = client.post("/mask", content=encoded(image))
        assert answer.status_code == 200
        mask = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_GRAYSCALE)
        expected = predictor(image)
        expected = expected * 255 if predictor.metadata.task.kind == "binary" else expected
        assert mask.shape == size
        assert (mask != expected).mean() < 0.005
    assert client.get("/task").json()["0"] == "background"


def test_what_is_no_image_or_too_large_is_refused(served):
    client, _ = served
    for body in (b"", b"no image", encoded(np.zeros((40, 40, 3), np.uint8))[:60]):
        answer = client.post("/mask", content=body)
        assert answer.status_code == 400
        assert "no image" in answer.json()["detail"]
    answer = client.post("/mask", content=b"x" * 200_000)
    assert answer.status_code == 413
    assert "more than 100000 bytes" in answer.json()["detail"]


def test_a_hundred_requests_at_once(served, rng):
    client, _ = served
    bodies = [encoded(rng.integers(0, 256, (20 + index, 30, 3)).astype(np.uint8)) for index in range(100)]
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda body: client.post("/mask", content=body), bodies))
    for index, answer in enumerate(answers):
        mask = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_GRAYSCALE)
        assert mask.shape == (20 + index, 30)


def test_the_service_needs_no_keras(tmp_path):
    assert export.main([str(save(tmp_path / "model.keras", image_size=(32, 32))), "--images", "1"]) == 0
    code = "import sys; sys.modules['keras'] = sys.modules['kseg'] = None; import service; print(service.task())"
    environment = os.environ | {"MODEL": str(tmp_path / "model.onnx")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=SERVICE.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "{'0': 'background', '255': 'foreground'}", done.stderr
