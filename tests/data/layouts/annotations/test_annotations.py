"""Annotated folders of every format, from their layout to sources and the audit."""

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg.audit import audit
from kseg.data import find_foreground, open_sources
from kseg.data.files.masks import read_mask
from kseg.data.layouts.annotations.coco_masks import InstanceMask
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    CATEGORIES,
    FUZZED,
    HEIGHT,
    LAYOUTS,
    RULES,
    SOUND,
    SOUND_SHAPES,
    SQUARE,
    WIDTH,
    check_read_or_refused,
    coco_json,
    fractions,
    instance_entry,
    labelme_json,
    read_masks,
    square_mask,
    write_files,
    write_panoptic,
)

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("kind", LAYOUTS)
def test_the_layout_states_its_format_and_classes(tmp_path, kind):
    layout = find_layout(write_files(tmp_path, LAYOUTS[kind]))
    assert layout.rule == RULES[kind]
    assert layout.classes[1] == "cat"
    image, mask = layout.training.pairs[0]
    expected = square_mask()
    if kind == "LabelMe":
        expected[read_mask(mask)[..., 0] == 2] = 2
        assert expected[2, 14] == 2
    assert read_masks(layout.training) == [expected.tolist()]
    if any("val" in name for name in LAYOUTS[kind]):
        (val_image, _), *_ = layout.validation.pairs
        assert val_image.parent != image.parent
        value = 2 if kind == "LabelMe, split" else 0
        assert read_masks(layout.validation) == [square_mask(value).tolist()]
    else:
        assert layout.validation is None


def test_ignored_pixels_are_no_foreground(tmp_path):
    annotations = [instance_entry(n, n, [SQUARE], iscrowd=1) for n in range(3)]
    names = [f"{n}.png" for n in range(4)]
    folder = write_files(tmp_path, {f"images/{name}": None for name in names})
    write_files(folder, {"annotations.json": coco_json(names, [])})
    with pytest.raises(KsegError, match=r"No mask of .* has any foreground: all pixels are 0\."):
        find_foreground(open_sources(str(folder))[0])
    write_files(folder, {"annotations.json": coco_json(names, [*annotations, instance_entry(9, 3, [SQUARE])])})
    training, validation = open_sources(str(folder))
    rule = find_foreground(training if any("3.png" in str(path) for path in training.images) else validation)
    assert rule.table()[[0, 1, 2, 255]].tolist() == [0, 1, 1, 255]
    assert rule.setting == "classes"
    assert find_foreground(training, (2,)).table()[[0, 1, 2, 255]].tolist() == [0, 0, 1, 255]


def test_masks_without_background_are_refused(tmp_path):
    stuff = [CATEGORIES[0], CATEGORIES[1] | {"isthing": 0}]
    content = coco_json(["a.png", "b.png"], [], stuff)
    segments = [{"id": 5, "category_id": 7}, {"id": 6, "category_id": 3}]
    content["annotations"] = [{"image_id": n, "file_name": "a.png", "segments_info": segments} for n in range(2)]
    write_panoptic(tmp_path, square_mask(1) + 5, segments)
    write_files(tmp_path, {"train2017/b.png": None, "annotations/panoptic_train2017.json": content})
    training, _ = open_sources(str(tmp_path))
    with pytest.raises(KsegError, match=r"hold 1, 2; expected 0, the background, among them"):
        find_foreground(training)
    assert find_foreground(training, (2,)).values == (2,)


def test_opening_sources_draws_no_mask(tmp_path, monkeypatch):
    names = [f"{n}.png" for n in range(20)]
    folder = write_files(tmp_path, {f"images/{name}": None for name in names})
    write_files(folder, {"annotations.json": coco_json(names, [instance_entry(n, n, [SQUARE]) for n in range(20)])})
    drawn = []
    monkeypatch.setattr(InstanceMask, "draw", lambda mask: drawn.append(mask) or 1 / 0)
    training, validation = open_sources(str(folder), take=3)
    assert [len(training), len(validation), drawn] == [3, 3, []]


def test_colours_are_refused_for_annotations(tmp_path):
    folder = str(write_files(tmp_path, LAYOUTS["COCO"]))
    message = r"colours: #000000, #ff0000 is not allowed for .*, which names its classes; expected auto"
    with pytest.raises(KsegError, match=message):
        open_sources(folder, colours=("#000000", "#ff0000"))
    with pytest.raises(KsegError, match=message):
        audit(folder, colours=("#000000", "#ff0000"))


@pytest.mark.parametrize("kind", ["COCO", "LabelMe, split", "YOLO"])
def test_the_audit_draws_masks_and_names_a_faulty_one(tmp_path, kind):
    folder = write_files(tmp_path, LAYOUTS[kind])
    result = audit(str(folder), workers=1)
    assert result.facts()["layout"] == RULES[kind]
    assert result.facts()["pairs"] == "2 (train 1, val 1)"
    assert "the data set names its classes" in result.facts()["read as"]
    assert result.shares[0] == 36 / (HEIGHT * WIDTH)
    assert result.pictures
    faulty = {
        "COCO": {"annotations/instances_train2017.json": coco_json(["a b.png"], [instance_entry(5, 0, [])])},
        "LabelMe, split": {"train/a.json": labelme_json(("cat", {"points": []}))},
        "YOLO": {"labels/train/a.txt": "0 1 2"},
    }
    names = {
        "COCO": "annotations/instances_train2017.json, image 0",
        "LabelMe, split": "train/a.json",
        "YOLO": "labels/train/a.txt",
    }
    write_files(folder, faulty[kind])
    (finding,) = (finding for finding in audit(str(folder), workers=1).findings if finding.cause == "unreadable")
    assert finding.files == (names[kind],)


def test_the_audit_names_a_file_that_cannot_be_read(tmp_path):
    content = coco_json(["a.png"], [instance_entry(5, 4, [SQUARE])])
    folder = write_files(tmp_path, {"images/a.png": None, "annotations.json": content})
    with pytest.raises(KsegError, match=r"annotations.json: annotation 5 is for image 4, which is not in images"):
        audit(str(folder), workers=1)


def test_ignored_pixels_are_no_foreground_in_the_audit(tmp_path):
    annotations = [instance_entry(1, 0, [SQUARE], iscrowd=1), instance_entry(2, 1, [SQUARE])]
    files = {"images/a.png": None, "images/b.png": None, "annotations.json": coco_json(["a.png", "b.png"], annotations)}
    shares = audit(str(write_files(tmp_path, files)), workers=1).shares
    assert shares == {0: 0, 1: 36 / (HEIGHT * WIDTH)}


@pytest.mark.slow
@given(
    st.integers(0, 2000),
    st.integers(0, 7),
    st.sampled_from(["annotations.json", "a.json", "data.yaml", "labels/a.txt"]),
)
@FUZZED
def test_flipped_and_cut_files_are_read_or_refused_by_name(tmp_path_factory, place, bit, name):
    folder = tmp_path_factory.getbasetemp() / f"flipped-{name.replace('/', '-')}"
    yolo = {
        "data.yaml": "names: [cat]\ntrain: images\n",
        "images/a.png": None,
        "labels/a.txt": f"0 {fractions(SQUARE)}",
    }
    sound = {
        "annotations.json": {"images/a.png": None, "annotations.json": SOUND},
        "a.json": {"a.png": None, "a.json": SOUND_SHAPES},
    }
    write_files(folder, sound.get(name, yolo))
    content = bytearray((folder / name).read_bytes())
    place %= len(content)
    content[place] ^= 1 << bit
    for changed_content in (content, content[:place]):
        (folder / name).write_bytes(changed_content)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_read_or_refused(folder, name.rpartition("/")[2])
