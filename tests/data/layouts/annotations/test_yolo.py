"""YOLO's text files."""

import numpy as np
import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from kseg.data import open_sources
from kseg.data.layouts.annotations.yolo import YoloMask
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    FUZZED,
    HEIGHT,
    LAYOUTS,
    SQUARE,
    WIDTH,
    fractions,
    read_masks,
    square_mask,
    write_files,
)

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("text", ["", "\n\n", None])
def test_an_image_without_text_has_no_objects(tmp_path, text):
    files = LAYOUTS["YOLO"] | {"images/train/b.png": None}
    if text is not None:
        files["labels/train/b.txt"] = text
    layout = find_layout(write_files(tmp_path, files))
    assert read_masks(layout.training) == [square_mask().tolist(), square_mask(0).tolist()]
    training, _ = open_sources(str(tmp_path))
    assert training.summary().startswith("2 images")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"line 2: this is a box, four numbers; expected the outline"),
        ("0 0.1 0.1 0.2 0.2 0.3", r"line 2: 5 numbers follow the class; expected x and y of three points or more"),
        ("2 " + fractions(SQUARE), r"line 2: the class is 2; expected 0 to 1, one for each name in"),
        ("0.5 " + fractions(SQUARE), r"line 2: the class is 0.5"),
        ("nan " + fractions(SQUARE), r"line 2: the class is nan"),
        ("0 " + fractions([17, *SQUARE[1:]]), r"line 2: a point lies outside the image; expected fractions"),
        ("0 nan 0 1 1 0 1", r"line 2: a point lies outside"),
        ("cat 0 0 1 1 0 1", r"line 2: could not convert string to float: 'cat'; expected a class and the points"),
    ],
)
def test_a_faulty_line_is_named_when_its_mask_is_read(tmp_path, line, message):
    layout = find_layout(write_files(tmp_path, LAYOUTS["YOLO"] | {"labels/train/a.txt": f"\n{line}\n"}))
    with pytest.raises(KsegError, match=f"labels/train/a.txt, {message}"):
        read_masks(layout.training)


def test_a_point_may_lie_slightly_outside_by_rounding(tmp_path):
    line = "0 " + fractions(SQUARE).replace(fractions(SQUARE).split()[0], "-0.004")
    layout = find_layout(write_files(tmp_path, LAYOUTS["YOLO"] | {"labels/train/a.txt": line}))
    assert np.sum(read_masks(layout.training)) == 8 * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": 3}, r"data.yaml: names are 3; expected a list of names, or 0, 1, … with the name of each"),
        ({"names": {1: "cat"}}, r"data.yaml: names are \{1: 'cat'\}; expected"),
        ({"names": []}, r"data.yaml has 0 classes"),
        ({"val": "images/nowhere"}, r"data.yaml: val is 'images/nowhere'; expected a folder of images in"),
        ({"val": "../../etc"}, r"data.yaml: val is '../../etc'; expected a folder of images in"),
        ({"val": "images/train"}, r"images/train/a.png is listed in .*\(train\) and again in .*data.yaml \(val\)"),
        ({"kpt_shape": [17, 3]}, r"data.yaml describes key points"),
    ],
)
def test_faulty_settings_are_refused(tmp_path, settings, message):
    content = yaml.safe_load(LAYOUTS["YOLO"]["data.yaml"]) | settings
    with pytest.raises(KsegError, match=message):
        find_layout(write_files(tmp_path, LAYOUTS["YOLO"] | {"data.yaml": yaml.safe_dump(content)}))


def test_a_text_file_without_an_image_is_refused_except_the_list_of_classes(tmp_path):
    find_layout(write_files(tmp_path, LAYOUTS["YOLO"] | {"labels/train/classes.txt": "cat\ndog\n"}))
    with pytest.raises(
        KsegError, match=r"1 files have no image: .*labels/train/z.txt. Expected one of the same stem in"
    ):
        find_layout(write_files(tmp_path, {"labels/train/z.txt": ""}))


def test_pictures_in_labels_are_masks_in_spite_of_a_data_yaml(tmp_path):
    files = dict.fromkeys(("images/train/a.png", "labels/train/a.png"))
    content = write_files(tmp_path, files | {"data.yaml": LAYOUTS["YOLO"]["data.yaml"], "notes.yaml": "names: [1\n"})
    assert find_layout(content).rule == "images/train/ and labels/train/ by stem"


def test_a_split_may_have_several_folders(tmp_path):
    files = LAYOUTS["YOLO"] | {"images/more/a.png": None, "labels/more/a.txt": f"1 {fractions(SQUARE)}"}
    files["data.yaml"] = "names: [cat, dog]\ntrain: [images/train, images/more]\n"
    layout = find_layout(write_files(tmp_path, files))
    assert read_masks(layout.training) == [square_mask().tolist(), square_mask(2).tolist()]
    assert layout.rule.endswith("; images not read: 1 in images/val/")


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("0123456789.-e \n", max_size=60))
@example("0 1e999 0 0 0 0 0")
@example("1" * 400 + " 0 0 0 0 0 0")
@FUZZED
def test_any_text_is_drawn_or_refused_by_name(tmp_path_factory, text):
    folder = write_files(tmp_path_factory.getbasetemp() / "any-text", {"a.png": None, "a.txt": text})
    message = "a.txt, line"
    try:
        assert YoloMask(folder / "a.txt", folder / "a.png", (1, 2)).draw().shape == (HEIGHT, WIDTH, 1)
    except KsegError as error:
        message = str(error)
    assert "a.txt, line" in message


def test_a_yaml_bomb_is_not_expanded(tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    files = LAYOUTS["YOLO"] | {"data.yaml": f"{bomb}\nnames: [cat]\ntrain: images/train\n"}
    assert read_masks(find_layout(write_files(tmp_path, files)).training) == [square_mask().tolist()]


@pytest.mark.parametrize("prefix", ["", "./", "data/"])
def test_a_split_may_be_a_list_of_images_as_cvat_exports_it(tmp_path, prefix):
    listed = "".join(f"{prefix}images/train/{name}.png\n" for name in "ba")
    files = LAYOUTS["YOLO"] | {"images/train/b.png": None, "images/train/c.png": None, "train.txt": listed}
    settings = {"path": ".", "names": {0: "cat", 1: "dog"}, "train": "train.txt"}
    layout = find_layout(write_files(tmp_path, files | {"data.yaml": yaml.safe_dump(settings)}))
    assert [image.name for image, _ in layout.training.pairs] == ["b.png", "a.png"]
    assert read_masks(layout.training) == [square_mask(0).tolist(), square_mask().tolist()]


def test_a_list_that_names_a_missing_image_is_refused(tmp_path):
    files = LAYOUTS["YOLO"] | {"train.txt": "images/train/a.png\nimages/train/z.png\n"}
    settings = yaml.safe_dump({"names": ["cat"], "train": "train.txt"})
    with pytest.raises(KsegError, match=r"train.txt, line 2: 'images/train/z.png' is not an image file in"):
        find_layout(write_files(tmp_path, files | {"data.yaml": settings}))


def test_a_yaml_file_that_leads_nowhere_is_what_the_message_names(tmp_path):
    settings = yaml.safe_dump({"names": ["cat"], "train": "../elsewhere/images"})
    with pytest.raises(KsegError, match=r"data.yaml describes a data set of YOLO, but no text file .* under its train"):
        find_layout(write_files(tmp_path, {"pictures/a.png": None, "data.yaml": settings}))


def test_numbers_of_names_may_be_text(tmp_path):
    files = LAYOUTS["YOLO"] | {"data.yaml": "train: images/train\nnames: {'1': dog, '0': cat}\n"}
    assert find_layout(write_files(tmp_path, files)).classes == {1: "cat", 2: "dog"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            "train: /content/other/images/train\nnames: [cat]\n",
            r"data.yaml describes a data set of YOLO, but no text file",
        ),
        (
            "train: images/train\nnc: 1\n",
            r"labels/train has no image files; .* It has 1 text files: YOLO's outlines need a",
        ),
    ],
)
def test_a_yaml_file_that_leads_nowhere_is_what_the_message_is_about(tmp_path, settings, message):
    files = {"images/train/a.png": None, "labels/train/a.txt": "0 " + fractions(SQUARE), "data.yaml": settings}
    with pytest.raises(KsegError, match=message):
        find_layout(write_files(tmp_path, files))
