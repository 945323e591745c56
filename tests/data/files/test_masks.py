"""Masks as stored values, or as class indices by colour."""

import re

import numpy as np
import pytest
from PIL import Image

from kseg.data.files.masks import read_mask, refuse_colours
from kseg.errors import KsegError
from tests.data.files.samples import COLOUR_MASK, COLOURS, INDICES, encode_png

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "I", "RGB"])
def test_stored_values_are_read_unchanged(mode, write_file):
    values, name = INDICES, "mask.png"
    if mode == "1":
        values, picture = values > 0, Image.fromarray(values > 0)
    elif mode == "P":
        picture = Image.fromarray(values)
        picture = picture.convert("P")
        picture.putdata(values.ravel().tolist())
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])  # as in Pascal VOC
    elif mode == "I;16":
        values = values.astype(np.uint16) * 300
        picture = Image.fromarray(values)
    elif mode == "I":
        values, name = values.astype(np.int32) * 30000, "mask.tif"
        picture = Image.fromarray(values)
    elif mode == "RGB":
        picture = Image.fromarray(np.repeat(values[..., None], 3, -1))
    else:
        picture = Image.fromarray(values)
    assert picture.mode == mode
    mask = read_mask(write_file(name, picture))
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask[..., 0], values)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">u4"])
def test_an_npy_mask_may_have_any_integer_type(write_file, dtype):
    for values in (INDICES.astype(dtype), INDICES.astype(dtype)[..., None]):
        mask = read_mask(write_file("mask.npy", values))
        assert (mask.dtype, mask.shape) == (np.uint16, (2, 3, 1))
        np.testing.assert_array_equal(mask[..., 0], INDICES.astype(dtype))


@pytest.mark.parametrize(("bits", "row"), [(2, 0b00_01_10_11), (4, 0x0F)])
def test_grey_of_2_and_4_bits_is_not_scaled(write_file, bits, row):
    """Pillow would make 85, 170 and 255 of 1, 2 and 3."""
    mask = read_mask(write_file("mask.png", encode_png(8 // bits, bits, 0, bytes([row]))))
    assert mask[0, :, 0].tolist() == {2: [0, 1, 2, 3], 4: [0, 15]}[bits]


def test_instance_ids_above_65535_become_65535(write_file):
    ids = np.int32([[0, 7, 65535, 65536, 2**31 - 1]])
    for name in ("ids.tif", "ids.npy"):
        assert read_mask(write_file(name, ids))[0, :, 0].tolist() == [0, 7, 65535, 65535, 65535]


@pytest.mark.parametrize("name", ["mask.png", "mask.bmp", "mask.tif", "mask.npy"])
def test_colours_become_their_index_in_the_list(write_file, name):
    path = write_file(name, COLOUR_MASK)
    mask = read_mask(path, COLOURS)
    assert mask.dtype == np.uint16
    np.testing.assert_array_equal(mask[..., 0], INDICES)
    other_order = [COLOURS[2], COLOURS[0], COLOURS[1]]
    np.testing.assert_array_equal(read_mask(path, other_order)[..., 0], np.int32([1, 2, 0])[INDICES])


def test_ignored_colours_become_255_and_are_no_class(write_file):
    mask = read_mask(write_file("mask.png", COLOUR_MASK), ["ignore=" + COLOURS[1], COLOURS[0], COLOURS[2]])
    np.testing.assert_array_equal(mask[..., 0], np.int32([0, 255, 1])[INDICES])


def test_palette_and_grey_masks_are_read_by_colour_if_colours_are_given(write_file):
    palette = Image.fromarray(COLOUR_MASK).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_mask(write_file("palette.png", palette), COLOURS)[..., 0], INDICES)
    assert read_mask(write_file("grey.png", np.uint8([[0, 255]])), ("#ffffff", "#000000"))[..., 0].tolist() == [[1, 0]]


def test_a_colour_that_is_nearly_a_listed_one_is_named_with_it(write_file):
    mask = np.zeros((4, 4, 3), np.uint8)
    mask[0, 0] = (252, 3, 0)
    path = write_file("mask.png", mask)
    with pytest.raises(KsegError, match=r"the colour #fc0300 in 1 pixels, nearly #ff0000, as after saving as JPEG"):
        read_mask(path, ("#000000", "#00ff00", "#ff0000"))


def test_a_colour_that_is_not_listed_is_named(write_file):
    path = write_file("mask.png", COLOUR_MASK)
    with pytest.raises(
        KsegError, match=r"mask.png has the colour #00ff00 in 1 pixels; expected .* --colours: #000000, #f"
    ):
        read_mask(path, COLOURS[:2])
    with pytest.raises(KsegError, match=r"colours: .*'red-ish'; expected such as '#ff0000'"):
        read_mask(path, ("red-ish", "#000000"))
    with pytest.raises(KsegError, match=r"ids.png has 1 channels of uint16; expected colours of 8 bits"):
        read_mask(write_file("ids.png", np.uint16([[700]])), COLOURS)


def test_colours_without_a_list_are_refused_with_the_flag_to_give(write_file):
    message = r"masks in colours, #000000 \(33.3%\), #ff0000 \(50.0%\), #00ff00 \(16.7%\); expected one channel"
    flag = re.escape("--colours '#000000' '#ff0000' '#00ff00'") + "$"
    path = write_file("mask.png", COLOUR_MASK)
    with pytest.raises(KsegError, match=rf"mask.png: {message}.*{flag}"):
        read_mask(path)
    broken, grey = write_file("broken.png", b"broken"), write_file("grey.png", INDICES)
    with pytest.raises(KsegError, match=rf"my set: {message}.*{flag}"):
        refuse_colours("my set", [broken, grey, path])
    refuse_colours("my set", [broken, grey, write_file("grey_rgb.png", np.full((4, 4, 3), 9, np.uint8))])


def test_more_than_64_colours_are_not_listed(write_file, rng):
    path = write_file("photo.png", rng.integers(0, 255, (16, 16, 3), np.uint8))
    with pytest.raises(KsegError, match=r"photo.png: masks in 2\d\d colours; expected one channel, or at most 64 flat"):
        read_mask(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a.npy",
            np.ones((3, 4), np.float32),
            r"a.npy has float32 values of shape \(3, 4, 1\); expected integers \(H, W\)",
        ),
        ("a.npy", np.ones((3, 4, 2), np.uint8), r"a.npy has uint8 values of shape \(3, 4, 2\); expected integers"),
        ("a.npy", np.ones((3, 4, 3), np.int32), r"a.npy has int32 values of shape \(3, 4, 3\); expected integers"),
        (
            "a.npy",
            np.full((3, 4), -2, np.int8),
            r"a.npy has int8 values, the smallest -2; expected integers, 0 or more",
        ),
        ("a.tif", np.full((3, 4), -2, np.int32), r"a.tif has int32 values, the smallest -2; expected integers"),
        ("a.tif", np.ones((3, 4), np.float32), r"a.tif has Pillow's mode 'F'; expected a mask of integers"),
    ],
)
def test_unsupported_masks_are_refused(write_file, name, content, message):
    with pytest.raises(KsegError, match=message):
        read_mask(write_file(name, content))
