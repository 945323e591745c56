import numpy as np
import pytest
from PIL import Image

from kseg.errors import KsegError
from kseg.inference.inputs import find_inputs

pytestmark = pytest.mark.backend_free


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith((".png", ".jpg")):
                Image.new("L", (4, 4)).save(tmp_path / name)
            else:
                (tmp_path / name).write_text("no image")

    return make


def names(*given):
    return [one.name for one in find_inputs(given)]


def test_files_folders_patterns_and_lists(make, tmp_path):
    make("a/x.png", "a/deep/y.jpg", "a/notes.md", "a/.hidden/z.png", "b/v.png")
    assert names("a/x.png") == ["x"]
    assert names("a") == ["deep/y", "x"]
    assert names("a/*.png") == ["x"]
    assert names("*/*.png") == ["a/x", "b/v"]
    assert names("a/**/*.jpg") == ["deep/y"]
    (tmp_path / "list.txt").write_text("b/v.png\n\na/deep/y.jpg\n")
    assert names("list.txt") == ["b/v", "a/deep/y"]
    assert names("b", "a/x.png") == ["v", "x"]


def test_an_image_that_is_named_twice_is_taken_once(make):
    make("a/x.png", "a/y.png")
    assert names("a", "a/x.png", "a/*.png") == ["x", "y"]


def test_no_two_results_have_one_name(make):
    make("a/x.png", "a/x.jpg", "a/y.png", "b/y.png", "b/z.png")
    assert names("a", "b") == ["x.jpg", "x.png", "a/y.png", "b/y.png", "z"]


def test_what_stays_ambiguous_is_refused(make):
    make("1/scans/x.png", "2/scans/x.png")
    with pytest.raises(KsegError, match=r"1/scans/x.png and 2/scans/x.png would both be written as scans/x.png"):
        find_inputs(["1/scans", "2/scans"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gone.png", "gone.png does not exist; expected an image, a folder, a pattern"),
        ("a/notes.md", "a/notes.md is no image file; expected an image"),
        ("empty", r"empty has no images; expected images that end in one of .bmp"),
        ("a/*.tif", r"a/\*.tif has no images; expected files that match it"),
        ("none.txt", "none.txt has no images; expected a path on each line"),
        ("wrong.txt", "wrong.txt names gone.png, which does not exist; expected a path from "),
    ],
)
def test_what_is_no_image_is_named(given, message, make, tmp_path):
    make("a/x.png", "a/notes.md", "none.txt")
    (tmp_path / "empty").mkdir()
    (tmp_path / "none.txt").write_text("\n")
    (tmp_path / "wrong.txt").write_text("gone.png\n")
    with pytest.raises(KsegError, match=message):
        find_inputs([given])


def test_a_list_may_name_images_elsewhere(make, tmp_path):
    make("lists/here.txt", "photos/x.png")
    (tmp_path / "lists/here.txt").write_text(f"{tmp_path}/photos/x.png\n")
    assert names("lists/here.txt") == ["x"]
    assert np.asarray(Image.open(find_inputs(["lists/here.txt"])[0].path)).shape == (4, 4)
