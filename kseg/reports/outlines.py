"""An image with the outline of its mask, as a data URI that a page can hold."""

import base64
import io

import numpy as np
from PIL import Image

from kseg.data.files.bands import to_rgb

_LARGEST, _SMALLEST = 240, 160  # pixels of the longer side
_OUTLINE, _HALO = (255, 150, 0), (0, 0, 0)  # orange, which tissue, skin and leaves rarely are, between black


def outlined(image: np.ndarray, foreground: np.ndarray | None) -> str:
    """A JPEG of an image, uint8 `(H, W, C)`, with an outline around foreground, bool `(H, W)`, as a data URI."""
    picture = Image.fromarray(np.ascontiguousarray(to_rgb(image)))
    scale = np.clip(1, _SMALLEST / max(picture.size), _LARGEST / max(picture.size))
    size = tuple(max(round(side * scale), 1) for side in picture.size)
    pixels = np.array(picture.resize(size, Image.Resampling.BOX, reducing_gap=2.0))
    if foreground is not None:
        whole = Image.fromarray(foreground.view(np.uint8) * np.uint8(255))
        inside = np.asarray(whole.resize(size, Image.Resampling.BOX)) >= 128
        line = inside & ~_shrunk(inside)
        pixels[_grown(line) & ~inside] = _HALO
        pixels[line] = _OUTLINE
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=85, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def _shrunk(where: np.ndarray) -> np.ndarray:
    """Without the pixels that have one of their four neighbours, or the picture's border, outside."""
    padded = np.pad(where, 1)
    return where & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]


def _grown(where: np.ndarray) -> np.ndarray:
    padded = np.pad(where, 1)
    return where | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
