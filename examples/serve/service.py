"""A small service: an image in, its mask out. It needs ONNX Runtime and OpenCV, and neither Keras nor kseg.

pip install fastapi uvicorn onnxruntime opencv-python-headless
MODEL=best.onnx uvicorn service:app
curl --data-binary @photo.jpg http://localhost:8000/mask --output mask.png
"""

import json
import os

import cv2
import numpy as np
import onnxruntime
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

MOST_BYTES = int(os.environ.get("MOST_BYTES", 20 * 2**20))
MOST_PIXELS = int(os.environ.get("MOST_PIXELS", 50_000_000))

session = onnxruntime.InferenceSession(os.environ["MODEL"], providers=["CPUExecutionProvider"])
metadata = json.loads(session.get_modelmeta().custom_metadata_map["kseg"])
if metadata["channels"] != 3 or metadata["resize"] == "crop" or not metadata["image_size"]:
    raise SystemExit("This service is for models of colour images that were trained with --resize stretch or pad.")

app = FastAPI(title="kseg")


@app.get("/task")
def task() -> dict:
    """Return the classes that the values of a mask stand for."""
    classes = metadata["task"]["classes"]
    return {"0": "background", "255": classes[0]} if len(classes) == 1 else dict(enumerate(classes))


@app.post("/mask")
async def mask(request: Request) -> Response:
    """Return the mask of an image as PNG, of the image's size."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MOST_BYTES:
            raise HTTPException(413, f"The image has more than {MOST_BYTES} bytes.")
    return Response(await run_in_threadpool(answer, bytes(body)), media_type="image/png")


def answer(body: bytes) -> bytes:
    """Return the PNG file of the mask of an encoded image."""
    values = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB) if body else None
    if values is None:
        raise HTTPException(400, "The body is no image; expected the bytes of a PNG or JPEG file.")
    if values.shape[0] * values.shape[1] > MOST_PIXELS:
        raise HTTPException(413, f"The image has more than {MOST_PIXELS} pixels.")
    found = predict(values)
    done, png = cv2.imencode(".png", found)
    if not done:
        raise HTTPException(500, "The mask cannot be encoded.")
    return png.tobytes()


def predict(image: np.ndarray) -> np.ndarray:
    """Return the mask of an image, uint8 `(H, W)`: as in training, resized, and its probabilities resized back."""
    height, width = image.shape[:2]
    top, left, inner_height, inner_width = place(height, width)
    small = np.zeros((*metadata["image_size"], 3), np.uint8)
    # Sides that shrink are averaged, sides that grow are interpolated.
    shrunk = cv2.resize(image, (min(width, inner_width), min(height, inner_height)), interpolation=cv2.INTER_AREA)
    resized = cv2.resize(shrunk, (inner_width, inner_height), interpolation=cv2.INTER_LINEAR)
    small[top : top + inner_height, left : left + inner_width] = resized
    logits = session.run(None, {session.get_inputs()[0].name: small[None]})[0][0]
    inside = logits[top : top + inner_height, left : left + inner_width]
    if inside.shape[2] == 1:
        probability = cv2.resize(1 / (1 + np.exp(-inside[..., 0])), (width, height))
        return np.where(probability > metadata["threshold"], np.uint8(255), np.uint8(0))
    shifted = np.exp(inside - inside.max(-1, keepdims=True))
    probabilities = shifted / shifted.sum(-1, keepdims=True)
    large = [cv2.resize(np.ascontiguousarray(one), (width, height)) for one in np.moveaxis(probabilities, -1, 0)]
    return np.argmax(large, axis=0).astype(np.uint8)


def place(height: int, width: int) -> tuple[int, int, int, int]:
    """Return where a resized image lies in what the network takes: first row, first column, height, width."""
    full_height, full_width = metadata["image_size"]
    if metadata["resize"] == "stretch":
        return 0, 0, full_height, full_width
    factor = min(full_height / height, full_width / width)
    inner_height, inner_width = max(round(height * factor), 1), max(round(width * factor), 1)
    return (full_height - inner_height) // 2, (full_width - inner_width) // 2, inner_height, inner_width
