"""An image and its mask, read together."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from kseg.data.files.images import read_image
from kseg.data.files.masks import read_mask
from kseg.data.files.pair import check_headers, read_pair
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


def test_image_and_mask_are_each_turned_by_their_own_exif_tag(write_file):
    turned = Image.Exif()
    turned[0x0112] = 6  # to be seen upright, turn by a quarter, clockwise
    picture, mask = np.arange(6, dtype=np.uint8).reshape(2, 3), np.arange(6, dtype=np.uint8).reshape(2, 3)
    for extension, options in (("png", {}), ("tif", {}), ("tiff", {"compression": "tiff_lzw"})):
        tagged = write_file(f"tagged.{extension}", picture, exif=turned, **options)
        plain = write_file(f"plain.{extension}", mask)
        assert read_image(tagged)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
        assert read_mask(tagged)[..., 0].tolist() == [[3, 0], [4, 1], [5, 2]]
        image, upright_mask = read_pair(tagged, tagged)
        assert image.shape[:2] == upright_mask.shape[:2] == (3, 2)
        with pytest.raises(KsegError, match=r"tagged.* is 2 x 3 and its mask 3 x 2 \(width x height\), .*plain"):
            read_pair(tagged, plain)


def test_the_exif_tag_of_a_png_may_follow_its_pixels(write_file):
    exif = Image.Exif()
    exif[0x0112] = 6
    tagged = write_file("tagged.png", np.arange(6, dtype=np.uint8).reshape(2, 3), exif=exif)
    content = Path(tagged).read_bytes()
    start = content.index(b"eXIf") - 4
    chunk = content[start : start + 12 + int.from_bytes(content[start : start + 4])]
    behind = write_file("behind.png", content.replace(chunk, b"")[:-12] + chunk + content[-12:])
    lying = write_file("lying.png", np.zeros((2, 3), np.uint8))
    upright = write_file("upright.png", np.zeros((3, 2), np.uint8))
    for image in (tagged, behind):
        check_headers(image, upright)
        assert read_pair(image, upright)[0].shape == (3, 2, 3)
        with pytest.raises(KsegError, match=r"is 2 x 3 and its mask 3 x 2"):
            read_pair(image, lying)
    with pytest.raises(KsegError, match=r"is 2 x 3 and its mask 3 x 2"):
        check_headers(tagged, lying)


@pytest.mark.parametrize("read", [read_pair, check_headers])
def test_a_mask_of_the_stored_pixels_of_a_turned_photograph_is_refused_by_the_tag(tmp_path, read):
    image, mask = tmp_path / "a.jpg", tmp_path / "a.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(image, exif=exif)
    Image.fromarray(np.zeros((8, 12), np.uint8)).save(mask)
    with pytest.raises(KsegError, match=r"8 x 12 and its mask 12 x 8 .* An EXIF tag turns the image by a quarter"):
        read(str(image), str(mask))
    read(str(image), str(mask), mask_exif="image")


@pytest.mark.parametrize(("orientation", "turned"), [(6, False), (3, True)])
def test_an_annotation_that_fits_the_upright_picture_already_is_not_turned_again(tmp_path, orientation, turned):
    class Drawn:
        path = tmp_path / "a.json"
        mask = np.arange(96, dtype=np.uint16).reshape((12, 8, 1) if orientation == 6 else (8, 12, 1))

        def draw(self):
            return self.mask

    image, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.zeros((8, 12, 3), np.uint8)).save(image, exif=exif)
    _, mask = read_pair(str(image), Drawn(), mask_exif="image")
    np.testing.assert_array_equal(mask, np.rot90(Drawn.mask, 2) if turned else Drawn.mask)
