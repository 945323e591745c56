"""Images as uint8 arrays: values, channels, bit depth."""

from pathlib import Path

import numpy as np
import pytest

from kseg.data.files.formats import EmbeddedFile
from kseg.data.files.images import find_bit_depth, find_channels, read_image
from kseg.errors import KsegError
from tests.data.files.samples import PICTURE, encode_bands, encode_tiff

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff", "a.npy", "a.TIF", "a.webp"])
def test_rgb_of_8_bits_is_read_unchanged(write_file, name):
    options = {"lossless": True} if name == "a.webp" else {}
    image = read_image(write_file(name, PICTURE, **options))
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, PICTURE)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.npy"])
def test_grey_images_become_three_equal_channels(write_file, name):
    assert read_image(write_file(name, np.uint8([[7, 200]]))).tolist() == [[[7] * 3, [200] * 3]]


def test_a_jpeg_is_read_almost_unchanged(write_file):
    image = read_image(write_file("a.jpg", np.full((16, 16, 3), 77, np.uint8), quality=95))
    assert abs(image.astype(int) - 77).max() <= 2


def test_alpha_is_dropped(write_file):
    picture = np.dstack([PICTURE, np.full((2, 2), 9, np.uint8)])
    for name in ("a.png", "a.tif", "a.webp"):
        options = {"lossless": True, "exact": True} if name == "a.webp" else {}
        np.testing.assert_array_equal(read_image(write_file(name, picture, **options)), PICTURE)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
@pytest.mark.parametrize(("bits", "half"), [(8, 128), (10, 512), (12, 2048), (14, 8192), (16, 32768)])
def test_16_bits_are_scaled_to_8_by_the_bit_depth(write_file, name, bits, half):
    values = np.uint16([[0, half, 2**bits - 1]])
    assert read_image(write_file(name, values), bits)[0, :, 0].tolist() == [0, 128, 255]
    # Files of 8 bits stay as they are, whatever the others hold.
    assert read_image(write_file(name, np.uint8([[0, 128, 255]])), bits)[0, :, 0].tolist() == [0, 128, 255]


def test_an_npy_of_16_bits_may_have_three_channels_and_any_byte_order(write_file):
    values = np.arange(24, dtype=">u2").reshape(2, 4, 3) * 40
    np.testing.assert_array_equal(read_image(write_file("a.npy", values), 10), np.round(values * (255 / 1023)))
    np.testing.assert_array_equal(
        read_image(write_file("a.npy", np.asfortranarray(values)), 16), np.round(values / 257)
    )


def test_an_npy_keeps_all_its_channels(write_file, rng):
    values = rng.integers(0, 256, (3, 5, 16), np.uint8)
    np.testing.assert_array_equal(read_image(write_file("a.npy", values), channels=16), values)


def test_a_value_above_the_full_scale_is_refused_with_the_bit_depth_to_pass(write_file):
    path = write_file("deep.png", np.uint16([[0, 5000]]))
    with pytest.raises(
        KsegError, match=r"deep.png holds 5000; expected at most 4095, .* read with 12 bits. Give --bit-"
    ):
        read_image(path, 12)
    with pytest.raises(KsegError, match=r"expected at most 255, .* with 8 bits. Give --bit-depth 14"):
        read_image(path)


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_the_bit_depth_is_the_smallest_that_holds_every_value(write_file, largest, bits):
    paths = [
        write_file("a.png", np.uint8([[255]])),
        write_file("b.png", np.uint16([[3]])),
        write_file("c.png", b"broken"),
    ]
    for name in ("d.png", "d.tif", "d.npy"):
        assert find_bit_depth([*paths, write_file(name, np.uint16([[largest]]))]) == bits
    assert find_bit_depth([write_file("e.npy", np.array([[largest]], ">u2"))]) == bits
    assert find_bit_depth([]) == 8


def test_the_bit_depth_comes_from_64_images_evenly_spaced(write_file):
    content = Path(write_file("a.png", np.uint8([[255]]))).read_bytes()
    seen = []

    def image_file(index):
        return EmbeddedFile(f"image {index}", lambda: seen.append(index) or content)

    find_bit_depth([image_file(index) for index in range(1000)])
    assert 32 < len(seen) <= 64
    assert (seen[0], max(np.diff(seen))) == (0, 16)


def test_grey_and_rgb_are_read_with_3_channels_and_faulty_files_are_skipped(write_file):
    grey, broken = write_file("grey.png", np.uint8([[1]])), write_file("broken.tif", b"II*\0broken")
    assert find_channels([broken, grey, write_file("colours.npy", PICTURE)]) == 3
    assert find_channels([broken]) == find_channels([]) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.tif",
            encode_bands(5, np.uint8),
            r"a.tif has 5 channels; expected 3, as in the other images of its data set",
        ),
        ("a.tif", encode_bands(17, np.uint8), r"a.tif has 17 channels; expected 1 to 16. Choose some of them"),
        ("a.tif", encode_bands(5, np.float32), r"a.tif has float32 values; expected 8 or 16 bits a channel"),
        ("a.tif", encode_bands(5, np.int16), r"a.tif has int16 values; expected 8 or 16 bits a channel"),
        (
            "a.tif",
            encode_tiff(np.ones((3, 4, 4), np.uint16), photometric=5),
            r"a.tif has 16 bits a channel, and Pillow",
        ),
        ("a.npy", np.ones((3, 4, 17), np.uint8), r"a.npy has 17 channels; expected 1 to 16"),
        ("a.npy", np.ones((3, 4, 2), np.uint8), r"a.npy has 2 channels; expected 3, as in the other images"),
        (
            "a.npy",
            np.ones((3, 4), np.float32),
            r"a.npy has float32 values of shape \(3, 4, 1\); expected uint8 or uint16",
        ),
        ("a.npy", np.ones((3, 4), np.int16), r"a.npy has int16 values"),
        (
            "a.npy",
            np.ones(7, np.uint8),
            r"a.npy has the shape \(7,\); expected \(H, W\) or \(H, W, C\) with at least one pixel",
        ),
        ("a.npy", np.ones((0, 7), np.uint8), r"a.npy has the shape \(0, 7\); expected"),
        ("a.npy", np.array([[{}]]), r"a.npy cannot be read: Array can't be memory-mapped: Python objects"),
        ("a.tif", np.ones((3, 4), np.float32), r"a.tif has Pillow's mode 'F'; expected 8 or 16 bits a channel"),
        ("a.tif", np.full((3, 4), 70000, np.int32), r"a.tif has Pillow's mode 'I'; expected 8 or 16 bits"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"a.png cannot be read: cannot identify"),
    ],
)
def test_unsupported_images_are_refused(write_file, name, content, message):
    with pytest.raises(KsegError, match=message):
        read_image(write_file(name, content))
