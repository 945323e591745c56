"""Faulty COCO files."""

import pytest
from hypothesis import given
from PIL import Image

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    CATEGORIES,
    FUZZED,
    HEIGHT,
    JSON,
    PATHS,
    SOUND,
    SOUND_PANOPTIC,
    SQUARE,
    WIDTH,
    check_read_or_refused,
    coco_json,
    instance_entry,
    mutate,
    write_files,
)

pytestmark = pytest.mark.backend_free


def with_fields(content, **others):
    return content | others


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            coco_json(["a.png", "b.png"], []),
            r"1 of 2 images are missing, such as image 1, 'b.png'. Expected all in one of",
        ),
        (coco_json(["/home/me/b.png"], []), r"1 of 1 images are missing, such as image 0, 'b.png'"),
        (coco_json(["/home/a.png", "/home/b/a.png"], []), r"a.png is listed in .*annotations.json and again in"),
        (coco_json(["a\0.png"], []), r"1 of 1 images are missing"),
        (coco_json(["a.png", "a.png"], []), r"a.png is listed in .*annotations.json and again in .*annotations.json"),
        (
            coco_json(["a.png"], [instance_entry(5, 4, [SQUARE])]),
            r"json: annotation 5 is for image 4, which is not in images",
        ),
        (coco_json([], []), r"annotations.json has no images, or the same id for two images or two categories"),
        (coco_json(["a.png"], [], []), r"annotations.json has 0 classes; expected 1 to 65534"),
        (coco_json(["a.png"], [], CATEGORIES + CATEGORIES[:1]), r"or the same id for two images or two categories"),
        (
            with_fields(coco_json(["a.png"], []), annotations={}),
            r"annotations.json has no list of annotations; expected COCO",
        ),
        (
            with_fields(coco_json(["a.png"], []), images=[3]),
            r"json: images\[0\] is not in COCO's format: an id or another",
        ),
        (
            with_fields(coco_json(["a.png"], []), images=[{"file_name": "a.png", "id": [1]}]),
            r"json: images\[0\] is not in",
        ),
        (
            with_fields(coco_json(["a.png"], []), annotations=[{"id": 1}]),
            r"json: annotations\[0\] is not in COCO's",
        ),
        (
            with_fields(coco_json(["a.png"], []), annotations=[{"image_id": 0}]),
            r"json: annotations\[0\] is not in COCO",
        ),
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
def test_a_faulty_file_is_refused_by_name(tmp_path, content, message):
    (tmp_path.parent / "a.png").unlink(missing_ok=True)
    folder = write_files(tmp_path / "set", {"images/a.png": None, "annotations.json": content})
    if "../a.png" in str(content):
        write_files(tmp_path, {"a.png": None, "set/images/x.png": None})
        content = with_fields(content, images=[{"id": 0, "file_name": "../../a.png"}])
        write_files(folder, {"annotations.json": content})
    with pytest.raises(KsegError, match=message):
        find_layout(folder)


def test_a_file_that_is_not_utf_8_is_refused(tmp_path):
    write_files(tmp_path, {"images/a.png": None})
    (tmp_path / "annotations.json").write_bytes(b'"images" "annotations" "categories" \xff\xfe')
    with pytest.raises(KsegError, match=r"annotations.json cannot be read: .* Expected text in UTF-8"):
        find_layout(tmp_path)


@given(PATHS, JSON)
@FUZZED
def test_any_coco_json_is_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-coco"
    check_read_or_refused(
        write_files(folder, {"images/a.png": None, "annotations.json": mutate(SOUND, path, value)}), "annotations"
    )


@pytest.mark.slow
@given(PATHS, JSON)
@FUZZED
def test_any_panoptic_json_is_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-panoptic"
    content = mutate(SOUND_PANOPTIC, path, value)
    write_files(folder, {"train/a.png": None, "panoptic_train/a.png": None, "panoptic_train.json": content})
    Image.new("RGB", (WIDTH, HEIGHT), (1, 0, 0)).save(folder / "panoptic_train/a.png")
    check_read_or_refused(folder, "panoptic_train")
