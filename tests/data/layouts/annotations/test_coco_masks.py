"""Masks drawn from COCO's outlines and runs of pixels."""

import pickle

import numpy as np
import pytest

from kseg.data.files.masks import read_mask
from kseg.data.layouts.annotations.coco_masks import InstanceMask, Polygons, Region
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    HEIGHT,
    ONE,
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


def test_polygons_runs_and_crowds_are_drawn(tmp_path):
    part = np.zeros((HEIGHT, WIDTH), bool)
    part[1:11, 12:] = True
    counts = np.diff(np.flatnonzero(np.diff(part.T.ravel().astype(int), prepend=0, append=0)), prepend=0).tolist()
    flat = {"size": [HEIGHT, WIDTH], "counts": [*counts, HEIGHT * WIDTH - sum(counts)]}
    annotations = [
        instance_entry(1, 0, [SQUARE, [0, 0, 2, 0, 2, 2, 0, 2]], iscrowd=0),
        instance_entry(2, 0, encode_runs(part), 7),
        instance_entry(3, 1, flat, 7),
        instance_entry(4, 1, flat, iscrowd=1),
        instance_entry(5, 2, [SQUARE], iscrowd=1),
    ]
    write_files(tmp_path, {"images/a.png": None, "images/b.png": None, "images/c.png": None})
    write_files(tmp_path, {"annotations.json": coco_json(["a.png", "b.png", "c.png"], annotations)})
    first, second, third = (np.array(mask) for mask in read_masks(find_layout(tmp_path).training))
    expected = np.where(part, 2, square_mask())
    expected[:2, :2] = 1
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, 2 * part)
    np.testing.assert_array_equal(third, square_mask(255))


def test_the_smaller_of_two_objects_is_on_top(tmp_path):
    wide = [0, 0, 16, 0, 16, 12, 0, 12]
    for annotations in ([instance_entry(1, 0, [wide], 7), *ONE], [*ONE, instance_entry(1, 0, [wide], 7)]):
        write_files(tmp_path, {"images/a.png": None, "annotations.json": coco_json(["a.png"], annotations)})
        np.testing.assert_array_equal(read_masks(find_layout(tmp_path).training)[0], np.where(square_mask(), 1, 2))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], r"annotation 5 \(image 0\): it has no segmentation; a box or key points give no mask"),
        (None, r"annotation 5 \(image 0\): it has no segmentation"),
        (SQUARE, r"annotation 5 \(image 0\): its segmentation is neither polygons, .* nor runs of pixels"),
        ([["a"] * 6], r"annotation 5 .*neither polygons"),
        ([[10**400] * 6], r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH]}, r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH], "counts": [1.5]}, r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH], "counts": [2**70]}, r"annotation 5 .*neither polygons"),
        ([[1, 2, 3, 4]], r"annotation 5 \(image 0\): it has a polygon of fewer than three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], r"annotation 5 .*of fewer than three points, or with an odd number of coord"),
        ([[1, 2, 3, 4, 5, 1e7]], r"annotation 5 \(image 0\): the point \(5, 1e\+07\) lies far outside"),
        (
            {"size": [10**9, 10**9], "counts": "PPYo10"},
            r"annotation 5 .*the runs are for 1000000000 x 1000000000, the image is 16 x",
        ),
        ({"size": [HEIGHT, WIDTH], "counts": "0o"}, r"annotation 5 .*the compressed runs are truncated"),
        (
            {"size": [HEIGHT, WIDTH], "counts": "\ud800"},
            r"annotation 5 .*the compressed runs are truncated, or have characters",
        ),
        ({"size": [HEIGHT, WIDTH], "counts": "08"}, r"annotation 5 .*the runs do not add up to the 192 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, r"annotation 5 .*the runs do not add up to the 192 pixels"),
    ],
)
def test_a_faulty_annotation_is_named_when_its_mask_is_read(tmp_path, segmentation, message):
    annotations = [instance_entry(5, 0, segmentation), instance_entry(6, 1, [SQUARE])]
    content = coco_json(["a.png", "b.png"], annotations)
    layout = find_layout(
        write_files(tmp_path, {"images/a.png": None, "images/b.png": None, "annotations.json": content})
    )
    (_, faulty), (_, sound) = layout.training.pairs
    with pytest.raises(KsegError, match=f"annotations.json: {message}"):
        read_mask(faulty)
    assert read_mask(sound)[..., 0].tolist() == square_mask().tolist()


def test_an_unknown_category_is_named_when_its_mask_is_read(tmp_path):
    content = coco_json(["a.png"], [instance_entry(5, 0, [SQUARE], 99)])
    layout = find_layout(write_files(tmp_path, {"images/a.png": None, "annotations.json": content}))
    with pytest.raises(KsegError, match=r"annotation 5 \(image 0\): there is no category 99. Export it again"):
        read_mask(layout.training.pairs[0][1])


def test_the_stated_size_must_be_that_of_the_image(tmp_path):
    content = coco_json(["a.png"], ONE)
    content["images"][0] |= {"height": 10**9, "width": 10**9}
    layout = find_layout(write_files(tmp_path, {"images/a.png": None, "annotations.json": content}))
    message = r"annotations.json, image 0: the outlines are for 1000000000 x 1000000000, and .*a.png is 16 x 12"
    with pytest.raises(KsegError, match=message):
        read_mask(layout.training.pairs[0][1])
    del content["images"][0]["height"]
    layout = find_layout(write_files(tmp_path, {"annotations.json": content}))
    assert read_masks(layout.training) == [square_mask().tolist()]


def test_a_mask_annotation_can_be_pickled():
    mask = InstanceMask("x.json", "a.png", 3, (4, 4), (Region(7, 1, Polygons((b"0" * 48,))),))
    assert pickle.loads(pickle.dumps(mask)) == mask
