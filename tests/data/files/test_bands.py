"""Images with more channels or bits than Pillow reads."""

import io

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data.files.images import find_bit_depth, find_channels, read_image
from kseg.data.files.masks import read_mask
from kseg.errors import KsegError
from tests.data.files.samples import encode_tiff

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(
    "options",
    [
        {"planarconfig": "contig"},
        {"planarconfig": "separate"},
        {"planarconfig": "contig", "compression": "lzw", "predictor": True},
        {"planarconfig": "contig", "compression": "zlib", "tile": (16, 16)},
        {"planarconfig": "contig", "byteorder": ">"},
        {"metadata": {"axes": "CYX"}},
        {"imagej": True, "metadata": {"axes": "CYX"}},
    ],
    ids=str,
)
def test_a_tiff_keeps_all_its_channels(write_file, rng, channels, dtype, options):
    values = rng.integers(0, np.iinfo(dtype).max, (20, 33, channels), dtype, endpoint=True)
    planar = "axes" in options.get("metadata", {}) or options.get("planarconfig") == "separate"
    stored = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if planar else values
    path = write_file("a.tif", encode_tiff(stored, **options))
    image = read_image(path, 16, channels)
    np.testing.assert_array_equal(image, values if dtype == np.uint8 else np.round(values / 257))
    assert find_channels([path]) == channels


def test_three_channels_that_are_no_colours_are_kept(write_file, rng):
    # Pillow opens no such file.
    values = rng.integers(0, 256, (20, 33, 3)).astype(np.uint8)
    path = write_file("a.tif", encode_tiff(values, photometric="minisblack", planarconfig="contig"))
    np.testing.assert_array_equal(read_image(path), values)


@pytest.mark.parametrize("opacity", [False, True])
def test_rgb_of_16_bits_keeps_all_its_bits(write_file, rng, opacity):
    values = rng.integers(0, 65536, (20, 33, 4 if opacity else 3), np.uint16)
    expected = np.round(values[..., :3] / 257)
    in_tiff = encode_tiff(values, photometric="rgb", extrasamples=["unassalpha"] * opacity, compression="lzw")
    for name, content in (("a.png", imagecodecs.png_encode(values)), ("a.tif", in_tiff)):
        path = write_file(name, content)
        np.testing.assert_array_equal(read_image(path, 16), expected)
        assert find_bit_depth([path]) == 16
        assert find_channels([path]) == 3
        with pytest.raises(KsegError, match=rf"{name} has 3 channels of 16 bits; expected a mask of one channel, or"):
            read_mask(path)


def test_grey_of_16_bits_is_read_without_alpha(write_file, rng):
    values = rng.integers(0, 65536, (20, 33, 2), np.uint16)
    image = read_image(write_file("a.png", imagecodecs.png_encode(values)), 16)
    np.testing.assert_array_equal(image, np.round(values[..., :1] / 257).repeat(3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_of_many_channels_is_turned_upright_as_pillow_does(write_file, rng, orientation):
    values = rng.integers(0, 256, (4, 7, 5), np.uint8)
    tag = [(274, 3, 1, orientation, True)]
    image = read_image(write_file("bands.tif", encode_tiff(values, planarconfig=1, extratags=tag)), channels=5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for channel in range(5):
        plain = read_image(write_file("plain.png", values[..., channel], exif=exif))
        np.testing.assert_array_equal(image[..., channel], plain[..., 0])


def test_a_fourth_channel_marked_as_alpha_is_dropped(write_file, rng):
    values = rng.integers(0, 256, (4, 7, 4), np.uint8)
    alpha = write_file("alpha.tif", encode_tiff(values, photometric="rgb", extrasamples=["unassalpha"]))
    infrared = write_file("infrared.tif", encode_tiff(values, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(read_image(alpha), values[..., :3])
    np.testing.assert_array_equal(read_image(infrared, channels=4), values)
    with pytest.raises(KsegError, match=r"differ in their number of channels: .*alpha.tif has 3, .*infrared.tif has 4"):
        find_channels([alpha, infrared])


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "lzw"}], ids=str)
def test_a_truncated_tiff_is_refused(write_file, rng, options):
    whole = encode_tiff(rng.integers(0, 256, (40, 40, 5), np.uint8), planarconfig=1, **options)
    for length in (len(whole) - 1, len(whole) // 2):
        with pytest.raises(KsegError, match=r"a.tif cannot be read"):
            read_image(write_file("a.tif", whole[:length]), channels=5)


def test_tiff_pages_that_are_not_channels_are_refused(write_file):
    for axes in ("ZYX", "TYX"):
        path = write_file("a.tif", encode_tiff(np.zeros((5, 6, 7), np.uint8), imagej=True, metadata={"axes": axes}))
        with pytest.raises(KsegError, match=r"a.tif has 5 frames; expected one"):
            read_image(path, channels=5)


def test_an_ome_tiff_without_one_of_its_pages_is_refused(write_file):
    pixels = (
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="7" SizeY="6" SizeC="4" SizeZ="1" SizeT="1">'
    )
    channels = "".join(f'<Channel ID="Channel:0:{index}" SamplesPerPixel="1"/>' for index in range(4))
    pages = '<TiffData IFD="0" FirstC="0" FirstZ="0" FirstT="0" PlaneCount="3"/>'
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    ome = f'<OME xmlns="{schema}"><Image ID="Image:0">{pixels}{channels}{pages}</Pixels></Image></OME>'
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for page in range(3):
            values = np.full((6, 7), page, np.uint8)
            writer.write(values, description=None if page else ome, metadata=None, contiguous=False)
    with pytest.raises(KsegError, match=r"a.tif cannot be read: a page of its channels is missing. Expected a whole"):
        read_image(write_file("a.tif", file.getvalue()), channels=4)
