"""Paths of a data set must not lead out of its folder."""

import unicodedata
from pathlib import Path

import pytest

from kseg.data.layouts.find import find_layout
from kseg.data.layouts.paths import files_in, find_file
from kseg.errors import KsegError
from tests.data.layouts.expect import check_layout

pytestmark = pytest.mark.backend_free


def test_a_link_to_a_folder_is_refused(make_files, tmp_path):
    make_files("elsewhere/b.png", "set/images/a.png", "set/masks/a.png")
    (tmp_path / "set/images/more").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KsegError, match=r"images/more is a link to a folder; expected the folder itself"):
        find_layout(tmp_path / "set")


def test_links_may_lead_to_the_folder_but_not_out_of_it(make_files, tmp_path):
    make_files("set/a.png", "set/b.png", "elsewhere/c.png", set__train_txt="a.png b.png\n")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    check_layout(tmp_path / "link", ["a.png b.png"], None, "listed in train.txt")
    (tmp_path / "set/c.png").symlink_to(tmp_path / "elsewhere/c.png")
    (tmp_path / "set/train.txt").write_text("a.png c.png\n")
    with pytest.raises(
        KsegError, match=r"line 1: 'c.png' leads out of .*set; expected a path in it. Copy the file there"
    ):
        find_layout(tmp_path / "set")


def test_absolute_paths_into_the_folder_are_read(make_files):
    folder = make_files("a.png", "b.png", "x/c.png")
    (folder / "train.txt").write_text(f"{folder}/a.png {folder}/x/../b.png\n")
    layout = find_layout(folder)
    assert [path.resolve() for path in layout.training.pairs[0]] == [folder / "a.png", folder / "b.png"]
    assert isinstance(layout.training.pairs[0][0], Path)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_two_forms_of_unicode_are_one_name(make_files, forms):
    image, mask = (unicodedata.normalize(form, "é") for form in forms)
    folder = make_files(f"images/{image}/a{image}.png", f"masks/{mask}/a{mask}.png")
    pair = f"images/{image}/a{image}.png masks/{mask}/a{mask}.png"
    check_layout(folder, [pair], None, f"images/{image}/ and masks/{mask}/ by stem")
    (folder / "train.txt").write_text(f"images/{mask}/a{mask}.png masks/{image}/a{image}.png")
    check_layout(folder, [pair], None, "listed in train.txt")
    (folder / "train.txt").write_text(f"{mask}/a{mask}")
    check_layout(folder, [pair], None, "listed in train.txt")


def test_a_listed_name_is_found_in_another_case_of_its_extension_only(make_files):
    folder = make_files("images/a.PNG", "images/b.jpg")
    assert find_file(folder, "images/a.png") == folder / "images/a.PNG"
    assert find_file(folder, "images\\b.JPG") == folder / "images/b.jpg"
    assert find_file(folder, "images/B.jpg") is None
    assert find_file(folder, "pictures/b.jpg") is None
    assert find_file(folder, "images/c.jpg") is None


def test_what_disk_stations_and_archives_add_is_no_data(make_files):
    names = [f"{kind}/{name}" for kind in ("images", "masks") for name in ("a.png", "@eaDir/a.png", "__MACOSX/a.png")]
    folder = make_files(*names)
    check_layout(folder, ["images/a.png masks/a.png"], None, "images/ and masks/ by stem")
    assert files_in(folder / "images") == [folder / "images/a.png"]


def test_a_jfif_is_a_jpeg(make_files):
    check_layout(
        make_files("images/a.jfif", "masks/a.png"), ["images/a.jfif masks/a.png"], None, "images/ and masks/ by stem"
    )
