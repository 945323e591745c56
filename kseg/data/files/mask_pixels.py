"""The values of an opened mask picture, by its palette, its alpha channel and its photometric tag."""

from typing import Any

import numpy as np
from PIL.ImageFile import ImageFile as PillowFile

from kseg.data.files.formats import is_white_zero, pixel_layout, upright_pixels
from kseg.data.files.palettes import is_grey, read_palette

_SAMPLE_FORMAT, _SIGNED = 339, 2  # a TIFF tag, and what it says of signed integers
_SOFTWARE = 305  # the TIFF tag with the name of the program that wrote the file

# Pillow scales grey of 2 and 4 bits to 0 … 255; in a mask the stored values are class indices.
_SCALES = {"L;2": 85, "L;2I": 85, "L;4": 17, "L;4I": 17}


def mask_pixels(picture: PillowFile) -> np.ndarray:
    """Return the values of a mask `(H, W, C)`, turned upright; C is 1, or 3 or 4 if the mask is in colours.

    - A palette with colours: the indices, as in Pascal VOC. A palette with nothing but greys: the greys, because
      Pillow and others sort a palette by frequency or put white first, so that its indices mean nothing.
    - An object that only the alpha channel shows: alpha.
    - A TIFF of signed integers: int8, which Pillow reads as unsigned.
    - A TIFF in which 0 is white: the values as shown if it holds black, else the stored ones, which are class indices.
      Of one bit from tifffile, and so from scikit-image, the stored ones: it writes all Boolean arrays in this way.
    """
    scale, stored_inverted = _SCALES.get(pixel_layout(picture), 1), is_white_zero(picture)
    palette, transparency = read_palette(picture), _transparency(picture)
    pixels = upright_pixels(picture)
    pixels = pixels if pixels.ndim == 3 else pixels[..., None]
    if palette is not None and is_grey(palette) and pixels[..., 0].max() < len(palette):
        indices, alpha = pixels[..., :1], pixels[..., 1:]
        alpha = transparency[indices] if transparency is not None else alpha
        pixels = np.concatenate([palette[:, 0][indices], alpha], axis=-1)
    elif stored_inverted:
        pixels = ~pixels if _is_boolean_of_tifffile(picture) else _as_shown_if_black(pixels, picture.mode)
    if pixels.shape[-1] in (2, 4):
        pixels = _alpha_if_alone(pixels)
    if picture.mode == "L" and _SIGNED in _tag(picture, _SAMPLE_FORMAT):
        return pixels.view(np.int8)
    return pixels // scale if scale > 1 else pixels


def _transparency(picture: PillowFile) -> np.ndarray | None:
    """Return the alpha of each index of a palette, uint8 `(256,)`; None if the picture states none."""
    stated = picture.info.get("transparency") if picture.mode == "P" else None
    if stated is None:
        return None
    alpha = np.full(256, 255, np.uint8)
    if isinstance(stated, bytes):
        alpha[: len(stated)] = np.frombuffer(stated[:256], np.uint8)
    else:
        alpha[stated] = 0
    return alpha


def _alpha_if_alone(pixels: np.ndarray) -> np.ndarray:
    """Return alpha where the colours do not show the object: one colour everywhere, or black on transparent."""
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    seen = alpha[..., 0] > 0
    is_one_colour = bool((colours == colours[:1, :1]).all())
    if seen.all() or not (is_one_colour or (seen.any() and not colours[seen].any())):
        return pixels
    return alpha


def _is_boolean_of_tifffile(picture: PillowFile) -> bool:
    return picture.mode == "1" and _tag(picture, _SOFTWARE) == "tifffile.py"


def _tag(picture: PillowFile, number: int) -> Any:
    """Return what a TIFF says by a tag; empty if it is no TIFF, or has no such tag."""
    return getattr(picture, "tag_v2", {}).get(number, ())


def _as_shown_if_black(pixels: np.ndarray, mode: str) -> np.ndarray:
    """Return the values as shown if any is black, else as stored. Pillow inverts 8 bits, and does not invert 16."""
    if mode == "L":
        return pixels if not pixels.min() else 255 - pixels
    if mode.startswith("I;16"):
        return 65535 - pixels if pixels.max() == 65535 else pixels
    return pixels
