import numpy as np
import pytest
import tifffile

from kseg.data.files import rows
from kseg.data.files.images import read_image
from kseg.data.files.rows import open_rows
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


@pytest.fixture(autouse=True)
def every_image_is_large(monkeypatch):
    monkeypatch.setattr(rows, "_LARGE", 0)


def assert_equal(path, bit_depth=8, channels=3, steps=(1, 7, 64)):
    """All ways of reading give the pixels of `read_image`."""
    expected = read_image(str(path), bit_depth, channels)
    opened = open_rows(str(path), bit_depth, channels)
    assert opened.shape == expected.shape
    for step in steps:
        for first in range(0, len(expected), step):
            last = min(first + step, len(expected))
            np.testing.assert_array_equal(opened.read(first, last), expected[first:last])
    return opened


@pytest.mark.parametrize(
    "layout",
    [{}, {"rowsperstrip": 5}, {"tile": (16, 32)}, {"compression": "deflate", "tile": (16, 16)}, {"compression": "lzw"}],
    ids=str,
)
@pytest.mark.parametrize("shape", [(50, 70, 3), (33, 17)])
def test_parts_of_a_tiff_are_its_pixels(layout, shape, rng, tmp_path):
    tifffile.imwrite(tmp_path / "x.tif", rng.integers(0, 256, shape).astype(np.uint8), **layout)
    assert_equal(tmp_path / "x.tif")


@pytest.mark.parametrize("channels", [3, 4, 7])
def test_channels_and_16_bits(channels, rng, tmp_path):
    values = rng.integers(0, 4096, (40, 30, channels)).astype(np.uint16)
    photometric = "rgb" if channels == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "x.tif", values, photometric=photometric, planarconfig="contig", tile=(16, 16))
    assert_equal(tmp_path / "x.tif", 12, channels)
    np.save(tmp_path / "x.npy", values)
    assert_equal(tmp_path / "x.npy", 12, channels)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_an_uncompressed_file_of_one_part_is_read_by_rows(byteorder, rng, tmp_path, monkeypatch):
    values = rng.integers(0, 4096, (40, 30, 3)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "x.tif", values, photometric="rgb", byteorder=byteorder, rowsperstrip=40)
    assert_equal(tmp_path / "x.tif", 12)
    np.save(tmp_path / "rows.npy", values.astype(f"{byteorder}u2"))
    np.save(tmp_path / "columns.npy", np.asfortranarray(values))
    assert_equal(tmp_path / "rows.npy", 12)
    assert_equal(tmp_path / "columns.npy", 12)

    read = []
    whole = np.fromfile
    monkeypatch.setattr(
        np,
        "fromfile",
        lambda path, dtype, count, offset: read.append(count) or whole(path, dtype, count, offset=offset),
    )
    for name in ("x.tif", "rows.npy"):
        open_rows(str(tmp_path / name), 12).read(10, 12)
    assert read == [2 * 30 * 3] * 2


@pytest.mark.parametrize("kind", ["white is zero", "alpha", "planes", "turned", "palette"])
def test_a_tiff_that_is_not_plain_is_read_as_a_whole(kind, rng, tmp_path):
    values = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    path, channels = tmp_path / "x.tif", 3
    if kind == "white is zero":
        tifffile.imwrite(path, values, photometric="miniswhite")
    elif kind == "alpha":
        tifffile.imwrite(path, np.dstack([values] * 4), photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "planes":
        tifffile.imwrite(path, np.stack([values] * 3), photometric="rgb", planarconfig="separate")
    elif kind == "turned":
        tifffile.imwrite(path, values, extratags=[(274, "H", 1, 6, True)])
    else:
        tifffile.imwrite(
            path, values, photometric="palette", colormap=np.tile(np.arange(256, dtype=np.uint16) * 256, (3, 1))
        )
    assert_equal(path, channels=channels)


def test_what_is_missing_is_said_before_a_pixel_is_read(rng, tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, rng.integers(0, 256, (64, 64)).astype(np.uint8), rowsperstrip=8)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(KsegError, match=r"x.tif cannot be read: the file ends before its pixels do"):
        open_rows(str(path))


def test_too_large_values_are_refused_when_their_rows_are_read(tmp_path):
    values = np.zeros((10, 10), np.uint16)
    values[7] = 5000
    np.save(tmp_path / "x.npy", values)
    opened = open_rows(str(tmp_path / "x.npy"), 12)
    opened.read(0, 7)
    with pytest.raises(KsegError, match=r"x.npy holds 5000; expected at most 4095"):
        opened.read(7, 8)


def test_another_number_of_channels_is_refused(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((4, 4, 5), np.uint8))
    with pytest.raises(KsegError, match=r"has 5 channels; expected 3"):
        open_rows(str(tmp_path / "x.npy"))
