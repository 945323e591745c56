"""nnU-Net's folders, and the names of its labels."""

import json

import pytest
from PIL import Image

from kseg.data import open_sources
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.expect import check_layout

pytestmark = pytest.mark.backend_free

PAIRS = ["imagesTr/a_0000.png labelsTr/a.png", "imagesTr/b_x_0000.png labelsTr/b_x.png"]


@pytest.fixture
def with_labels(make_files):
    """Makes a data set of two cases with these labels in its dataset.json."""

    def make(labels):
        folder = make_files(*" ".join(PAIRS).split(), "imagesTs/c_0000.png")
        (folder / "dataset.json").write_text(json.dumps({"labels": labels, "file_ending": ".png"}))
        return folder

    return make


def test_a_case_is_its_image_without_the_channel(make_files):
    folder = make_files(*" ".join(PAIRS).split())
    check_layout(folder, PAIRS, None, "nnU-Net, imagesTr/ and labelsTr/")
    assert find_layout(folder).classes == {}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({"background": 0, "cell": 1}, {1: "cell"}),
        ({"rim": 2, "background": 0, "cell": 1}, {1: "cell", 2: "rim"}),
        ({"background": "0", "cell": "1", "ignore": 255}, {1: "cell"}),
        ({"0": "background", "1": "cell", "2": "rim"}, {1: "cell", 2: "rim"}),
    ],
)
def test_names_come_from_its_json(with_labels, labels, names):
    assert find_layout(with_labels(labels)).classes == names


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, "has no labels; expected such as"),
        ({"background": 0, "cell": 1, "ignore": 2}, "the label ignore is 2; expected 255"),
        ({"0": "background", "1": "cell", "2": "ignore"}, "the label ignore is 2; expected 255"),
        ({"background": 0, "whole": [1, 2], "core": 2}, "Regions of several labels are not read"),
        ({"background": 0, "cell": 2}, "expected a number for each, 0 for the background and 1, 2"),
        ({"cell": 1}, "expected a number for each"),
        ({"background": 0, "cell": True}, "expected a number for each"),
        ({"background": 0}, "expected a number for each"),
        ({"0": "background", "9" * 5000: "cell"}, "expected a number for each"),
        ({}, "expected a number for each"),
    ],
)
def test_labels_that_do_not_name_the_indices_are_refused(with_labels, labels, message):
    with pytest.raises(KsegError, match=message):
        find_layout(with_labels(labels))


def test_a_file_for_each_channel_is_refused(make_files):
    folder = make_files("imagesTr/a_0000.png", "imagesTr/a_0001.png", "labelsTr/a.png")
    with pytest.raises(KsegError, match=r"a_0000\.png and .*a_0001\.png are channels of one case; expected one file"):
        find_layout(folder)


def test_a_case_without_labels_is_refused(make_files):
    folder = make_files("imagesTr/a_0000.png", "imagesTr/b_0000.png", "labelsTr/a.png")
    with pytest.raises(KsegError, match=r"1 files have no label file: .*b_0000\.png"):
        find_layout(folder)


def test_labels_in_colours_are_refused_before_training(with_labels):
    folder = with_labels({"background": 0, "cell": 1})
    for path in sorted(folder.glob("*/*.png")):
        Image.new("RGB", (16, 16), "red").save(path)
    with pytest.raises(KsegError, match=r"masks in colours, #ff0000 \(100.0%\); expected one channel"):
        open_sources(str(folder))
