"""Opening a file: errors that name it, frames, size limits, orientation, and damaged content."""

import struct
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kseg.data.files.images import find_bit_depth, read_image
from kseg.data.files.masks import read_mask
from kseg.errors import KsegError
from tests.data.files.samples import COLOURS, INDICES, PICTURE, encode_bands, encode_tiff

pytestmark = pytest.mark.backend_free


def test_a_file_that_cannot_be_read_is_named(write_file, tmp_path):
    path = write_file("bad.png", b"\x89PNG\r\n\x1a\n and no more")
    for read in (read_image, read_mask):
        with pytest.raises(KsegError, match=r"bad.png cannot be read: cannot identify image"):
            read(path)
        with pytest.raises(KsegError, match=r"none.png cannot be read: .*No such file"):
            read(str(tmp_path / "none.png"))
    whole = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(KsegError, match=r"cut.png cannot be read: .*truncated"):
        read_mask(str(whole))


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_several_frames_are_refused(write_file, name):
    frames = [Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (0, 100, 200)]
    path = write_file(name, frames[0], save_all=True, append_images=frames[1:])
    for read in (read_image, read_mask):
        with pytest.raises(KsegError, match=rf"{name} has 3 frames; expected one. Save each frame as its own file"):
            read(path)


def test_a_jpeg_with_a_preview_counts_as_one_frame(write_file):
    preview = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    path = write_file("a.jpg", np.full((16, 16, 3), 77, np.uint8), format="MPO", save_all=True, append_images=[preview])
    assert read_image(path).shape == (16, 16, 3)


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_an_image_above_pillows_limit_is_refused(write_file, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("a.png", "a.npy"):
        path = write_file(name, np.zeros((9, 12), np.uint8))
        for read in (read_image, read_mask):
            with pytest.raises(KsegError, match=rf"{name} is 12 x 9 .* at most 100 pixels. Cut it into tiles"):
                read(path)


def test_an_npy_shorter_than_its_header_says_is_refused(write_file, tmp_path):
    with (tmp_path / "huge.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (2**20, 2**30)})
        file.write(b"few")
    for read in (read_image, read_mask):
        with pytest.raises(KsegError, match=r"huge.npy cannot be read: mmap length is greater than file size"):
            read(str(tmp_path / "huge.npy"))


SAMPLES = {
    "a.png": [PICTURE, INDICES, np.uint16([[0, 900]]), Image.fromarray(INDICES).convert("P"), INDICES > 0],
    "a.jpg": [PICTURE, INDICES, Image.new("CMYK", (9, 9), (9, 8, 7, 6))],
    "a.bmp": [PICTURE, INDICES],
    "a.gif": [INDICES],
    "a.webp": [PICTURE],
    "a.tif": [PICTURE, INDICES, np.uint16([[0, 900]]), np.int32([[0, 70000]]), Image.new("LAB", (9, 9))],
    "a.npy": [PICTURE, INDICES, np.uint16([[0, 900]]), np.array([[{}]])],
    "bands.tif": [
        encode_bands(5, np.uint8),
        encode_tiff(np.ones((5, 3, 4), np.uint16), compression="lzw", metadata={"axes": "CYX"}),
    ],
    "deep.png": [imagecodecs.png_encode(np.full((5, 6, 3), 700, np.uint16))],
}


@st.composite
def damaged_files(draw):
    """A file name, the index of a sample, where to cut its bytes, and which bytes to overwrite."""
    name = draw(st.sampled_from(sorted(SAMPLES)))
    sample = draw(st.integers(0, len(SAMPLES[name]) - 1))
    writes = st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4))
    return name, sample, draw(st.none() | st.integers(0, 300)), draw(st.lists(writes, max_size=4))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Pillow warns of damage before it raises
@settings(max_examples=400, deadline=None)
@given(damaged_files(), st.sampled_from([(), COLOURS]), st.sampled_from([8, 16]))
def test_a_damaged_file_is_read_or_refused_by_name(tmp_path_factory, damaged, colours, bit_depth):
    name, sample, cut, writes = damaged
    path = tmp_path_factory.getbasetemp() / f"{sample}-{name}"
    content = SAMPLES[name][sample]
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        np.save(path, content)
    else:
        (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path)
    data = bytearray(path.read_bytes())
    for place, new in writes:
        data[place : place + len(new)] = new
    path.write_bytes(data[:cut])
    channels = 5 if name == "bands.tif" else 3
    for read in (lambda: read_image(str(path), bit_depth, channels), lambda: read_mask(str(path), colours)):
        message, values = None, np.ones((1, 1, 1))
        try:
            values = read()
        except KsegError as error:
            message = str(error)
        assert message is None or str(path) in message
        assert values.ndim == 3
        assert values.min() >= 0  # fails for an empty array
    find_bit_depth([str(path)])


@pytest.fixture
def decoded(monkeypatch):
    """The number of PNG files that libpng decoded."""
    calls = []
    monkeypatch.setattr(
        imagecodecs, "png_decode", lambda data, decode=imagecodecs.png_decode: calls.append(1) or decode(data)
    )
    return calls


def with_chunk(png, name, data, before):
    """Return a PNG with one more chunk before another one."""
    chunk = struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    place = png.index(before) - 4
    return png[:place] + chunk + png[place:]


@pytest.mark.parametrize("level", [0, 1, 9])
@pytest.mark.parametrize("shape", [(1, 1), (5, 7), (64, 33), (64, 33, 3)])
def test_a_plain_png_is_decoded_by_libpng_to_the_same_pixels(write_file, decoded, rng, shape, level):
    pixels = rng.integers(0, 256, shape).astype(np.uint8)
    path = write_file("a.png", pixels, compress_level=level)
    np.testing.assert_array_equal(read_image(path), pixels if pixels.ndim == 3 else np.dstack([pixels] * 3))
    if pixels.ndim == 2:
        np.testing.assert_array_equal(read_mask(path)[..., 0], pixels)
    assert decoded


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
def test_a_png_that_a_tag_turns_is_left_to_pillow(write_file, decoded, rng, before, tmp_path):
    pixels = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    path = write_file("a.png", pixels)
    exif = Image.Exif()
    exif[274] = 6
    (tmp_path / "a.png").write_bytes(with_chunk((tmp_path / "a.png").read_bytes(), b"eXIf", exif.tobytes()[6:], before))
    np.testing.assert_array_equal(read_image(path), np.rot90(pixels, -1))
    assert not decoded


def test_of_a_png_with_a_transparent_colour_the_colours_are_read(write_file, decoded, rng):
    pixels = rng.integers(0, 256, (5, 7, 3)).astype(np.uint8)
    path = write_file("a.png", pixels, transparency=tuple(pixels[0, 0].tolist()))
    np.testing.assert_array_equal(read_image(path), pixels)
    assert not decoded


def test_what_libpng_refuses_pillow_judges(write_file, tmp_path):
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    path = write_file("a.png", pixels)
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: content.index(b"IEND") - 4])
    np.testing.assert_array_equal(read_mask(path)[..., 0], pixels)  # nothing but its end is missing
