"""An image with the outline of its mask, as a data URI for a page."""

import base64
import io

import cv2
import numpy as np
from PIL import Image

from kseg.data.files.bands import to_rgb

_LARGEST, _SMALLEST = 240, 160  # pixels of the longer side
_OUTLINE, _HALO = (255, 150, 0), (0, 0, 0)  # orange, a rare colour in tissue, skin and leaves, beside black
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def draw_outline(image: np.ndarray, foreground: np.ndarray | None) -> str:
    """Return a JPEG of an image, uint8 `(H, W, C)`, with its foreground, bool `(H, W)`, outlined, as a data URI."""
    picture = Image.fromarray(np.ascontiguousarray(to_rgb(image)))
    scale = np.clip(1, _SMALLEST / max(picture.size), _LARGEST / max(picture.size))
    size = tuple(max(round(side * scale), 1) for side in picture.size)
    pixels = np.array(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    if foreground is not None:
        mask = Image.fromarray(foreground.view(np.uint8) * np.uint8(255))
        area = (np.asarray(mask.resize(size, Image.Resampling.BOX)) >= 128).view(np.uint8)
        inner = cv2.erode(area, _CROSS, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        line = area - inner
        pixels[(cv2.dilate(line, _CROSS) == 1) & (area == 0)] = _HALO
        pixels[line == 1] = _OUTLINE
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
