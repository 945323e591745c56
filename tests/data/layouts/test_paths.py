"""Paths of a data set must not lead out of its folder."""

from pathlib import Path

import pytest

from kseg.data.layouts.find import find_layout
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
