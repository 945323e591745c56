"""Images with more channels or bits than Pillow reads: TIFF by tifffile, PNG of 16 bits a channel by imagecodecs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from tifffile import TiffFrame, TiffPage

MAX_CHANNELS = 16

ORIENTATION = 0x0112
"""The orientation tag of both EXIF and TIFF; 1 is upright, 5 to 8 lie on their side."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_PNG = b"\x89PNG\r\n\x1a\n"
_ALPHA = (1, 2)  # values of TIFF's ExtraSamples; 0 is a channel of unspecified meaning
_WHITE_IS_ZERO, _CMYK = 0, 5  # values of TIFF's PhotometricInterpretation
_GREY = (0, 1)  # others of these

# How pixels are turned upright, by EXIF orientation.
_TURNS: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


@dataclass(frozen=True)
class BandImage:
    """An opened image that Pillow would read only in part; the size is the stored one, before it is turned."""

    height: int
    width: int
    channels: int
    """Without alpha."""
    dtype: np.dtype
    decode: Callable[[], np.ndarray]
    """Returns the stored pixels `(H, W, C)`, alpha included."""
    orientation: int = 1

    def read(self) -> np.ndarray:
        """Return the pixels `(H, W, C)`, upright and without alpha.

        Raises:
            ValueError: the pixels do not have the size that the header states.
        """
        pixels = self.decode()
        if pixels.shape[:2] != (self.height, self.width) or pixels.shape[2] < self.channels:
            raise ValueError(f"its pixels have the shape {pixels.shape}, its header says {self.height} x {self.width}")
        pixels = turn_upright(pixels[..., : self.channels], self.orientation)
        return np.ascontiguousarray(pixels.astype(self.dtype, copy=False))


def turn_upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Turn pixels `(H, W, …)` by their EXIF orientation."""
    return _TURNS.get(orientation, np.asarray)(pixels)


def to_rgb(image: np.ndarray) -> np.ndarray:
    """Return three channels to show of an image `(…, C)`: the first three, or the first one as grey; `(…, 3)`."""
    return image[..., :3] if image.shape[-1] >= 3 else image[..., [0, 0, 0]]


def find_band_image(file: BinaryIO) -> BandImage | None:
    """Return the image of a file if Pillow would drop channels or bits of it; None: leave the file to Pillow."""
    head = file.read(26)
    file.seek(0)
    if head[:4] in _TIFF:
        return _open_tiff(file)
    # Byte 24 is the bit depth; byte 25 the colour type: 2 RGB, 4 grey with alpha, 6 RGB with alpha.
    if head[:8] == _PNG and len(head) == 26 and head[24] == 16 and head[25] in (2, 4, 6):
        return _open_png(file, head)
    return None


def _open_png(file: BinaryIO, head: bytes) -> BandImage:
    import imagecodecs
    from PIL import Image

    def decode() -> np.ndarray:
        file.seek(0)
        return imagecodecs.png_decode(file.read())

    with Image.open(file, formats=("PNG",)) as picture:
        orientation = picture.getexif().get(ORIENTATION, 1)
    width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
    return BandImage(height, width, 1 if head[25] == 4 else 3, np.dtype(np.uint16), decode, orientation)


def _open_tiff(file: BinaryIO) -> BandImage | None:
    import tifffile

    tiff = tifffile.TiffFile(file)
    page, series = tiff.pages.first, tiff.series
    is_stack = len(series) == 1 and series[0].axes == "CYX"  # one page a channel, as microscopes and ImageJ write it
    channels = len(series[0]) if is_stack else page.samplesperpixel
    has_alpha = bool(page.extrasamples) and page.extrasamples[-1] in _ALPHA
    channels_but_alpha = page.samplesperpixel - has_alpha
    is_plain = channels_but_alpha in (1, 3) and (page.bitspersample == 8 or page.samplesperpixel == 1)
    is_plain = is_plain and not (channels_but_alpha == 3 and page.photometric in _GREY)  # Pillow opens none of these
    if not is_stack and (is_plain or len(tiff.pages) > 1 or page.photometric == _CMYK):
        return None

    def decode() -> np.ndarray:
        if is_stack:
            pixels = np.stack([_read_page(one) for one in series[0].pages], axis=-1)
        else:
            pixels = _read_page(page)
            pixels = np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels  # SYX: planar, channels first
        return ~pixels if page.photometric == _WHITE_IS_ZERO and pixels.dtype.kind == "u" else pixels

    dtype = page.dtype.newbyteorder("=") if page.dtype else np.dtype("V")
    orientation = page.tags.valueof(ORIENTATION, 1)
    return BandImage(page.imagelength, page.imagewidth, channels - has_alpha, dtype, decode, orientation)


def _read_page(page: "TiffPage | TiffFrame | None") -> np.ndarray:
    """Return the pixels of one page.

    Raises:
        ValueError: some of the pixels are not in the file.
    """
    if page is None:
        raise ValueError("a page of its channels is missing")
    refuse_truncated(page)
    return page.asarray()


def refuse_truncated(page: "TiffPage | TiffFrame") -> None:
    """Refuse a page of which a part is not in the file: tifffile would fill it with zeros.

    Raises:
        ValueError: a part is missing.
    """
    size = page.parent.filehandle.size
    parts = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if not parts or any(count <= 0 or offset + count > size for offset, count in parts):
        raise ValueError("the file ends before its pixels do")
