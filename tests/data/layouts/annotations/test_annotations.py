"""The layouts of annotations, what they say of themselves, and what is refused by name."""

import base64
import io
import json
import warnings

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from pycocotools import mask as coco

from kseg.audit import audit
from kseg.data import find_foreground, open_sources
from kseg.data.files.masks import read_mask
from kseg.data.files.pairs import read_pair
from kseg.data.layouts.annotations.yolo import YoloMask
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

HEIGHT, WIDTH = 12, 16
SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]  # 36 pixels
TRIANGLE = [10, 1, 15, 1, 15, 11]
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def square(value=1):
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[3:9, 2:8] = value
    return mask


def written(folder, files):
    """The folder with files of these names in it: images where the content is None, else text, or JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def instance(number, image, segmentation, category=3, **others):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **others}


def coco_json(images, annotations, categories=CATEGORIES):
    entries = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(images)]
    return {"images": entries, "annotations": annotations, "categories": categories}


def runs(mask):
    found = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in found["size"]], "counts": found["counts"].decode()}


def shapes(*found, **others):
    return {"shapes": [{"label": label, **shape} for label, shape in found], "imagePath": "x.png", **others}


def polygon(numbers):
    return {"points": np.reshape(numbers, (-1, 2)).tolist(), "shape_type": "polygon"}


def shares(numbers):
    return " ".join(f"{n / side:.6f}" for n, side in zip(numbers, [WIDTH, HEIGHT] * len(numbers), strict=False))


def masks(part):
    return [read_pair(str(image), mask)[1][..., 0].astype(int).tolist() for image, mask in part.pairs]


ONE = [instance(1, 0, [SQUARE])]

LAYOUTS = {
    "COCO": {
        "annotations/instances_train2017.json": coco_json(["a b.png"], ONE),
        "annotations/instances_val2017.json": coco_json(["ä.png"], []),
        "annotations/captions_train2017.json": coco_json(["a b.png"], []),
        "annotations/person_keypoints_train2017.json": coco_json(["a b.png"], []),
        "train2017/a b.png": None,
        "val2017/ä.png": None,
    },
    "Roboflow": {
        "train/_annotations.coco.json": coco_json(["a.png"], ONE),
        "valid/_annotations.coco.json": coco_json(["b.png"], []),
        "test/_annotations.coco.json": coco_json(["c.png"], []),
        **{"train/a.png": None, "valid/b.png": None, "test/c.png": None},
    },
    "CVAT": {"annotations/instances_default.json": coco_json(["a.png"], ONE), "images/a.png": None},
    "Label Studio": {"result.json": coco_json(["images\\a.png"], ONE), "images/a.png": None},
    "beside": {"my cells.json": coco_json(["a.png"], ONE), "a.png": None},
    "split images": {
        "annotations/train.json": coco_json(["a.png"], ONE),
        "annotations/val.json": coco_json(["a.png"], []),
        **{"images/train/a.png": None, "images/val/a.png": None},
    },
    "LabelMe": {"a.json": shapes(("cat", polygon(SQUARE)), ("dog", polygon(TRIANGLE))), "a.png": None},
    "LabelMe, split": {
        "train/a.json": shapes(("cat", polygon(SQUARE))),
        "val/b.json": shapes(("dog", polygon(SQUARE))),
        **{"train/a.png": None, "val/b.png": None},
    },
    "LabelMe, in images": {"images/a.json": shapes(("cat", polygon(SQUARE))), "images/a.png": None},
    "LabelMe, apart": {"labels/s/a.json": shapes(("cat", polygon(SQUARE))), "images/s/a.png": None},
    "YOLO": {
        "data.yaml": "names: [cat, dog]\ntrain: images/train\nval: images/val\npath: ../elsewhere\n",
        "labels/train/a.txt": f"0 {shares(SQUARE)}\n",
        **{"images/train/a.png": None, "images/val/a.png": None},
    },
    "YOLO of Roboflow": {
        "data.yaml": "names: {0: cat, 1: dog}\ntrain: ../train/images\nval: ../valid/images\n",
        "train/labels/a.txt": f"0 {shares(SQUARE)}\n",
        **{"train/images/a.png": None, "valid/images/a.png": None},
    },
}

RULES = {
    "COCO": "COCO, annotations/instances_train2017.json: 1 cat, 2 dog",
    "Roboflow": "COCO, train/_annotations.coco.json: 1 cat, 2 dog; images not read: 1 in test/",
    "CVAT": "COCO, annotations/instances_default.json: 1 cat, 2 dog",
    "Label Studio": "COCO, result.json: 1 cat, 2 dog",
    "beside": "COCO, my cells.json: 1 cat, 2 dog",
    "split images": "COCO, annotations/train.json: 1 cat, 2 dog",
    "LabelMe": "LabelMe, ./ by stem: 1 cat, 2 dog",
    "LabelMe, split": "LabelMe, train/ by stem: 1 cat, 2 dog",
    "LabelMe, in images": "LabelMe, images/ by stem: 1 cat",
    "LabelMe, apart": "LabelMe, images/s/ and labels/s/ by stem: 1 cat",
    "YOLO": "YOLO, data.yaml: 1 cat, 2 dog",
    "YOLO of Roboflow": "YOLO, data.yaml: 1 cat, 2 dog",
}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_layouts_are_found_and_say_their_classes(tmp_path, kind):
    layout = find_layout(written(tmp_path, LAYOUTS[kind]))
    assert layout.rule == RULES[kind]
    assert layout.classes[1] == "cat"
    image, mask = layout.training.pairs[0]
    expected = square()
    if kind == "LabelMe":
        expected[read_mask(mask)[..., 0] == 2] = 2
        assert expected[2, 14] == 2
    assert masks(layout.training) == [expected.tolist()]
    if any("val" in name for name in LAYOUTS[kind]):
        (val_image, _), *_ = layout.validation.pairs
        assert val_image.parent != image.parent
        value = 2 if kind == "LabelMe, split" else 0
        assert masks(layout.validation) == [square(value).tolist()]
    else:
        assert layout.validation is None


def test_a_byte_order_mark_and_names_of_all_sorts(tmp_path):
    written(tmp_path, {"images/a ü 日.png": None})
    held = coco_json(["a ü 日.png"], ONE)
    (tmp_path / "annotations.json").write_text(json.dumps(held, ensure_ascii=False), encoding="utf-8-sig")
    assert masks(find_layout(tmp_path).training) == [square().tolist()]


# COCO


def test_all_kinds_of_outlines_and_crowds(tmp_path):
    part = np.zeros((HEIGHT, WIDTH), bool)
    part[1:11, 12:] = True
    counts = np.diff(np.flatnonzero(np.diff(part.T.ravel().astype(int), prepend=0, append=0)), prepend=0).tolist()
    flat = {"size": [HEIGHT, WIDTH], "counts": [*counts, HEIGHT * WIDTH - sum(counts)]}
    found = [
        instance(1, 0, [SQUARE, [0, 0, 2, 0, 2, 2, 0, 2]], iscrowd=0),
        instance(2, 0, runs(part), 7),
        instance(3, 1, flat, 7),
        instance(4, 1, flat, iscrowd=1),
        instance(5, 2, [SQUARE], iscrowd=1),
    ]
    written(tmp_path, {"images/a.png": None, "images/b.png": None, "images/c.png": None})
    written(tmp_path, {"annotations.json": coco_json(["a.png", "b.png", "c.png"], found)})
    first, second, third = (np.array(mask) for mask in masks(find_layout(tmp_path).training))
    expected = np.where(part, 2, square())
    expected[:2, :2] = 1
    np.testing.assert_array_equal(first, expected)
    np.testing.assert_array_equal(second, 2 * part)
    np.testing.assert_array_equal(third, square(255))


def test_overlapping_objects(tmp_path):
    wide = [0, 0, 16, 0, 16, 12, 0, 12]
    for found in ([instance(1, 0, [wide], 7), *ONE], [*ONE, instance(1, 0, [wide], 7)]):
        written(tmp_path, {"images/a.png": None, "annotations.json": coco_json(["a.png"], found)})
        np.testing.assert_array_equal(masks(find_layout(tmp_path).training)[0], np.where(square(), 1, 2))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], r"annotation 5 \(image 0\): it has no segmentation; a box and key points make no mask"),
        (None, r"annotation 5 \(image 0\): it has no segmentation"),
        (SQUARE, r"annotation 5 \(image 0\): its segmentation is neither polygons, .* nor runs of pixels"),
        ([["a"] * 6], r"annotation 5 .*neither polygons"),
        ([[10**400] * 6], r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH]}, r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH], "counts": [1.5]}, r"annotation 5 .*neither polygons"),
        ({"size": [HEIGHT, WIDTH], "counts": [2**70]}, r"annotation 5 .*neither polygons"),
        ([[1, 2, 3, 4]], r"annotation 5 \(image 0\): it has a polygon of fewer than three points"),
        ([[1, 2, 3, 4, 5, 6, 7]], r"annotation 5 .*of fewer than three points, or of half a one"),
        ([[1, 2, 3, 4, 5, 1e7]], r"annotation 5 \(image 0\): the point \(5, 1e\+07\) lies far outside"),
        (
            {"size": [10**9, 10**9], "counts": "PPYo10"},
            r"annotation 5 .*its runs are for 1000000000 x 1000000000, the picture is 16 x",
        ),
        ({"size": [HEIGHT, WIDTH], "counts": "0o"}, r"annotation 5 .*the compressed runs break off"),
        ({"size": [HEIGHT, WIDTH], "counts": "\ud800"}, r"annotation 5 .*the compressed runs break off, or hold what"),
        ({"size": [HEIGHT, WIDTH], "counts": "08"}, r"annotation 5 .*the runs do not add up to the 192 pixels"),
        ({"size": [HEIGHT, WIDTH], "counts": [1, 2]}, r"annotation 5 .*the runs do not add up to the 192 pixels"),
    ],
)
def test_a_faulty_annotation_is_named_when_its_turn_comes(tmp_path, segmentation, message):
    found = [instance(5, 0, segmentation), instance(6, 1, [SQUARE])]
    held = coco_json(["a.png", "b.png"], found)
    layout = find_layout(written(tmp_path, {"images/a.png": None, "images/b.png": None, "annotations.json": held}))
    (_, faulty), (_, sound) = layout.training.pairs
    with pytest.raises(KsegError, match=f"annotations.json: {message}"):
        read_mask(faulty)
    assert read_mask(sound)[..., 0].tolist() == square().tolist()


def test_an_unknown_category_is_named_when_its_turn_comes(tmp_path):
    held = coco_json(["a.png"], [instance(5, 0, [SQUARE], 99)])
    layout = find_layout(written(tmp_path, {"images/a.png": None, "annotations.json": held}))
    with pytest.raises(KsegError, match=r"annotation 5 \(image 0\): there is no category 99. Export it again"):
        read_mask(layout.training.pairs[0][1])


def test_sizes_must_be_those_of_the_images(tmp_path):
    held = coco_json(["a.png"], ONE)
    held["images"][0] |= {"height": 10**9, "width": 10**9}
    layout = find_layout(written(tmp_path, {"images/a.png": None, "annotations.json": held}))
    message = r"annotations.json, image 0: the outlines are for 1000000000 x 1000000000, and .*a.png is 16 x 12"
    with pytest.raises(KsegError, match=message):
        read_mask(layout.training.pairs[0][1])
    del held["images"][0]["height"]
    layout = find_layout(written(tmp_path, {"annotations.json": held}))
    assert masks(layout.training) == [square().tolist()]


def changed(held, **others):
    return held | others


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            coco_json(["a.png", "b.png"], []),
            r"1 of 2 images are not there, such as image 1, 'b.png'. Expected all in one of",
        ),
        (coco_json(["../a.png"], []), r"annotations.json, image 0: 'images/../a.png' leads|image 0: .*leads out of"),
        (coco_json(["http://x/a.png"], []), r"1 of 1 images are not there, such as image 0, 'http://x/a.png'"),
        (coco_json(["a\0.png"], []), r"1 of 1 images are not there"),
        (coco_json(["a.png", "a.png"], []), r"a.png is listed in .*annotations.json and again in .*annotations.json"),
        (
            coco_json(["a.png"], [instance(5, 4, [SQUARE])]),
            r"json: annotation 5 is of image 4, which is none of its im",
        ),
        (coco_json([], []), r"annotations.json has no images, or one id for two of its images or categories"),
        (coco_json(["a.png"], [], []), r"annotations.json has 0 classes; expected 1 to 65534"),
        (coco_json(["a.png"], [], CATEGORIES + CATEGORIES[:1]), r"or one id for two of its images or categories"),
        (
            changed(coco_json(["a.png"], []), annotations={}),
            r"annotations.json has no list of annotations; expected COCO",
        ),
        (changed(coco_json(["a.png"], []), images=[3]), r"json: images\[0\] is not as COCO has it: an id is missing"),
        (changed(coco_json(["a.png"], []), images=[{"file_name": "a.png", "id": [1]}]), r"json: images\[0\] is not as"),
        (changed(coco_json(["a.png"], []), annotations=[{"id": 1}]), r"json: annotations\[0\] is not as COCO has it"),
        (changed(coco_json(["a.png"], []), annotations=[{"image_id": 0}]), r"json: annotations\[0\] is not as COCO"),
        (
            '{"images": 1, "annotations": 2, "categories": 3',
            r"annotations.json is not JSON: .*line 1.*. Export it again",
        ),
        ('["images", "annotations", "categories"]', r"annotations.json has no list of images"),
        ('"images" "annotations" "categories" ' + "[" * 100_000, r"annotations.json is not JSON"),
        ('{"images": 1, "annotations": 2, "categories":' + "[" * 100_000, r"is not JSON: it is nested too deeply"),
        ('{"images": 1, "annotations": 2, "categories":' + "1" * 10_000 + "}", r"is not JSON: Exceeds the limit"),
    ],
)
def test_a_faulty_file_is_refused_by_name(tmp_path, held, message):
    (tmp_path.parent / "a.png").unlink(missing_ok=True)
    folder = written(tmp_path / "set", {"images/a.png": None, "annotations.json": held})
    if "../a.png" in str(held):
        written(tmp_path, {"a.png": None, "set/images/x.png": None})
        held = changed(held, images=[{"id": 0, "file_name": "../../a.png"}])
        written(folder, {"annotations.json": held})
    with pytest.raises(KsegError, match=message):
        find_layout(folder)


def test_a_file_that_is_no_text(tmp_path):
    written(tmp_path, {"images/a.png": None})
    (tmp_path / "annotations.json").write_bytes(b'"images" "annotations" "categories" \xff\xfe')
    with pytest.raises(KsegError, match=r"annotations.json cannot be read: .* Expected text in UTF-8"):
        find_layout(tmp_path)


def test_ids_keep_their_classes_in_training_and_validation(tmp_path):
    files = LAYOUTS["COCO"] | {
        "annotations/instances_val2017.json": coco_json(["ä.png"], [], [{"id": 5, "name": "ape"}])
    }
    assert find_layout(written(tmp_path, files)).classes == {1: "cat", 2: "ape", 3: "dog"}
    files |= {"annotations/instances_val2017.json": coco_json(["ä.png"], [], [{"id": 3, "name": "ape"}])}
    with pytest.raises(KsegError, match=r"val2017.json: category 3 is 'ape', and 'cat' in .*instances_train2017.json"):
        find_layout(written(tmp_path, files))


def test_no_class_is_255(tmp_path):
    categories = [{"id": n, "name": f"c{n}"} for n in range(1, 301)]
    found = [instance(1, 0, [SQUARE], 255), instance(2, 1, [SQUARE], 254)]
    held = coco_json(["a.png", "b.png"], found, categories)
    layout = find_layout(written(tmp_path, {"images/a.png": None, "images/b.png": None, "annotations.json": held}))
    assert masks(layout.training) == [square(256).tolist(), square(254).tolist()]
    assert (layout.classes[254], layout.classes[256], 255 in layout.classes) == ("c254", "c255", False)
    assert layout.rule.endswith("7 c7, 8 c8 and 292 more")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"annotations/panoptic_train2017.json": coco_json(["a b.png"], [])},
            r"instances_train2017.json and .*panoptic",
        ),
        ({"masks/a b.png": None, "images/a b.png": None}, r"instances_train2017.json and .*/masks/a b.png say two"),
        (
            {"images/a.json": shapes(("cat", polygon(SQUARE))), "images/a.png": None},
            r"2017.json and .*images/a.json say two",
        ),
        ({"train.txt": "a b"}, r"train.txt and .*instances_train2017.json say two things"),
        (
            {"annotations/instances_valid.json": coco_json(["ä.png"], [])},
            r"val2017.json and .*instances_valid.json say",
        ),
        ({"images/a b.png": None}, r"train2017/a b.png and .*images/a b.png say two things"),
    ],
)
def test_two_things_that_fit_are_refused(tmp_path, files, message):
    with pytest.raises(KsegError, match=message):
        find_layout(written(tmp_path, LAYOUTS["COCO"] | files))


def panoptic(tmp_path, ids, segments, categories=CATEGORIES):
    held = coco_json(["a.png"], [{"image_id": 0, "file_name": "a.png", "segments_info": segments}], categories)
    written(tmp_path, {"train2017/a.png": None, "annotations/panoptic_train2017.json": held})
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    (tmp_path / "annotations/panoptic_train2017").mkdir(exist_ok=True)
    Image.fromarray(colours).save(tmp_path / "annotations/panoptic_train2017/a.png")
    return tmp_path


def test_panoptic_segments(tmp_path):
    ids = square(70_000)
    ids[0], ids[-1] = 300, 9
    segments = [
        {"id": 70_000, "category_id": 7},
        {"id": 300, "category_id": 3},
        {"id": 9, "category_id": 3, "iscrowd": 1},
    ]
    expected = square(2)
    expected[0], expected[-1] = 1, 255
    layout = find_layout(panoptic(tmp_path, ids, segments))
    assert layout.rule == "COCO, annotations/panoptic_train2017.json: 1 cat, 2 dog"
    assert masks(layout.training) == [expected.tolist()]
    stuff = [CATEGORIES[0], CATEGORIES[1] | {"isthing": 0}]
    expected[ids == 0] = 255
    assert masks(find_layout(panoptic(tmp_path, ids, segments, stuff)).training) == [expected.tolist()]
    with pytest.raises(
        KsegError, match=r"panoptic_train2017/a.png holds the segment 9, of which .*2017.json says nothing"
    ):
        masks(find_layout(panoptic(tmp_path, ids, segments[:2])).training)


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([{"id": 1, "category_id": 99}], r"panoptic_train2017.json, image 0: there is no category 99"),
        ([{"id": "x", "category_id": 3}], r"panoptic_train2017.json: annotations\[0\] is not as COCO has it"),
        ({}, r"panoptic_train2017.json: annotations\[0\] is not as COCO has it"),
    ],
)
def test_faulty_segments_are_refused(tmp_path, segments, message):
    with pytest.raises(KsegError, match=message):
        find_layout(panoptic(tmp_path, square(), segments))


# LabelMe


def png(mask):
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def test_shapes_of_all_kinds(tmp_path):
    inside = np.array([[True, False, True], [False, True, True]])
    box = [[4, 5], [6, 6]]
    found = [
        ("_background_", polygon([0, 0, 1, 0, 1, 1])),
        ("cat", {"points": [[9, 2], [13, 5]], "shape_type": "rectangle"}),
        ("ant", {"points": box, "shape_type": "mask", "mask": png(inside)}),
        ("__ignore__", polygon([14, 0, 16, 0, 16, 3, 14, 3])),
    ]
    layout = find_layout(written(tmp_path, {"a.png": None, "a.json": shapes(*found)}))
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[2:5, 9:13] = 2
    expected[5:7, 4:7] = inside
    expected[:3, 14:] = 255
    assert masks(layout.training) == [expected.tolist()]
    assert layout.classes == {1: "ant", 2: "cat"}


def test_a_circle_is_as_round_as_pillows(tmp_path):
    held = shapes(("cat", {"points": [[30.5, 25.5], [45.5, 25.5]], "shape_type": "circle"}))
    Image.new("RGB", (60, 50)).save(tmp_path / "a.png")
    drawn = np.array(masks(find_layout(written(tmp_path, {"a.json": held})).training)[0])
    other = Image.new("L", (600, 500))
    ImageDraw.Draw(other).ellipse((155, 105, 455, 405), fill=1)
    expected = np.asarray(other)[5::10, 5::10]
    assert (drawn != expected).sum() < 24
    assert abs(drawn.sum() - np.pi * 15**2) < 12


def test_later_shapes_are_on_top(tmp_path):
    wide = polygon([0, 0, 16, 0, 16, 12, 0, 12])
    files = {"a.png": None, "a.json": shapes(("cat", polygon(SQUARE)), ("dog", wide))}
    assert np.unique(masks(find_layout(written(tmp_path, files)).training)).tolist() == [2]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"points": [[1, 1], [2, 2]], "shape_type": "line"},
            r"shape 1 \('cat'\): 'line' of 2 points; expected a polygon",
        ),
        ({"points": [[1, 1]], "shape_type": "point"}, r"'point' of 1 points; .* Lines and points have no area"),
        ({"points": [[1, 1], [2, 2]]}, r"'polygon' of 2 points; expected a polygon of three or more"),
        ({"points": [1, 2, 3]}, r"its points are not pairs of numbers"),
        ({"points": [["1", "2"]] * 3}, r"its points are not pairs of numbers"),
        ({"points": [[10**400, 1]] * 3}, r"its points are not pairs of numbers"),
        ({"points": [[1e8, 1]] * 3}, r"shape 1 \('cat'\): the point \(1e\+08, 1\) lies far outside"),
        ({"points": [[1, 1], [1e9, 1]], "shape_type": "circle"}, r"lies far outside of the picture"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask"}, r"its mask is no PNG in Base64"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "AAAA"}, r"its mask is no PNG in Base64"),
        (
            {"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": png(np.ones((3, 3), bool))},
            r"of another size than its box",
        ),
        (
            {"points": [[1, 1], [99, 2]], "shape_type": "mask", "mask": ""},
            r"its box lies outside of the picture, 16 x 12",
        ),
    ],
)
def test_faulty_shapes_are_named_when_their_turn_comes(tmp_path, shape, message):
    layout = find_layout(written(tmp_path, {"a.png": None, "a.json": shapes(("cat", shape))}))
    with pytest.raises(KsegError, match=f"a.json: .*{message}"):
        masks(layout.training)


@pytest.mark.parametrize(
    ("held", "message"),
    [
        (
            shapes(("cat", polygon(SQUARE)), imageHeight=9, imageWidth=9),
            r"a.json: the outlines are for 9 x 9, and .*a.png",
        ),
        (
            shapes(("cat", polygon(SQUARE)), imagePath="..\\b.png"),
            r"a.json is of b.png by its imagePath, and of a.png by",
        ),
        ({"shapes": [{"points": []}]}, r"a.json: shape 1 \(None\) has no label"),
        ({"shapes": {}}, r"a.json has no list of shapes; expected LabelMe's JSON"),
        ('{"shapes": [', r"a.json is not JSON"),
    ],
)
def test_faulty_files_are_named_when_their_turn_comes(tmp_path, held, message):
    files = {"b.json": shapes(("cat", polygon(SQUARE))), "a.json": held, "a.png": None, "b.png": None}
    layout = find_layout(written(tmp_path, files))
    with pytest.raises(KsegError, match=message):
        masks(layout.training)


def test_files_without_labels(tmp_path):
    with pytest.raises(KsegError, match=r"a.json has no labels, nor has any of 1 files; expected shapes with a label"):
        find_layout(written(tmp_path, {"a.json": shapes(), "a.png": None}))


def test_an_image_or_a_file_alone(tmp_path):
    files = {"a.json": shapes(("cat", polygon(SQUARE))), "a.png": None, "b.png": None}
    with pytest.raises(KsegError, match=r"1 files have no JSON of LabelMe: .*b.png. Expected a file of the same stem"):
        find_layout(written(tmp_path, files))
    (tmp_path / "b.png").unlink()
    with pytest.raises(KsegError, match=r"1 files have no image: .*c.json. .*a copy of it in imageData is not read"):
        find_layout(written(tmp_path, {"c.json": shapes(("cat", polygon(SQUARE)), imageData="AAAA")}))


def test_other_json_beside_images_is_none_of_labelmes(tmp_path):
    layout = find_layout(written(tmp_path, {"images/a.png": None, "images/a.json": {"gps": 1}, "masks/a.png": None}))
    assert layout.rule == "images/ and masks/ by stem"


# YOLO


@pytest.mark.parametrize("text", ["", "\n\n", None])
def test_an_image_without_text_has_no_objects(tmp_path, text):
    files = LAYOUTS["YOLO"] | {"images/train/b.png": None}
    if text is not None:
        files["labels/train/b.txt"] = text
    layout = find_layout(written(tmp_path, files))
    assert masks(layout.training) == [square().tolist(), square(0).tolist()]
    training, _ = open_sources(str(tmp_path))
    assert training.contents().startswith("2 images")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.2 0.2", r"line 2: this is a box, four numbers; expected the outline"),
        ("0 0.1 0.1 0.2 0.2 0.3", r"line 2: 5 numbers follow the class; expected x and y of three points or more"),
        ("2 " + shares(SQUARE), r"line 2: the class is 2; expected 0 to 1, as there are names in"),
        ("0.5 " + shares(SQUARE), r"line 2: the class is 0.5"),
        ("nan " + shares(SQUARE), r"line 2: the class is nan"),
        ("0 " + shares([17, *SQUARE[1:]]), r"line 2: a point lies outside of the image; expected shares"),
        ("0 nan 0 1 1 0 1", r"line 2: a point lies outside"),
        ("cat 0 0 1 1 0 1", r"line 2: could not convert string to float: 'cat'; expected a class and the points"),
    ],
)
def test_faulty_lines_are_named_when_their_turn_comes(tmp_path, line, message):
    layout = find_layout(written(tmp_path, LAYOUTS["YOLO"] | {"labels/train/a.txt": f"\n{line}\n"}))
    with pytest.raises(KsegError, match=f"labels/train/a.txt, {message}"):
        masks(layout.training)


def test_rounding_may_lead_a_little_out_of_the_image(tmp_path):
    line = "0 " + shares(SQUARE).replace(shares(SQUARE).split()[0], "-0.004")
    layout = find_layout(written(tmp_path, LAYOUTS["YOLO"] | {"labels/train/a.txt": line}))
    assert np.sum(masks(layout.training)) == 8 * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"names": 3}, r"data.yaml: names are 3; expected a list, or 0, 1, … and the name of each"),
        ({"names": {1: "cat"}}, r"data.yaml: names are \{1: 'cat'\}; expected"),
        ({"names": []}, r"data.yaml has 0 classes"),
        ({"val": "images/nowhere"}, r"data.yaml: val is 'images/nowhere'; expected a folder of images in"),
        ({"val": "../../etc"}, r"data.yaml: val is '../../etc'; expected a folder of images in"),
        ({"val": "images/train"}, r"images/train/a.png is listed in .*\(train\) and again in .*data.yaml \(val\)"),
        ({"kpt_shape": [17, 3]}, r"data.yaml describes key points"),
    ],
)
def test_faulty_settings_are_refused(tmp_path, settings, message):
    held = yaml.safe_load(LAYOUTS["YOLO"]["data.yaml"]) | settings
    with pytest.raises(KsegError, match=message):
        find_layout(written(tmp_path, LAYOUTS["YOLO"] | {"data.yaml": yaml.safe_dump(held)}))


def test_text_without_an_image_is_refused_but_for_the_list_of_classes(tmp_path):
    find_layout(written(tmp_path, LAYOUTS["YOLO"] | {"labels/train/classes.txt": "cat\ndog\n"}))
    with pytest.raises(
        KsegError, match=r"1 files have no image: .*labels/train/z.txt. Expected one of the same stem in"
    ):
        find_layout(written(tmp_path, {"labels/train/z.txt": ""}))


def test_masks_beside_a_data_yaml_are_masks(tmp_path):
    files = dict.fromkeys(("images/train/a.png", "labels/train/a.png"))
    held = written(tmp_path, files | {"data.yaml": LAYOUTS["YOLO"]["data.yaml"], "notes.yaml": "names: [1\n"})
    assert find_layout(held).rule == "images/train/ and labels/train/ by stem"


def test_several_folders_to_train_on(tmp_path):
    files = LAYOUTS["YOLO"] | {"images/more/a.png": None, "labels/more/a.txt": f"1 {shares(SQUARE)}"}
    files["data.yaml"] = "names: [cat, dog]\ntrain: [images/train, images/more]\n"
    layout = find_layout(written(tmp_path, files))
    assert masks(layout.training) == [square().tolist(), square(2).tolist()]
    assert layout.rule.endswith("; images not read: 1 in images/val/")


# From the source to the audit


def test_masks_that_hold_a_crowd_alone_are_no_foreground(tmp_path):
    found = [instance(n, n, [SQUARE], iscrowd=1) for n in range(3)]
    names = [f"{n}.png" for n in range(4)]
    folder = written(tmp_path, {f"images/{name}": None for name in names})
    written(folder, {"annotations.json": coco_json(names, found)})
    training, validation = open_sources(str(folder))
    with pytest.raises(KsegError, match=r"No mask of .* has any foreground: all pixels are 0, 255"):
        find_foreground(training)
    written(folder, {"annotations.json": coco_json(names, [*found, instance(9, 3, [SQUARE])])})
    training, validation = open_sources(str(folder))
    rule = find_foreground(training if any("3.png" in str(path) for path in training.images) else validation)
    assert rule.table()[[0, 1, 2, 255]].tolist() == [0, 1, 1, 255]
    assert rule.setting == "classes"
    assert find_foreground(training, (2,)).table()[[0, 1, 2, 255]].tolist() == [0, 0, 1, 255]


def test_segments_that_leave_no_background_are_refused(tmp_path):
    stuff = [CATEGORIES[0], CATEGORIES[1] | {"isthing": 0}]
    held = coco_json(["a.png", "b.png"], [], stuff)
    segments = [{"id": 5, "category_id": 7}, {"id": 6, "category_id": 3}]
    held["annotations"] = [{"image_id": n, "file_name": "a.png", "segments_info": segments} for n in range(2)]
    panoptic(tmp_path, square(1) + 5, segments)
    written(tmp_path, {"train2017/b.png": None, "annotations/panoptic_train2017.json": held})
    training, _ = open_sources(str(tmp_path))
    with pytest.raises(KsegError, match=r"hold 1, 2, and 0, the background, nowhere. Say which values are foreground"):
        find_foreground(training)
    assert find_foreground(training, (2,)).values == (2,)


def test_dev_mode_draws_no_others(tmp_path, monkeypatch):
    names = [f"{n}.png" for n in range(20)]
    folder = written(tmp_path, {f"images/{name}": None for name in names})
    written(folder, {"annotations.json": coco_json(names, [instance(n, n, [SQUARE]) for n in range(20)])})
    drawn = []
    monkeypatch.setattr(
        "kseg.data.layouts.annotations.coco_masks.frame_of", lambda image, size: drawn.append(image) or 1 / 0
    )
    training, validation = open_sources(str(folder), take=3)
    assert [len(training), len(validation), drawn] == [3, 3, []]


def test_colours_of_drawn_masks_are_refused(tmp_path):
    folder = str(written(tmp_path, LAYOUTS["COCO"]))
    message = r"colours: #000000, #ff0000 is not allowed for .*, where masks are drawn from annotations; expected auto"
    with pytest.raises(KsegError, match=message):
        open_sources(folder, colours=("#000000", "#ff0000"))
    with pytest.raises(KsegError, match=message):
        audit(folder, colours=("#000000", "#ff0000"))


@pytest.mark.parametrize("kind", ["COCO", "LabelMe, split", "YOLO"])
def test_the_audit_draws_masks_and_names_faults_by_image(tmp_path, kind):
    folder = written(tmp_path, LAYOUTS[kind])
    found = audit(str(folder), workers=1)
    assert found.facts()["layout"] == RULES[kind]
    assert found.facts()["pairs"] == "2 (train 1, val 1)"
    assert "the data set names its classes" in found.facts()["read as"]
    assert found.shares[0] == 36 / (HEIGHT * WIDTH)
    assert found.pictures
    faulty = {
        "COCO": {"annotations/instances_train2017.json": coco_json(["a b.png"], [instance(5, 0, [])])},
        "LabelMe, split": {"train/a.json": shapes(("cat", {"points": []}))},
        "YOLO": {"labels/train/a.txt": "0 1 2"},
    }
    names = {
        "COCO": "annotations/instances_train2017.json, image 0",
        "LabelMe, split": "train/a.json",
        "YOLO": "labels/train/a.txt",
    }
    written(folder, faulty[kind])
    (finding,) = (finding for finding in audit(str(folder), workers=1).findings if finding.check == "unreadable")
    assert finding.files == (names[kind],)


def test_the_audit_names_a_file_that_cannot_be_read(tmp_path):
    held = coco_json(["a.png"], [instance(5, 4, [SQUARE])])
    folder = written(tmp_path, {"images/a.png": None, "annotations.json": held})
    with pytest.raises(KsegError, match=r"annotations.json: annotation 5 is of image 4, which is none of its images"):
        audit(str(folder), workers=1)


def test_a_crowd_alone_is_no_foreground_in_the_audit(tmp_path):
    found = [instance(1, 0, [SQUARE], iscrowd=1), instance(2, 1, [SQUARE])]
    files = {"images/a.png": None, "images/b.png": None, "annotations.json": coco_json(["a.png", "b.png"], found)}
    shares = audit(str(written(tmp_path, files)), workers=1).shares
    assert shares == {0: 0, 1: 36 / (HEIGHT * WIDTH)}


# Anything

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, 2**63]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


def mutated(held, path, value):
    """A copy in which what lies at a path, modulo what there is, has become something else."""
    held = json.loads(json.dumps(held))
    place = held
    for step in path:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = keys[step % len(keys)]
        if step == path[-1] or not isinstance(place[key], dict | list):
            place[key] = value
            break
        place = place[key]
    return held


PATHS = st.lists(st.integers(0, 8), min_size=1, max_size=5)
SOUND = coco_json(["a.png"], [instance(1, 0, [SQUARE]), instance(2, 0, runs(square() > 0), 7)])
SOUND_PANOPTIC = coco_json(
    ["a.png"], [{"image_id": 0, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 7}]}]
)
SOUND_SHAPES = shapes(
    ("cat", polygon(SQUARE)),
    ("dog", {"points": [[4, 5], [6, 6]], "shape_type": "mask", "mask": png(np.ones((2, 3), bool))}),
    imageHeight=HEIGHT,
    imageWidth=WIDTH,
)


def read_or_refused(folder, name):
    """Whether a set is read, or refused by the name of its file."""
    said = f"{folder} {name}"
    try:
        for mask in masks(find_layout(folder).training):
            assert np.shape(mask) == (HEIGHT, WIDTH)
    except KsegError as error:
        said = str(error)
    assert str(folder) in said
    assert name in said or "There is no folder" in said


FUZZED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])


@given(PATHS, JSON)
@FUZZED
def test_any_coco_json_is_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-coco"
    read_or_refused(
        written(folder, {"images/a.png": None, "annotations.json": mutated(SOUND, path, value)}), "annotations"
    )


@given(PATHS, JSON)
@FUZZED
def test_any_panoptic_json_is_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-panoptic"
    held = mutated(SOUND_PANOPTIC, path, value)
    written(folder, {"train/a.png": None, "panoptic_train/a.png": None, "panoptic_train.json": held})
    Image.new("RGB", (WIDTH, HEIGHT), (1, 0, 0)).save(folder / "panoptic_train/a.png")
    read_or_refused(folder, "panoptic_train")


@given(PATHS, JSON)
@FUZZED
def test_any_shapes_are_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-shapes"
    read_or_refused(written(folder, {"a.png": None, "a.json": mutated(SOUND_SHAPES, path, value)}), "a.json")


@given(
    st.integers(0, 2000),
    st.integers(0, 7),
    st.sampled_from(["annotations.json", "a.json", "data.yaml", "labels/a.txt"]),
)
@FUZZED
def test_flipped_and_cut_files_are_read_or_refused_by_name(tmp_path_factory, place, bit, name):
    folder = tmp_path_factory.getbasetemp() / f"flipped-{name.replace('/', '-')}"
    yolo = {"data.yaml": "names: [cat]\ntrain: images\n", "images/a.png": None, "labels/a.txt": f"0 {shares(SQUARE)}"}
    sound = {
        "annotations.json": {"images/a.png": None, "annotations.json": SOUND},
        "a.json": {"a.png": None, "a.json": SOUND_SHAPES},
    }
    written(folder, sound.get(name, yolo))
    content = bytearray((folder / name).read_bytes())
    place %= len(content)
    content[place] ^= 1 << bit
    for changed_content in (content, content[:place]):
        (folder / name).write_bytes(changed_content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_or_refused(folder, name.rpartition("/")[2])


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("0123456789.-e \n", max_size=60))
@example("0 1e999 0 0 0 0 0")
@example("1" * 400 + " 0 0 0 0 0 0")
@FUZZED
def test_any_text_is_outlines_or_refused_by_name(tmp_path_factory, text):
    folder = written(tmp_path_factory.getbasetemp() / "any-text", {"a.png": None, "a.txt": text})
    said = "a.txt, line"
    try:
        assert YoloMask(folder / "a.txt", folder / "a.png", (1, 2)).draw().shape == (HEIGHT, WIDTH, 1)
    except KsegError as error:
        said = str(error)
    assert "a.txt, line" in said


def test_a_yaml_bomb_is_not_expanded(tmp_path):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    files = LAYOUTS["YOLO"] | {"data.yaml": f"{bomb}\nnames: [cat]\ntrain: images/train\n"}
    assert masks(find_layout(written(tmp_path, files)).training) == [square().tolist()]
