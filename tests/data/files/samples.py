"""Small images and masks, and encoders for what Pillow does not write."""

import io
import struct
import zlib

import numpy as np
import tifffile

PICTURE = np.uint8([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [100, 110, 120]]])
INDICES = np.uint8([[0, 1, 2], [1, 1, 0]])
COLOURS = ("#000000", "#ff0000", "#00ff00")
COLOUR_MASK = np.uint8([[0, 0, 0], [255, 0, 0], [0, 255, 0]])[INDICES]


def encode_tiff(values, **options):
    """Return the bytes of a TIFF."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack"} | options)
    return file.getvalue()


def encode_bands(channels, dtype):
    """Return the bytes of a TIFF of ones with many channels."""
    return encode_tiff(np.ones((3, 4, channels), dtype), planarconfig="contig")


def encode_png(width, bits, kind, row):
    """Return the bytes of a PNG of one row, `kind` 0 for grey or 2 for RGB; Pillow writes neither 2, 4 nor 16 bits."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
