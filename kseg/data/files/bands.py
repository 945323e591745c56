"""Images of more channels, or more bits, than Pillow reads: TIFF with tifffile, PNG in colours of 16 bits."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np

MOST_CHANNELS = 16

ORIENTATION = 0x0112
"""The tag, of EXIF and TIFF alike; 1 is upright, 5 to 8 lie on their side."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_ALPHA = (1, 2)  # TIFF's ExtraSamples; 0 is a band of which nothing is said
_SEPARATED = 5  # TIFF's photometric of CMYK

# What brings the picture upright, by EXIF's orientation.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda values: np.rot90(values, 2),
    4: np.flipud,
    5: lambda values: values.swapaxes(0, 1),
    6: lambda values: np.rot90(values, -1),
    7: lambda values: np.rot90(values, 2).swapaxes(0, 1),
    8: lambda values: np.rot90(values),
}


@dataclass(frozen=True)
class Bands:
    """An image that Pillow would cut, as its header describes it."""

    height: int
    width: int
    channels: int
    """Those of opacity not counted."""
    dtype: np.dtype
    decode: Callable[[], np.ndarray]
    """The pixels `(H, W, C)`, opacity too, as they lie in the file."""
    orientation: int = 1

    def read(self) -> np.ndarray:
        """The pixels `(H, W, C)`, upright.

        Raises:
            ValueError: they are other than the header says.
        """
        values = self.decode()
        if values.shape[:2] != (self.height, self.width) or values.shape[2] < self.channels:
            raise ValueError(f"it holds {values.shape}, and its header says {self.height} x {self.width}")
        upright = turned_upright(values[..., : self.channels], self.orientation)
        return np.ascontiguousarray(upright.astype(self.dtype, copy=False))


def turned_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels `(H, W, …)` as EXIF's orientation says they are to be seen."""
    return _UPRIGHT.get(orientation, np.asarray)(pixels)


def in_colours(image: np.ndarray) -> np.ndarray:
    """What can be shown of an image `(…, C)`: the first three channels, or the first in grey; `(…, 3)`."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., [0, 0, 0]]


def find_bands(file: BinaryIO) -> Bands | None:
    """What Pillow would cut in an image file, or None where it reads all there is, or knows better what is wrong."""
    head = file.read(26)
    file.seek(0)
    if head[:4] in _TIFF:
        return _tiff(file)
    # Colours, or grey with opacity, of 16 bits.
    if head[:8] == _PNG and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6):
        return _png(file, head)
    return None


def _png(file: BinaryIO, head: bytes) -> Bands:
    import imagecodecs
    from PIL import Image

    def decode() -> np.ndarray:
        file.seek(0)
        return imagecodecs.png_decode(file.read())

    with Image.open(file, formats=("PNG",)) as picture:
        orientation = picture.getexif().get(ORIENTATION, 1)
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return Bands(height, width, 1 if head[25] == 4 else 3, np.dtype(np.uint16), decode, orientation)


def _tiff(file: BinaryIO) -> Bands | None:
    import tifffile

    tiff = tifffile.TiffFile(file)
    page, series = tiff.pages.first, tiff.series
    as_frames = len(series) == 1 and series[0].axes == "CYX"  # a channel a frame, as microscopes and ImageJ have it
    channels = len(series[0]) if as_frames else page.samplesperpixel
    opacity = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA
    plain = page.samplesperpixel - opacity in (1, 3) and (page.bitspersample == 8 or page.samplesperpixel == 1)
    if not as_frames and (plain or len(tiff.pages) > 1 or page.photometric == _SEPARATED):
        return None

    def decode() -> np.ndarray:
        pages = series[0].pages if as_frames else [page]
        for one in pages:
            _check_whole(one)
        values = np.stack([one.asarray() for one in pages])
        # Channels are the frames, or come first in planar files, or last.
        return np.moveaxis(values if as_frames else values[0], 0, -1) if as_frames or page.axes == "SYX" else values[0]

    dtype = page.dtype.newbyteorder("=") if page.dtype else np.dtype("V")
    orientation = page.tags.valueof(ORIENTATION, 1)
    return Bands(page.imagelength, page.imagewidth, channels - opacity, dtype, decode, orientation)


def _check_whole(page: "object") -> None:
    """Refuse a TIFF that was cut off, for whose missing parts tifffile gives zeros.

    Raises:
        ValueError: it was.
    """
    size = page.parent.filehandle.size
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not parts or any(count <= 0 or offset + count > size for offset, count in parts):
        raise ValueError("a part of its pixels lies behind the end of the file")
