"""What COCO's JSON means where tools differ: shares, per cent, crowds, text in place of numbers."""

import numpy as np
import pytest

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    HEIGHT,
    SQUARE,
    WIDTH,
    coco_json,
    encode_runs,
    instance_entry,
    read_masks,
    square_mask,
    write_files,
)

pytestmark = pytest.mark.backend_free


def masks_of(folder, annotations, count=1, place="images", name="annotations.json", change=lambda content: None):
    names = [f"{number}.png" for number in range(count)]
    content = coco_json(names, annotations)
    change(content)
    layout = find_layout(write_files(folder, {f"{place}/{one}": None for one in names} | {name: content}))
    return layout.rule, [np.array(mask) for mask in read_masks(layout.training)]


def test_shares_of_the_sides_are_read_as_the_pixels_that_they_are(tmp_path):
    shares = (np.reshape(SQUARE, (-1, 2)) / [WIDTH, HEIGHT]).ravel().tolist()
    rule, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, [shares])])
    np.testing.assert_array_equal(mask, square_mask())
    assert rule.endswith("; coordinates are shares of width and height")


def test_one_object_in_the_corner_pixel_among_others_is_in_pixels(tmp_path):
    corner = [0, 0, 1, 0, 1, 1, 0, 1]
    rule, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, [corner]), instance_entry(2, 0, [SQUARE])])
    assert "shares" not in rule
    assert mask[0, 0] == 1
    assert mask.sum() == square_mask().sum() + 1


def test_per_cent_are_refused_where_outlines_leave_their_image(tmp_path):
    per_cent = (100 * np.reshape(SQUARE, (-1, 2)) / [WIDTH, HEIGHT]).ravel().tolist()
    with pytest.raises(KsegError, match=r"annotations.json: the polygons of 1 objects reach .* per cent of the sides"):
        masks_of(tmp_path, [instance_entry(1, 0, [per_cent])])


def test_per_cent_are_refused_where_all_objects_lie_in_one_corner_of_large_images(tmp_path):
    def enlarge(content):
        for entry in content["images"]:
            entry |= {"width": 640, "height": 480}

    spread = [instance_entry(n, 0, [[10 * n, 5, 10 * n + 9, 5, 10 * n + 9, 30]]) for n in range(10)]
    with pytest.raises(KsegError, match=r"the polygons of 10 objects reach 99, .* in one corner"):
        masks_of(tmp_path, spread, change=enlarge)


@pytest.mark.parametrize("value", [0, "0", "false", "False", False, None, 0.0])
def test_what_is_no_crowd(tmp_path, value):
    rule, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, [SQUARE], iscrowd=value)])
    np.testing.assert_array_equal(mask, square_mask())
    assert "iscrowd" not in rule


@pytest.mark.parametrize("value", [1, "1", "true", True])
def test_a_crowd_of_polygons_is_ignored_and_the_log_says_so(tmp_path, value):
    others = [instance_entry(n, 1, [SQUARE]) for n in range(2, 4)]
    rule, (mask, _) = masks_of(tmp_path, [instance_entry(1, 0, [SQUARE], iscrowd=value), *others], 2)
    np.testing.assert_array_equal(mask, square_mask(255))
    assert rule.endswith("; 1 of 3 annotations have iscrowd 1: ignored pixels")


@pytest.mark.parametrize("outline", [[SQUARE], encode_runs(square_mask() > 0)], ids=["polygons", "runs"])
def test_crowds_alone_are_objects(tmp_path, outline):
    rule, masks = masks_of(tmp_path, [instance_entry(n, n, outline, iscrowd=1) for n in range(3)], 3)
    for mask in masks:
        np.testing.assert_array_equal(mask, square_mask())
    assert rule.endswith("; 3 of 3 annotations have iscrowd 1: objects, since all have it")


def test_another_iscrowd_is_refused(tmp_path):
    with pytest.raises(KsegError, match=r"annotations\[0\] is not in COCO's format"):
        masks_of(tmp_path, [instance_entry(1, 0, [SQUARE], iscrowd="perhaps")])


def test_what_cvats_brush_drew_is_an_object(tmp_path):
    brush = [instance_entry(n, n, encode_runs(square_mask() > 0), iscrowd=1) for n in range(2)]
    rule, masks = masks_of(tmp_path, [*brush, instance_entry(9, 2, [SQUARE])], 3)
    for mask in masks:
        np.testing.assert_array_equal(mask, square_mask())
    assert rule.endswith("; 2 of 3 annotations have iscrowd 1: objects, as CVAT exports what its brush drew")


@pytest.mark.parametrize("others", ["runs that are no crowds", "many objects"])
def test_crowds_of_runs_are_ignored_if_they_are_few_or_other_runs_are_none(tmp_path, others):
    runs = encode_runs(square_mask() > 0)
    more = (
        [instance_entry(2, 1, runs)]
        if others != "many objects"
        else [instance_entry(n, 1, [SQUARE]) for n in range(2, 9)]
    )
    _, masks = masks_of(tmp_path, [instance_entry(1, 0, runs, iscrowd=1), *more], 2)
    np.testing.assert_array_equal(masks[0], square_mask(255))


def test_sizes_as_text(tmp_path):
    def as_text(content):
        for entry in content["images"]:
            entry |= {"width": str(WIDTH), "height": str(HEIGHT)}

    runs = encode_runs(square_mask() > 0)
    runs["size"] = [str(side) for side in runs["size"]]
    _, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, runs)], change=as_text)
    np.testing.assert_array_equal(mask, square_mask())


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("images/default", "annotations/instances_default.json"),
        ("images/Train", "annotations/instances_Train.json"),
        ("images/my task", "annotations/instances_my task.json"),
        ("images/task 7", "annotations/anything.json"),
    ],
)
def test_images_are_where_cvat_puts_them(tmp_path, place, name):
    write_files(tmp_path, {"images/other/unrelated.png": None})
    _, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, [SQUARE])], place=place, name=name)
    np.testing.assert_array_equal(mask, square_mask())


@pytest.mark.parametrize("name", ["/home/me/0.png", "C:\\cells\\0.png", "../../media/1/0.png", "https://a.org/b/0.png"])
def test_of_a_name_that_leads_elsewhere_the_last_part_counts(tmp_path, name):
    def rename(content):
        content["images"][0]["file_name"] = name

    _, (mask,) = masks_of(tmp_path, [instance_entry(1, 0, [SQUARE])], change=rename)
    np.testing.assert_array_equal(mask, square_mask())


def test_a_file_outside_of_the_folder_is_not_read(tmp_path):
    def rename(content):
        content["images"][0]["file_name"] = "../outside.png"

    write_files(tmp_path, {"outside.png": None})
    with pytest.raises(KsegError, match=r"image 0: '../outside.png' leads out of .*set; expected a path in it"):
        masks_of(tmp_path / "set", [instance_entry(1, 0, [SQUARE])], change=rename)


@pytest.mark.parametrize("kind", [str, float])
@pytest.mark.parametrize("of", ["images", "categories", "annotations"])
def test_ids_as_text_or_with_a_point_are_numbers(tmp_path, kind, of):
    def change(content):
        for entry in content[of]:
            keys = ("image_id", "category_id") if of == "annotations" else ("id",)
            entry |= {key: kind(entry[key]) if kind is float else str(entry[key]) for key in keys}

    dog = [instance_entry(n, n, [SQUARE], category=7) for n in range(2)]
    _, masks = masks_of(tmp_path, dog, 2, change=change)
    for mask in masks:
        np.testing.assert_array_equal(mask, square_mask(2))


def test_outlines_for_larger_images_are_refused(tmp_path):
    large = (20 * np.array(SQUARE)).tolist()
    objects = [*(instance_entry(n, 0, [large]) for n in range(2)), instance_entry(2, 0, [SQUARE])]
    message = (
        r"polygons of 2 of 3 objects leave their images, such as annotation 0 \(image 0\), which reaches \(160, 180\)"
    )
    with pytest.raises(KsegError, match=message):
        masks_of(tmp_path, objects)
    slip = [2, 3, 30, 3, 8, 9]
    masks_of(tmp_path, [instance_entry(9, 0, [slip]), *(instance_entry(n, 0, [SQUARE]) for n in range(4))])
