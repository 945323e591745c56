import io
import re
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from kseg.data.files.images import find_bit_depth, find_channels, read_image
from kseg.data.files.masks import read_mask, refuse_colours
from kseg.data.files.pairs import check_headers, read_pair
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

PICTURE = np.uint8([[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [100, 110, 120]]])
INDICES = np.uint8([[0, 1, 2], [1, 1, 0]])
COLOURS = ("#000000", "#ff0000", "#00ff00")
RED_AND_GREEN = np.uint8([[0, 0, 0], [255, 0, 0], [0, 255, 0]])[INDICES]


@pytest.fixture
def written(tmp_path):
    """Writes an array, or bytes, to a file of this name and returns its path."""

    def write(name, content, **options):
        path = tmp_path / name
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif path.suffix == ".npy":
            np.save(path, content)
        else:
            (content if isinstance(content, Image.Image) else Image.fromarray(content)).save(path, **options)
        return str(path)

    return write


def tiff(values, **options):
    """The bytes of a TIFF of these values."""
    file = io.BytesIO()
    tifffile.imwrite(file, values, **{"photometric": "minisblack"} | options)
    return file.getvalue()


def bands(channels, dtype):
    return tiff(np.ones((3, 4, channels), dtype), planarconfig="contig")


def png(width, bits, kind, row):
    """A PNG of one row of pixels, of kind 0, grey, or 2, in colours; Pillow writes none of so few or so many bits."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, 1, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")


# Images


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.tiff", "a.npy", "a.TIF", "a.webp"])
def test_colours_of_8_bits_are_read_as_they_were_stored(written, name):
    options = {"lossless": True} if name == "a.webp" else {}
    found = read_image(written(name, PICTURE, **options))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, PICTURE)


@pytest.mark.parametrize("name", ["a.png", "a.gif", "a.tif", "a.npy"])
def test_grey_images_become_three_equal_channels(written, name):
    assert read_image(written(name, np.uint8([[7, 200]]))).tolist() == [[[7] * 3, [200] * 3]]


def test_jpeg_is_read_closely(written):
    found = read_image(written("a.jpg", np.full((16, 16, 3), 77, np.uint8), quality=95))
    assert abs(found.astype(int) - 77).max() <= 2


def test_opacity_is_left_out(written):
    picture = np.dstack([PICTURE, np.full((2, 2), 9, np.uint8)])
    for name in ("a.png", "a.tif", "a.webp"):
        options = {"lossless": True, "exact": True} if name == "a.webp" else {}
        np.testing.assert_array_equal(read_image(written(name, picture, **options)), PICTURE)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.npy"])
@pytest.mark.parametrize(("bits", "half"), [(8, 128), (10, 512), (12, 2048), (14, 8192), (16, 32768)])
def test_16_bits_become_8_by_the_full_scale_that_is_set(written, name, bits, half):
    values = np.uint16([[0, half, 2**bits - 1]])
    assert read_image(written(name, values), bits)[0, :, 0].tolist() == [0, 128, 255]
    # Files of 8 bits stay as they are, whatever the others hold.
    assert read_image(written(name, np.uint8([[0, 128, 255]])), bits)[0, :, 0].tolist() == [0, 128, 255]


def test_npy_of_16_bits_may_have_colours_and_any_byte_order(written):
    values = np.arange(24, dtype=">u2").reshape(2, 4, 3) * 40
    np.testing.assert_array_equal(read_image(written("a.npy", values), 10), np.round(values * (255 / 1023)))
    np.testing.assert_array_equal(read_image(written("a.npy", np.asfortranarray(values)), 16), np.round(values / 257))


def test_a_value_beyond_the_full_scale_is_refused_with_the_flag_that_has_room(written):
    path = written("deep.png", np.uint16([[0, 5000]]))
    with pytest.raises(
        KsegError, match=r"deep.png holds 5000; .* read with 12 bits, expected at most 4095. Give --bit-"
    ):
        read_image(path, 12)
    with pytest.raises(KsegError, match=r"with 8 bits, expected at most 255. Give --bit-depth 14"):
        read_image(path)


@pytest.mark.parametrize(
    ("largest", "bits"), [(0, 8), (255, 8), (256, 10), (1023, 10), (1024, 12), (4096, 14), (16384, 16), (65535, 16)]
)
def test_the_bit_depth_is_the_smallest_that_holds_every_value(written, largest, bits):
    paths = [written("a.png", np.uint8([[255]])), written("b.png", np.uint16([[3]])), written("c.png", b"broken")]
    for name in ("d.png", "d.tif", "d.npy"):
        assert find_bit_depth([*paths, written(name, np.uint16([[largest]]))]) == bits
    assert find_bit_depth([written("e.npy", np.array([[largest]], ">u2"))]) == bits
    assert find_bit_depth([]) == 8


def test_the_bit_depth_is_looked_for_in_64_images_all_over(written, monkeypatch):
    seen = []
    monkeypatch.setattr("kseg.data.files.images._largest_value", lambda path: seen.append(path) or 0)
    find_bit_depth(list(range(1000)))
    assert 32 < len(seen) <= 64
    assert (seen[0], max(np.diff(seen))) == (0, 16)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.tif", bands(5, np.uint8), r"a.tif has 5 channels; the images .* are read with 3, expected as many"),
        ("a.tif", bands(17, np.uint8), r"a.tif has 17 channels; expected 1 to 16. Choose some of them"),
        ("a.tif", bands(5, np.float32), r"a.tif holds float32; expected 8 or 16 bits a channel"),
        ("a.tif", bands(5, np.int16), r"a.tif holds int16; expected 8 or 16 bits a channel"),
        ("a.tif", tiff(np.ones((3, 4, 4), np.uint16), photometric=5), r"a.tif holds channels of 16 bits, of which"),
        ("a.npy", np.ones((3, 4, 17), np.uint8), r"a.npy has 17 channels; expected 1 to 16"),
        ("a.npy", np.ones((3, 4, 2), np.uint8), r"a.npy has 2 channels; the images of its data set are read with 3"),
        ("a.npy", np.ones((3, 4), np.float32), r"a.npy holds float32 \(3, 4, 1\); expected uint8 or uint16"),
        ("a.npy", np.ones((3, 4), np.int16), r"a.npy holds int16"),
        ("a.npy", np.ones(7, np.uint8), r"a.npy has the shape \(7,\); expected \(H, W\) or \(H, W, C\)"),
        ("a.npy", np.ones((0, 7), np.uint8), r"a.npy has the shape \(0, 7\); expected"),
        ("a.npy", np.array([[{}]]), r"a.npy cannot be read: Array can't be memory-mapped: Python objects"),
        ("a.tif", np.ones((3, 4), np.float32), r"a.tif has Pillow's mode 'F'; expected 8 or 16 bits a channel"),
        ("a.tif", np.full((3, 4), 70000, np.int32), r"a.tif has Pillow's mode 'I'; expected 8 or 16 bits"),
        ("a.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"a.png cannot be read: cannot identify"),
    ],
)
def test_images_that_are_not_read(written, name, content, message):
    with pytest.raises(KsegError, match=message):
        read_image(written(name, content))


# Images of more channels, or more bits, than Pillow reads


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
def test_a_tiff_keeps_all_its_channels(written, rng, channels, dtype, options):
    values = rng.integers(0, np.iinfo(dtype).max, (20, 33, channels), dtype, endpoint=True)
    planar = "axes" in options.get("metadata", {}) or options.get("planarconfig") == "separate"
    stored = np.ascontiguousarray(np.moveaxis(values, -1, 0)) if planar else values
    path = written("a.tif", tiff(stored, **options))
    found = read_image(path, 16, channels)
    np.testing.assert_array_equal(found, values if dtype == np.uint8 else np.round(values / 257))
    assert find_channels([path]) == channels


def test_an_npy_keeps_all_its_channels(written, rng):
    values = rng.integers(0, 256, (3, 5, 16), np.uint8)
    np.testing.assert_array_equal(read_image(written("a.npy", values), channels=16), values)


@pytest.mark.parametrize("opacity", [False, True])
def test_colours_of_16_bits_are_not_cut_to_8(written, rng, opacity):
    values = rng.integers(0, 65536, (20, 33, 4 if opacity else 3), np.uint16)
    expected = np.round(values[..., :3] / 257)
    in_tiff = tiff(values, photometric="rgb", extrasamples=["unassalpha"] * opacity, compression="lzw")
    for name, content in (("a.png", imagecodecs.png_encode(values)), ("a.tif", in_tiff)):
        path = written(name, content)
        np.testing.assert_array_equal(read_image(path, 16), expected)
        assert find_bit_depth([path]) == 16
        assert find_channels([path]) == 3
        with pytest.raises(KsegError, match=rf"{name} has 3 channels of 16 bits; expected a mask of one channel, or"):
            read_mask(path)


def test_grey_of_16_bits_with_opacity_is_read_without(written, rng):
    values = rng.integers(0, 65536, (20, 33, 2), np.uint16)
    found = read_image(written("a.png", imagecodecs.png_encode(values)), 16)
    np.testing.assert_array_equal(found, np.round(values[..., :1] / 257).repeat(3, axis=2))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_bands_are_turned_upright_as_pillow_turns_a_picture(written, rng, orientation):
    values = rng.integers(0, 256, (4, 7, 5), np.uint8)
    tag = [(274, 3, 1, orientation, True)]
    found = read_image(written("bands.tif", tiff(values, planarconfig=1, extratags=tag)), channels=5)
    exif = Image.Exif()
    exif[0x0112] = orientation
    for channel in range(5):
        plain = read_image(written("plain.png", values[..., channel], exif=exif))
        np.testing.assert_array_equal(found[..., channel], plain[..., 0])


def test_where_opacity_is_said_of_a_fourth_channel_it_is_none(written, rng):
    values = rng.integers(0, 256, (4, 7, 4), np.uint8)
    alpha = written("alpha.tif", tiff(values, photometric="rgb", extrasamples=["unassalpha"]))
    infrared = written("infrared.tif", tiff(values, photometric="rgb", extrasamples=["unspecified"]))
    np.testing.assert_array_equal(read_image(alpha), values[..., :3])
    np.testing.assert_array_equal(read_image(infrared, channels=4), values)
    with pytest.raises(KsegError, match=r"differ in their number of channels: .*alpha.tif has 3, .*infrared.tif has 4"):
        find_channels([alpha, infrared])


def test_grey_and_colours_go_together_and_what_cannot_be_read_says_nothing(written):
    grey, broken = written("grey.png", np.uint8([[1]])), written("broken.tif", b"II*\0broken")
    assert find_channels([broken, grey, written("colours.npy", PICTURE)]) == 3
    assert find_channels([broken]) == find_channels([]) == 3


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16), "compression": "lzw"}], ids=str)
def test_a_tiff_that_was_cut_off_is_refused_and_not_filled_up(written, rng, options):
    whole = tiff(rng.integers(0, 256, (40, 40, 5), np.uint8), planarconfig=1, **options)
    for length in (len(whole) - 1, len(whole) // 2):
        with pytest.raises(KsegError, match=r"a.tif cannot be read"):
            read_image(written("a.tif", whole[:length]), channels=5)


def test_frames_that_are_no_channels_are_refused(written):
    for axes in ("ZYX", "TYX"):
        path = written("a.tif", tiff(np.zeros((5, 6, 7), np.uint8), imagej=True, metadata={"axes": axes}))
        with pytest.raises(KsegError, match=r"a.tif holds 5 frames; expected one"):
            read_image(path, channels=5)


@pytest.mark.parametrize("name", ["a.gif", "a.tif", "a.webp", "a.png"])
def test_several_frames_are_refused(written, name):
    frames = [Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (0, 100, 200)]
    path = written(name, frames[0], save_all=True, append_images=frames[1:])
    for read in (read_image, read_mask):
        with pytest.raises(KsegError, match=rf"{name} holds 3 frames; expected one. Save each as a file of its own"):
            read(path)


def test_a_phones_jpeg_with_a_preview_in_it_is_one_picture(written):
    preview = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
    path = written("a.jpg", np.full((16, 16, 3), 77, np.uint8), format="MPO", save_all=True, append_images=[preview])
    assert read_image(path).shape == (16, 16, 3)


def test_image_and_mask_are_turned_upright_each_by_its_own_tag(written):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be seen upright, turn by a quarter, clockwise
    picture, mask = np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(6, dtype=np.uint8).reshape(2, 3)
    for extension, options in (("png", {}), ("tif", {}), ("tiff", {"compression": "tiff_lzw"})):
        tagged = written(f"tagged.{extension}", picture, exif=turned, **options)
        plain = written(f"plain.{extension}", mask)
        assert read_image(tagged)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
        assert read_mask(tagged)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
        image, upright_mask = read_pair(tagged, tagged)
        assert image.shape[:2] == upright_mask.shape[:2] == (3, 2)
        with pytest.raises(KsegError, match=r"tagged.* is 2 x 3 and its mask 3 x 2 \(width x height\), .*plain"):
            read_pair(tagged, plain)


def test_what_turns_a_png_may_stand_behind_its_pixels(written):
    exif = Image.Exif()
    exif[0x0112] = 6
    tagged = written("tagged.png", np.arange(6, dtype=np.uint8).reshape(2, 3), exif=exif)
    content = Path(tagged).read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4])]
    behind = written("behind.png", content.replace(chunk, b"")[:-12] + chunk + content[-12:])
    lying = written("lying.png", np.zeros((2, 3), np.uint8))
    upright = written("upright.png", np.zeros((3, 2), np.uint8))
    for image in (tagged, behind):
        check_headers(image, upright)
        assert read_pair(image, upright)[0].shape == (3, 2, 3)
        with pytest.raises(KsegError, match=r"is 2 x 3 and its mask 3 x 2"):
            read_pair(image, lying)
    with pytest.raises(KsegError, match=r"is 2 x 3 and its mask 3 x 2"):
        check_headers(tagged, lying)


@pytest.mark.filterwarnings("ignore:Image size:PIL.Image.DecompressionBombWarning")
def test_what_would_fill_the_memory_is_refused(written, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    for name in ("a.png", "a.npy"):
        path = written(name, np.zeros((9, 12), np.uint8))
        for read in (read_image, read_mask):
            with pytest.raises(KsegError, match=rf"{name} is 12 x 9 .* at most 100 pixels. Cut it into tiles"):
                read(path)


# Masks


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "I", "RGB"])
def test_masks_are_read_as_they_were_stored(mode, written):
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
    found = read_mask(written(name, picture))
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], values)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.uint16, np.int32, np.int64, np.uint64, ">u4"])
def test_masks_of_numpy_are_integers_of_any_size(written, dtype):
    for values in (INDICES.astype(dtype), INDICES.astype(dtype)[..., None]):
        found = read_mask(written("mask.npy", values))
        assert (found.dtype, found.shape) == (np.uint16, (2, 3, 1))
        np.testing.assert_array_equal(found[..., 0], INDICES.astype(dtype))


@pytest.mark.parametrize(("bits", "row"), [(2, 0b00_01_10_11), (4, 0x0F)])
def test_indices_in_grey_of_few_bits_are_not_stretched(written, bits, row):
    """Pillow would make 85, 170 and 255 of 1, 2 and 3."""
    found = read_mask(written("mask.png", png(8 // bits, bits, 0, bytes([row]))))
    assert found[0, :, 0].tolist() == {2: [0, 1, 2, 3], 4: [0, 15]}[bits]


def test_instance_ids_of_32_bits_stay_what_they_are_up_to_65535(written):
    ids = np.int32([[0, 7, 65535, 65536, 2**31 - 1]])
    for name in ("ids.tif", "ids.npy"):
        assert read_mask(written(name, ids))[0, :, 0].tolist() == [0, 7, 65535, 65535, 65535]


@pytest.mark.parametrize("name", ["mask.png", "mask.bmp", "mask.tif", "mask.npy"])
def test_colours_become_their_places_in_the_table(written, name):
    path = written(name, RED_AND_GREEN)
    found = read_mask(path, COLOURS)
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found[..., 0], INDICES)
    other_order = [COLOURS[2], COLOURS[0], COLOURS[1]]
    np.testing.assert_array_equal(read_mask(path, other_order)[..., 0], np.int32([1, 2, 0])[INDICES])


def test_colours_to_ignore_become_255_and_are_no_class(written):
    found = read_mask(written("mask.png", RED_AND_GREEN), ["ignore=" + COLOURS[1], COLOURS[0], COLOURS[2]])
    np.testing.assert_array_equal(found[..., 0], np.int32([0, 255, 1])[INDICES])


def test_with_a_table_palettes_and_grey_are_read_by_their_colours_too(written):
    palette = Image.fromarray(RED_AND_GREEN).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_mask(written("palette.png", palette), COLOURS)[..., 0], INDICES)
    assert read_mask(written("grey.png", np.uint8([[0, 255]])), ("#ffffff", "#000000"))[..., 0].tolist() == [[1, 0]]


def test_a_colour_that_is_not_in_the_table_is_named(written):
    path = written("mask.png", RED_AND_GREEN)
    with pytest.raises(
        KsegError, match=r"mask.png holds the colour #00ff00 in 1 pixels, and --colours has #000000, #f"
    ):
        read_mask(path, COLOURS[:2])
    with pytest.raises(KsegError, match=r"colours: .*'red-ish'; expected such as '#ff0000'"):
        read_mask(path, ("red-ish", "#000000"))
    with pytest.raises(KsegError, match=r"ids.png holds uint16 of 1 channels; expected a mask in colours of 8 bits"):
        read_mask(written("ids.png", np.uint16([[700]])), COLOURS)


def test_colours_without_a_table_are_listed_with_the_flag_to_give(written):
    said = r"masks in colours, #000000 \(33.3%\), #ff0000 \(50.0%\), #00ff00 \(16.7%\); expected one channel"
    flag = re.escape("--colours '#000000' '#ff0000' '#00ff00'") + "$"
    path = written("mask.png", RED_AND_GREEN)
    with pytest.raises(KsegError, match=rf"mask.png: {said}.*{flag}"):
        read_mask(path)
    broken, grey = written("broken.png", b"broken"), written("grey.png", INDICES)
    with pytest.raises(KsegError, match=rf"my set: {said}.*{flag}"):
        refuse_colours("my set", [broken, grey, path])
    refuse_colours("my set", [broken, grey, written("grey_rgb.png", np.full((4, 4, 3), 9, np.uint8))])


def test_more_colours_than_a_mask_has_are_not_listed(written, rng):
    path = written("photo.png", rng.integers(0, 255, (16, 16, 3), np.uint8))
    with pytest.raises(KsegError, match=r"photo.png: masks in 2\d\d colours; expected one channel, or at most 64 flat"):
        read_mask(path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", np.ones((3, 4), np.float32), r"a.npy holds float32 \(3, 4, 1\); expected integers \(H, W\)"),
        ("a.npy", np.ones((3, 4, 2), np.uint8), r"a.npy holds uint8 \(3, 4, 2\); expected integers"),
        ("a.npy", np.ones((3, 4, 3), np.int32), r"a.npy holds int32 \(3, 4, 3\); expected integers"),
        ("a.npy", np.full((3, 4), -2, np.int8), r"a.npy holds int8 from -2; expected integers, 0 or more"),
        ("a.tif", np.full((3, 4), -2, np.int32), r"a.tif holds int32 from -2; expected integers"),
        ("a.tif", np.ones((3, 4), np.float32), r"a.tif has Pillow's mode 'F'; expected a mask of whole numbers"),
    ],
)
def test_masks_that_are_not_read(written, name, content, message):
    with pytest.raises(KsegError, match=message):
        read_mask(written(name, content))


# Files


def test_bad_files_are_named(written, tmp_path):
    path = written("bad.png", b"\x89PNG\r\n\x1a\n and no more")
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


def test_an_npy_that_lies_about_its_size_is_refused_before_memory_is_taken(written, tmp_path):
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
    "bands.tif": [bands(5, np.uint8), tiff(np.ones((5, 3, 4), np.uint16), compression="lzw", metadata={"axes": "CYX"})],
    "deep.png": [imagecodecs.png_encode(np.full((5, 6, 3), 700, np.uint16))],
}


@st.composite
def damaged_files(draw):
    """A name, an array to write under it, and what to do to its bytes: where to cut, and what to put where."""
    name = draw(st.sampled_from(sorted(SAMPLES)))
    sample = draw(st.integers(0, len(SAMPLES[name]) - 1))
    writes = st.tuples(st.integers(0, 300), st.binary(min_size=1, max_size=4))
    return name, sample, draw(st.none() | st.integers(0, 300)), draw(st.lists(writes, max_size=4))


@pytest.mark.filterwarnings("ignore")  # Pillow's, of what it tries nevertheless
@settings(max_examples=400, deadline=None)
@given(damaged_files(), st.sampled_from([(), COLOURS]), st.sampled_from([8, 16]))
def test_damaged_files_are_read_or_refused_by_name(tmp_path_factory, damaged, colours, bit_depth):
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
        said, values = None, np.ones((1, 1, 1))
        try:
            values = read()
        except KsegError as error:
            said = str(error)
        assert said is None or str(path) in said
        assert values.ndim == 3
        assert values.min() >= 0  # which an empty array would not have
    find_bit_depth([str(path)])
