"""COCO files: their splits, images, classes, and panoptic pictures."""

import json

import pytest

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    CATEGORIES,
    LAYOUTS,
    ONE,
    SQUARE,
    coco_json,
    instance_entry,
    labelme_json,
    polygon_shape,
    read_masks,
    square_mask,
    write_files,
    write_panoptic,
)

pytestmark = pytest.mark.backend_free


def test_names_may_have_any_characters_and_the_file_a_byte_order_mark(tmp_path):
    write_files(tmp_path, {"images/a ü 日.png": None})
    content = coco_json(["a ü 日.png"], ONE)
    (tmp_path / "annotations.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8-sig")
    assert read_masks(find_layout(tmp_path).training) == [square_mask().tolist()]


def test_both_splits_share_the_class_indices(tmp_path):
    files = LAYOUTS["COCO"] | {
        "annotations/instances_val2017.json": coco_json(["ä.png"], [], [{"id": 5, "name": "ape"}])
    }
    assert find_layout(write_files(tmp_path, files)).classes == {1: "cat", 2: "ape", 3: "dog"}
    files |= {"annotations/instances_val2017.json": coco_json(["ä.png"], [], [{"id": 3, "name": "ape"}])}
    with pytest.raises(KsegError, match=r"val2017.json: category 3 is 'ape', and 'cat' in .*instances_train2017.json"):
        find_layout(write_files(tmp_path, files))


def test_a_category_that_only_groups_others_is_no_class(tmp_path):
    """Roboflow writes one for the whole data set, sometimes of the name of its only class."""
    group, cell = {"id": 0, "name": "cell", "supercategory": "none"}, {"id": 3, "name": "cell", "supercategory": "cell"}
    files = {"annotations.json": coco_json(["a.png"], ONE, [group, cell]), "images/a.png": None}
    layout = find_layout(write_files(tmp_path, files))
    assert layout.classes == {1: "cell"}
    assert read_masks(layout.training) == [square_mask().tolist()]
    used = [instance_entry(1, 0, [SQUARE], category=0)]
    write_files(tmp_path, {"annotations.json": coco_json(["a.png"], used, [group, cell])})
    assert find_layout(tmp_path).classes == {1: "cell", 2: "cell"}
    person = {"id": 3, "name": "person", "supercategory": "person"}  # as in COCO, its own group
    write_files(tmp_path, {"annotations.json": coco_json(["a.png"], [], [group, person])})
    assert find_layout(tmp_path).classes == {1: "cell", 2: "person"}


def test_a_category_without_a_name_is_called_by_its_id(tmp_path):
    categories = [{"id": 3, "name": None}, {"id": 4, "name": ""}, {"id": 5}]
    files = {"annotations.json": coco_json(["a.png"], ONE, categories), "images/a.png": None}
    assert find_layout(write_files(tmp_path, files)).classes == {1: "3", 2: "4", 3: "5"}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"annotations/panoptic_train2017.json": coco_json(["a b.png"], [])},
            r"layouts match: .*instances_train2017.json and .*panoptic",
        ),
        (
            {"masks/a b.png": None, "images/a b.png": None},
            r"Two layouts match: .*instances_train2017.json and .*/masks/a b.png. Expected one",
        ),
        (
            {"images/a.json": labelme_json(("cat", polygon_shape(SQUARE))), "images/a.png": None},
            r"layouts match: .*2017.json and .*images/a.json",
        ),
        ({"train.txt": "a b"}, r"layouts match: .*train.txt and .*instances_train2017.json"),
        (
            {"annotations/instances_valid.json": coco_json(["ä.png"], [])},
            r"layouts match: .*val2017.json and .*instances_valid.json",
        ),
        ({"images/a b.png": None}, r"layouts match: .*train2017/a b.png and .*images/a b.png"),
    ],
)
def test_a_second_layout_beside_a_coco_file_is_refused(tmp_path, files, message):
    with pytest.raises(KsegError, match=message):
        find_layout(write_files(tmp_path, LAYOUTS["COCO"] | files))


def test_panoptic_segments_become_class_indices(tmp_path):
    ids = square_mask(70_000)
    ids[0], ids[-1] = 300, 9
    segments = [
        {"id": 70_000, "category_id": 7},
        {"id": 300, "category_id": 3},
        {"id": 9, "category_id": 3, "iscrowd": 1},
    ]
    expected = square_mask(2)
    expected[0], expected[-1] = 1, 255
    layout = find_layout(write_panoptic(tmp_path, ids, segments))
    assert layout.rule == "COCO, annotations/panoptic_train2017.json: 1 cat, 2 dog"
    assert read_masks(layout.training) == [expected.tolist()]
    stuff = [CATEGORIES[0], CATEGORIES[1] | {"isthing": 0}]
    expected[ids == 0] = 255
    assert read_masks(find_layout(write_panoptic(tmp_path, ids, segments, stuff)).training) == [expected.tolist()]
    with pytest.raises(
        KsegError, match=r"panoptic_train2017/a.png holds the segment 9; expected only segments that .*2017.json lists"
    ):
        read_masks(find_layout(write_panoptic(tmp_path, ids, segments[:2])).training)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        (
            [{"id": 1, "category_id": 99}],
            r"panoptic_train2017.json, image 0: there is no category 99. Export the file again",
        ),
        ([{"id": "x", "category_id": 3}], r"panoptic_train2017.json: annotations\[0\] is not in COCO's format"),
        ({}, r"panoptic_train2017.json: annotations\[0\] is not in COCO's format"),
    ],
)
def test_faulty_segments_are_refused(tmp_path, segments, message):
    with pytest.raises(KsegError, match=message):
        find_layout(write_panoptic(tmp_path, square_mask(), segments))
