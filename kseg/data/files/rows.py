"""An image a few rows at a time, so that one of 20,000 x 20,000 pixels needs little memory."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kseg.data.files.bands import ORIENTATION, refuse_truncated
from kseg.data.files.formats import file_errors, is_npy, open_npy
from kseg.data.files.images import check_same_channels, read_image, to_8_bits

_LARGE = 2**26  # pixels; a smaller image is read as a whole
_MIN_IS_BLACK, _RGB = 1, 2  # values of TIFF's PhotometricInterpretation


@dataclass(frozen=True)
class Rows:
    """An image of which some rows can be read."""

    shape: tuple[int, int, int]
    """Height, width and channels."""
    read: Callable[[int, int], np.ndarray]
    """From the first row and the row after the last to their pixels, uint8 `(rows, W, C)`."""

    @classmethod
    def of(cls, image: np.ndarray) -> "Rows":
        """Return the rows of an array, uint8 `(H, W, C)`."""
        height, width, channels = image.shape
        return cls((height, width, channels), lambda first, last: image[first:last])


def open_rows(path: str, bit_depth: int = 8, channels: int = 3) -> Rows:
    """Open an image, and read it as `read_image` does; of a large TIFF or NPY file only the rows that are asked for.

    Raises:
        KsegError: as `read_image` does.
    """
    with file_errors(path):
        if is_npy(path):
            values = open_npy(path)
            if values.dtype.kind == "u" and values.dtype.itemsize <= 2 and _is_large(*values.shape[:2]):
                if isinstance(values, np.memmap) and values.flags.c_contiguous:
                    read = _uncompressed(path, values.shape, values.dtype, values.offset)
                    return _convert(path, values.shape, read, bit_depth, channels)
                return _convert(
                    path, values.shape, lambda first, last: np.array(values[first:last]), bit_depth, channels
                )
        elif Path(path).suffix.lower() in (".tif", ".tiff"):
            rows = _open_large_tiff(path, bit_depth, channels)
            if rows:
                return rows
    return Rows.of(read_image(path, bit_depth, channels))


def _is_large(height: int, width: int) -> bool:
    return height * width > _LARGE


def _convert(
    path: str, shape: tuple[int, ...], read: Callable[[int, int], np.ndarray], bit_depth: int, channels: int
) -> Rows:
    check_same_channels(path, shape[2], channels)

    def converted(first: int, last: int) -> np.ndarray:
        with file_errors(path):
            values = read(first, last)
        values = values if values.dtype == np.uint8 else to_8_bits(values, bit_depth, path)
        return np.broadcast_to(values, (*values.shape[:2], channels))

    return Rows((shape[0], shape[1], channels), converted)


def _open_large_tiff(path: str, bit_depth: int, channels: int) -> Rows | None:
    """Return the rows of a large TIFF without a palette, alpha, planes or a turn; None: read it as a whole."""
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        is_plain = (
            len(tiff.pages) == 1
            and page.photometric in (_MIN_IS_BLACK, _RGB)
            and page.dtype in (np.uint8, np.uint16)
            and page.planarconfig == 1
            and not page.extrasamples
            and page.tags.valueof(ORIENTATION, 1) == 1
        )
        height, width, samples = page.imagelength, page.imagewidth, page.samplesperpixel
        if not is_plain or not _is_large(height, width):
            return None
        refuse_truncated(page)
        decode, tables = page.decode, page.jpegtables
        parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
        if page.is_memmappable:
            stored = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
            read = _uncompressed(path, (height, width, samples), stored, parts[0][0])
            return _convert(path, (height, width, samples), read, bit_depth, channels)
        part_height, part_width = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, width)
        dtype = page.dtype
    parts_across = -(-width // part_width)

    def read_parts(first: int, last: int) -> np.ndarray:
        top = first // part_height * part_height
        rows = np.zeros((last - top, width, samples), dtype)
        with Path(path).open("rb") as file:
            for index in range(top // part_height * parts_across, -(-last // part_height) * parts_across):
                offset, size = parts[index]
                file.seek(offset)
                part, (_, _, y, x, _), _ = decode(file.read(size), index, jpegtables=tables)
                if part is None:  # ruled out by `refuse_truncated`
                    raise ValueError("a part of its pixels is missing")
                inside = rows[y - top : y - top + part.shape[1], x : x + part.shape[2]]
                inside[:] = part[0, : inside.shape[0], : inside.shape[1]]
        return rows[first - top :]

    return _convert(path, (height, width, samples), read_parts, bit_depth, channels)


def _uncompressed(path: str, shape: tuple[int, ...], dtype: np.dtype, offset: int) -> Callable[[int, int], np.ndarray]:
    """Return what reads rows of pixels that lie in a file as in an array. A memory map would keep them in memory."""
    row = math.prod(shape[1:])

    def read(first: int, last: int) -> np.ndarray:
        start = offset + first * row * dtype.itemsize
        values = np.fromfile(path, dtype, (last - first) * row, offset=start)
        return values.reshape(-1, *shape[1:]).astype(dtype.newbyteorder("="), copy=False)

    return read
