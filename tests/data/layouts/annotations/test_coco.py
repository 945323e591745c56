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
