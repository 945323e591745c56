"""What a mask picture holds: as it is shown if its palette, its alpha or its tag give the numbers their meaning."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from kseg.data.files.images import read_image
from kseg.data.files.masks import read_mask
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

OBJECT = np.zeros((8, 12), bool)
OBJECT[2:5, 3:9] = True
WHITE = OBJECT * np.uint8(255)


def written(tmp_path, picture, suffix="png", **settings):
    path = tmp_path / f"mask.{suffix}"
    picture.save(path, **settings)
    return str(path)


def with_palette(indices, *colours):
    picture = Image.new("P", indices.shape[::-1])
    picture.putdata(indices.ravel().astype(int).tolist())
    picture.putpalette([value for colour in colours for value in colour])
    return picture


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_a_palette_of_greys_is_read_as_it_is_shown(tmp_path, suffix):
    white_first = with_palette(~OBJECT, (255,) * 3, (0,) * 3)
    assert (read_mask(written(tmp_path, white_first, suffix))[..., 0] == WHITE).all()
    black_first = written(tmp_path, with_palette(OBJECT, (0,) * 3, (255,) * 3), suffix)
    if suffix == "bmp":
        with pytest.raises(KsegError, match=r"mask.bmp is a BMP of 8 bits with a palette .* misreads; .* Save it as"):
            read_mask(black_first)
    else:
        assert (read_mask(black_first)[..., 0] == WHITE).all()


def test_a_bmp_of_one_bit(tmp_path):
    assert (read_mask(written(tmp_path, Image.fromarray(OBJECT), "bmp"))[..., 0] == OBJECT).all()


@pytest.mark.parametrize("convert", ["quantize", "adaptive"])
def test_what_pillow_makes_of_black_and_white(tmp_path, convert):
    picture = Image.fromarray(WHITE).convert("RGB")
    adaptive = {"palette": Image.Palette.ADAPTIVE, "colors": 2}
    picture = picture.quantize(2) if convert == "quantize" else picture.convert("P", **adaptive)
    assert (read_mask(written(tmp_path, picture))[..., 0] == WHITE).all()


def test_a_palette_with_colours_holds_indices_and_so_does_pascal_vocs(tmp_path):
    black, red, grey = (0, 0, 0), (128, 0, 0), (128, 128, 128)
    for index in (1, 2):  # only black and grey are used by the second
        path = written(tmp_path, with_palette(OBJECT * index, black, red, grey))
        assert set(np.unique(read_mask(path))) == {0, index}


def test_an_object_in_the_alpha_channel_alone(tmp_path):
    for colour in (0, 255, 90):
        rgba = np.dstack([np.full((*OBJECT.shape, 3), colour, np.uint8), WHITE])
        assert (read_mask(written(tmp_path, Image.fromarray(rgba)))[..., 0] == WHITE).all()
        assert (read_mask(written(tmp_path, Image.fromarray(rgba).convert("LA")))[..., 0] == WHITE).all()
    # Black on transparent white, as drawing programs save it; and nothing drawn at all.
    drawn = np.dstack([np.where(OBJECT, 0, 255).astype(np.uint8)] * 3 + [WHITE])
    assert (read_mask(written(tmp_path, Image.fromarray(drawn)))[..., 0] == WHITE).all()
    assert not read_mask(written(tmp_path, Image.fromarray(np.full((8, 12, 4), (255, 255, 255, 0), np.uint8)))).any()


def test_a_transparent_index_of_a_palette(tmp_path):
    for transparency in (0, b"\0\xff"):
        picture = with_palette(OBJECT, (255, 255, 255), (255, 255, 255))
        assert (read_mask(written(tmp_path, picture, transparency=transparency))[..., 0] == WHITE).all()


def test_alpha_beside_colours_that_show_the_object_changes_nothing(tmp_path):
    classes = OBJECT * np.uint8(2)
    for alpha in (np.full_like(WHITE, 255), WHITE, np.where(OBJECT, 128, 255).astype(np.uint8)):
        assert (read_mask(written(tmp_path, Image.fromarray(np.dstack([classes, alpha]))))[..., 0] == classes).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_in_which_0_is_white(tmp_path, dtype):
    path, most = str(tmp_path / "mask.tif"), np.iinfo(dtype).max

    def read(stored):
        tifffile.imwrite(path, stored.astype(dtype), photometric="miniswhite")
        return read_mask(path)[..., 0]

    assert (read(np.where(OBJECT, 0, most)) == OBJECT * most).all()  # black and white: as it is shown
    assert not read(np.full(OBJECT.shape, most)).any()  # all black
    assert (read(OBJECT * 3) == OBJECT * 3).all()  # class indices


def test_a_boolean_tiff_of_tifffile_is_read_as_it_was_given(tmp_path):
    path = str(tmp_path / "mask.tif")
    tifffile.imwrite(path, OBJECT)
    with tifffile.TiffFile(path) as file:
        assert file.pages[0].photometric == tifffile.PHOTOMETRIC.MINISWHITE
    assert (read_mask(path)[..., 0] == OBJECT).all()
    Image.fromarray(OBJECT).save(path, compression="group4")  # 0 is white here too, and Pillow wrote what it shows
    assert (read_mask(path)[..., 0] == OBJECT).all()


@pytest.mark.parametrize("channels", [1, 4])
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_an_image_in_which_0_is_white_is_read_as_it_is_shown(tmp_path, rng, channels, dtype, bits):
    shown = rng.integers(0, 256, (8, 12, channels)).astype(dtype) * (257 if bits == 16 else 1)
    path, planes = str(tmp_path / "image.tif"), shown[..., 0] if channels == 1 else np.moveaxis(shown, -1, 0)
    stored = (np.iinfo(dtype).max - planes).astype(dtype)
    tifffile.imwrite(path, stored, photometric="miniswhite", metadata={"axes": "CYX"[-stored.ndim :]})
    image = read_image(path, bits, 3 if channels == 1 else channels)
    assert (image[..., : shown.shape[-1]] == shown // (257 if bits == 16 else 1)).all()


def test_signed_integers_of_a_tiff_are_class_indices(tmp_path):
    stored = np.int8([[0, 1], [2, 127]])
    tifffile.imwrite(tmp_path / "mask.tif", stored)
    np.testing.assert_array_equal(read_mask(str(tmp_path / "mask.tif"))[..., 0], stored)
    tifffile.imwrite(tmp_path / "mask.tif", -stored)
    with pytest.raises(KsegError, match=r"mask\.tif has int8 values, the smallest -127; expected integers, 0 or more"):
        read_mask(str(tmp_path / "mask.tif"))
