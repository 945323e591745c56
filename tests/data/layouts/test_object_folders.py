"""A folder for each image, with a file for each object, as the 2018 Data Science Bowl was handed out."""

import numpy as np
import pytest
from PIL import Image

from kseg.data import open_sources
from kseg.data.files.object_files import ObjectFiles
from kseg.data.files.pair import read_pair
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

DISC = np.hypot(*np.mgrid[-8:8, -8:8]) < 5


def write(path, values):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three images: of two objects, of one, and of none."""
    for name, masks in (("a", [DISC[:, ::-1], np.roll(DISC, 6, 0)]), ("b", [DISC]), ("c", [])):
        write(tmp_path / f"{name}/images/{name}.png", np.zeros((16, 16, 3), np.uint8))
        (tmp_path / name / "masks").mkdir()
        for number, mask in enumerate(masks):
            write(tmp_path / f"{name}/masks/{number}.png", mask.astype(np.uint8) * 255)
    return tmp_path


def test_a_mask_is_the_union_of_its_objects(folder):
    layout = find_layout(folder)
    assert layout.rule == "a folder for each image, its objects in masks/"
    assert layout.classes == {1: "object"}
    assert [image.name for image, _ in layout.training.pairs] == ["a.png", "b.png", "c.png"]
    two, one, none = (mask.draw()[..., 0] for _, mask in layout.training.pairs)
    np.testing.assert_array_equal(two, DISC[:, ::-1] | np.roll(DISC, 6, 0))
    np.testing.assert_array_equal(one, DISC)
    np.testing.assert_array_equal(none, np.zeros((16, 16)))


def test_all_files_of_the_objects_are_data(folder):
    source = open_sources(str(folder))[0]
    of_image = {path.stem: mask for path, mask in source.pairs}
    expected = {file for name in of_image for file in folder.glob(f"{name}/*/*.png")}
    assert set(source.data_files()) == expected


def test_splits_may_have_such_folders(folder, tmp_path_factory):
    top = tmp_path_factory.mktemp("splits")
    folder.rename(top / "train")
    for name in ("d", "e"):
        write(top / f"val/{name}/images/{name}.png", np.zeros((16, 16, 3), np.uint8))
        write(top / f"val/{name}/masks/0.png", DISC)
    layout = find_layout(top)
    assert [len(layout.training.pairs), len(layout.validation.pairs)] == [3, 2]


def test_one_split_with_such_folders_is_refused(folder, tmp_path_factory):
    top = tmp_path_factory.mktemp("splits")
    folder.rename(top / "train")
    write(top / "val/images/d.png", np.zeros((16, 16, 3), np.uint8))
    write(top / "val/masks/d.png", DISC)
    with pytest.raises(KsegError, match=r"One of .*train and .*val has a folder for each image, and the other has not"):
        find_layout(top)


def test_two_images_in_a_folder_are_refused(folder):
    write(folder / "b/images/other.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(KsegError, match=r"images has 2 images; expected one, as in the other folders of"):
        find_layout(folder)


def test_folders_of_data_sets_are_no_folders_of_images(folder):
    write(folder / "a/images/other.png", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(KsegError, match=r"There is no folder .*images"):
        find_layout(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.uint8(DISC) + np.uint8(1), r"0\.png has the values 1, 2; expected 0 and one other"),
        (np.uint8(DISC) * np.arange(16, dtype=np.uint8), r"has the values 0, .*; expected 0 and one other"),
        (
            np.zeros((16, 8), np.uint8),
            r"1\.png is 16 x 16 and .*0\.png 8 x 16 \(width x height\); expected one size for",
        ),
    ],
)
def test_files_that_are_no_objects_are_refused(folder, values, message):
    write(folder / "b/masks/0.png", values)
    write(folder / "b/masks/1.png", DISC)
    mask = ObjectFiles(folder / "b/images/b.png", (folder / "b/masks/0.png", folder / "b/masks/1.png"))
    with pytest.raises(KsegError, match=message):
        mask.draw()


def test_objects_of_another_size_than_their_image_are_refused(folder):
    write(folder / "b/masks/0.png", np.zeros((16, 8), np.uint8))
    mask = ObjectFiles(folder / "b/images/b.png", (folder / "b/masks/0.png",))
    with pytest.raises(
        KsegError, match=r"b\.png is 16 x 16 and its mask 8 x 16 \(width x height\), .*0\.png; expected"
    ):
        read_pair(mask.image, mask)


@pytest.mark.parametrize("objects", [0, 2])
def test_objects_drawn_on_the_stored_pixels_turn_with_their_photograph(objects, tmp_path):
    """Wider than high as stored, and shown upright: the sizes differ until the mask is turned too."""
    stored = np.zeros((16, 24), np.uint8)
    stored[2:6, 3:15], stored[10:14, 1:4] = 255, 255
    files = []
    for number, rows in enumerate((slice(0, 8), slice(8, 16))):
        files.append(tmp_path / f"{number}.png")
        one = np.zeros_like(stored)
        one[rows] = stored[rows]
        write(files[-1], one)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter turn clockwise
    image = tmp_path / "image.jpg"
    Image.fromarray(stored).save(image, exif=exif)
    mask = ObjectFiles(image, tuple(files[:objects]))
    picture, drawn = read_pair(image, mask, mask_exif="image")
    assert picture.shape == (24, 16, 3)
    np.testing.assert_array_equal(drawn[..., 0], np.rot90(stored > 0, -1) if objects else 0)
