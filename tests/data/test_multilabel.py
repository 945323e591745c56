"""Labels that may overlap, written in six ways: the same task, the same batches; and what is refused."""

import json
import shutil
from itertools import islice

import numpy as np
import pytest
import tensorflow_datasets as tfds
import tifffile
from PIL import Image

from kseg.audit import audit
from kseg.data import Foreground, Labels, find_foreground, open_sources, training_batches
from kseg.data.conversion.convert import convert
from kseg.data.mask_reading import read_masks_of_splits
from kseg.errors import KsegError
from tests.data.reading import decoded
from tests.data.writers import write_coco, write_images, write_labelme, write_yolo

pytestmark = pytest.mark.backend_free

NAMES = ("bird", "cat", "dog")
COUNT, SIDE = 8, 24


@pytest.fixture
def pictures(rng):
    """Images, and squares of three labels that overlap; the first image has all of them."""
    layers = np.zeros((COUNT, SIDE, SIDE, 3), bool)
    for index, mask in enumerate(layers):
        for label in range(3):
            y, x = rng.integers(4, SIDE - 16, 2)
            mask[y : y + 10, x : x + 10, label] = not index or rng.random() < 0.7
    return rng.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8), layers


def label_folder(folder, images, layers):
    """A mask of 0 and 255 for each label; none where an image does not have it, but for the first label."""
    write_images(folder / "images", images)
    for place, name in enumerate(NAMES):
        (folder / "masks" / name).mkdir(parents=True)
        for index, mask in enumerate(layers[..., place]):
            if mask.any() or not place:
                Image.fromarray(mask.astype(np.uint8) * 255).save(folder / f"masks/{name}/{index:03}_{name}.png")
    return folder


def tiff_folder(folder, images, layers):
    write_images(folder / "images", images)
    (folder / "masks").mkdir()
    for index, mask in enumerate(layers):
        path, stored = folder / f"masks/{index:03}.tif", mask.astype(np.uint8)
        tifffile.imwrite(path, stored, photometric="minisblack", planarconfig="contig")
    return folder


def npy_folder(folder, images, layers):
    write_images(folder / "images", images)
    (folder / "masks").mkdir()
    for index, mask in enumerate(layers):
        np.save(folder / f"masks/{index:03}.npy", mask)
    return folder


def with_objects(write):
    """The writer of a format of annotations, for layers."""

    def folder(folder, images, layers):
        objects = [
            [(label + 1, mask[..., label]) for label in np.flatnonzero(mask.any((0, 1))).tolist()] for mask in layers
        ]
        return write(folder, images, objects, NAMES)

    return folder


coco_folder = with_objects(write_coco)

WRITERS = {
    "folders": (label_folder, {}),
    "TIFF": (tiff_folder, {"class_names": NAMES}),
    "NPY": (npy_folder, {"class_names": NAMES}),
    "COCO": (coco_folder, {}),
    "LabelMe": (with_objects(write_labelme), {}),
    "YOLO": (with_objects(write_yolo), {}),
}


def read(folder, task="multilabel", **reading):
    training, validation = open_sources(str(folder), seed=3, multilabel=task == "multilabel")
    return training, read_masks_of_splits(training, validation, task=task, **reading)


def batches(source, rule, **others):
    settings = {"image_size": (16, 16), "batch_size": 2, "seed": 5, "augment": "heavy"} | others
    made = training_batches(source, rule, **settings)
    images, masks = zip(*islice(made, 2 * made.steps), strict=True)
    return np.concatenate(images), np.concatenate(masks)


@pytest.mark.parametrize("how", WRITERS)
def test_all_ways_of_writing_give_the_masks_that_were_written(how, pictures, tmp_path):
    write, reading = WRITERS[how]
    training, found = read(write(tmp_path / "set", *pictures), **reading)
    assert str(found.rule.task) == "3 labels: 0 bird, 1 cat, 2 dog"
    assert found.rule.task.kind == "multilabel"
    table = found.rule.table()
    for index, (image, _) in enumerate(training.pairs):
        number = int(image.stem)
        np.testing.assert_array_equal(training.read(index)[0], pictures[0][number])
        np.testing.assert_array_equal(table[training.read_mask(index)] == 1, pictures[1][number])
    if how == "folders":
        missing = int((~pictures[1].any((1, 2)))[:, 1:].sum())
        assert training.layout == f"a mask for each of 3 labels; {missing} masks are missing, and read as empty"
    expected = pictures[1][[int(image.stem) for image, _ in training.pairs]].mean((0, 1, 2))
    np.testing.assert_allclose(found.rule.shares, expected)


@pytest.mark.parametrize("shard_format", ["array_record", "tfrecord"])
@pytest.mark.parametrize("how", WRITERS)
def test_packed_they_are_the_same(how, shard_format, pictures, tmp_path):
    write, reading = WRITERS[how]
    folder, packed = write(tmp_path / "set", *pictures), tmp_path / "packed/birds"
    convert(str(folder), packed, shard_format=shard_format, seed=3, multilabel=True)
    source, found = read(folder, **reading)
    other, again = read(packed, "auto", **reading)
    assert again.rule == found.rule
    assert again.rule.shares == found.rule.shares
    assert (other.labels, dict(other.classes)) == (source.labels, dict(source.classes))
    for one, two in zip(decoded(source), decoded(other), strict=True):
        for expected, array in zip(one, two, strict=True):
            np.testing.assert_array_equal(array, expected)
    if shard_format == "array_record":
        for one, two in zip(batches(source, found.rule), batches(other, again.rule), strict=True):
            np.testing.assert_array_equal(two, one)
    assert [counted.pixels for counted in audit(str(packed)).classes] == pictures[1].sum((0, 1, 2)).tolist()
    builder = tfds.builder_from_directory(packed)
    rows = builder.as_data_source("train") if shard_format == "array_record" else builder.as_dataset("train")
    masks = next(iter(rows))["masks"]
    for channel, label in enumerate(source.labels):
        np.testing.assert_array_equal(masks[label][..., 0], decoded(source)[0][2][..., channel])


def test_a_conversion_of_labels_goes_on_and_is_bound_to_its_labels(pictures, tmp_path):
    folder = label_folder(tmp_path / "set", *pictures)
    convert(str(folder), tmp_path / "packed")
    for path in (tmp_path / "packed").glob("packed-validation*"):
        path.unlink()
    convert(str(folder), tmp_path / "packed")
    assert len(open_sources(str(tmp_path / "packed"))[1]) == 2
    shutil.rmtree(folder / "masks/dog")
    with pytest.raises(KsegError, match=r"labels \['bird', 'cat', 'dog'\] -> \['bird', 'cat'\]"):
        convert(str(folder), tmp_path / "packed")


def test_the_order_of_more_than_nine_channels_stays(tmp_path, rng):
    write_images(tmp_path / "set/images", rng.integers(0, 256, (3, SIDE, SIDE, 3)).astype(np.uint8))
    (tmp_path / "set/masks").mkdir()
    for index in range(3):
        np.save(tmp_path / f"set/masks/{index:03}.npy", rng.random((SIDE, SIDE, 11)) < 0.5)
    convert(str(tmp_path / "set"), tmp_path / "packed", multilabel=True)
    named = [str(number) for number in range(1, 12)]
    folder, packed = (open_sources(str(tmp_path / name), multilabel=True) for name in ("set", "packed"))
    for one, other in zip(folder, packed, strict=True):
        assert list(one.labels) == list(other.labels) == named
        for (_, _, mask), (_, _, stored) in zip(decoded(one), decoded(other), strict=True):
            np.testing.assert_array_equal(stored, mask)
    for plan in ("{", "[]", '{"made_from": {"labels": ["x"]}}', '{"made_from": {"labels": [1, "x"]}}'):
        (tmp_path / "packed/conversion.json").write_text(plan)
        assert open_sources(str(tmp_path / "packed"))[0].labels == tuple(sorted(named))


@pytest.mark.parametrize("cache", ["memory", "disk", "none"])
def test_each_channel_of_a_batch_is_what_its_label_alone_would_give(cache, pictures, tmp_path):
    folder = label_folder(tmp_path / "set", *pictures)
    source, found = read(folder, "auto")
    images, masks = batches(source, found.rule, cache=cache)
    assert masks.shape == (len(images), 16, 16, 3)
    assert set(np.unique(masks)) <= {0, 1, 255}
    for channel, name in enumerate(NAMES):
        _, alone = read(folder, "auto", classes=[name])
        assert alone.rule.task.kind == "binary"
        assert alone.rule.task.classes == (name,)
        others = batches(source, alone.rule, cache=cache)
        np.testing.assert_array_equal(others[0], images)
        np.testing.assert_array_equal(others[1][..., 0], masks[..., channel])


@pytest.mark.parametrize("how", ["TIFF", "NPY", "COCO", "folders"])
def test_the_audit_counts_each_label(how, pictures, tmp_path):
    write, _ = WRITERS[how]
    found = audit(str(write(tmp_path / "set", *pictures)), workers=1, multilabel=True)
    assert [counted.pixels for counted in found.classes] == pictures[1].sum((0, 1, 2)).tolist()
    assert [counted.count for counted in found.classes] == pictures[1].any((1, 2)).sum(0).tolist()
    assert "unreadable" not in {finding.cause for finding in found.findings}


def test_crops_are_around_the_foreground_of_any_label(pictures, tmp_path):
    images, layers = pictures
    layers[:] = False
    layers[:, 20:22, 20:22, 2] = True
    layers[0, 0, 0] = True  # no label is absent
    source, found = read(tiff_folder(tmp_path / "set", images, layers))
    _, masks = batches(source, found.rule, foreground_crops=1.0, augment="none", image_size=(24, 24))
    assert masks[..., 2].any((1, 2)).all()


def test_channels_are_chosen_and_ordered_by_name(pictures, tmp_path):
    source, found = read(tiff_folder(tmp_path / "set", *pictures), class_names=NAMES, classes=["dog", "bird"])
    assert found.rule.channels == (2, 0)
    assert found.rule.settings() == {"task": "multilabel", "foreground": "classes", "classes": ("dog", "bird")}
    _, whole = read(tmp_path / "set", class_names=NAMES)
    np.testing.assert_array_equal(batches(source, found.rule)[1], batches(source, whole.rule)[1][..., [2, 0]])


def test_a_crowd_and_an_ignored_label_are_ignored_in_every_channel(pictures, tmp_path):
    folder = coco_folder(tmp_path / "set", *pictures)
    content = json.loads((folder / "annotations.json").read_text())
    crowd = {"size": [SIDE, SIDE], "counts": [0, SIDE * 2, SIDE * (SIDE - 2)]}
    content["annotations"].append(
        {"id": 99, "image_id": 0, "category_id": 1, "segmentation": crowd, "iscrowd": 1, "area": 1}
    )
    (folder / "annotations.json").write_text(json.dumps(content))
    source, found = read(folder)
    index = next(place for place, (image, _) in enumerate(source.pairs) if image.stem == "000")
    mask = found.rule.table()[source.read_mask(index)]
    assert (mask[:, :2] == 255).all()
    np.testing.assert_array_equal(mask[:, 2:] == 1, pictures[1][0][:, 2:])


def test_what_is_missing_or_rare_is_said(pictures, tmp_path):
    images, layers = pictures
    layers[..., 1] = False
    _, found = read(tiff_folder(tmp_path / "set", images, layers), class_names=NAMES)
    assert found.warnings == (
        "Class cat is in no mask that was read: nothing can be learned there, and no score shows that.",
    )
    assert found.described.startswith("training: bird ")


def test_a_digest_covers_the_masks_of_every_label(pictures, tmp_path):
    folder = label_folder(tmp_path / "set", *pictures)
    before = open_sources(str(folder))
    assert sum(len(source.data_files()) for source in before) == sum(1 for _ in folder.rglob("*.png"))
    summaries = [source.summary() for source in before]
    last = sorted((folder / "masks/dog").iterdir())[-1]
    last.write_bytes(last.read_bytes() + b" ")
    assert [source.summary() for source in open_sources(str(folder))] != summaries


def folder_without(path):
    def change(folder):
        (folder / path).unlink()

    return change


def folder_with(path, array):
    def change(folder):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(folder / path)

    return change


SMALL, GREY = np.zeros((5, 7), np.uint8), np.full((SIDE, SIDE), 7, np.uint8)
SOFT = np.uint8(np.clip(np.mgrid[:SIDE, :SIDE][0] * 40.0 - 440, 0, 255))  # from black to white in seven rows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (folder_without("images/000.png"), r"bird/000_bird.png has no image; expected one of the same stem"),
        (folder_with("images/new.png", GREY), r"new.png has no mask in bird, cat, dog of .*masks; expected one"),
        (folder_with("masks/bird/000.png", GREY), r"000.png and .*000_bird.png are both masks of .*images/000.png"),
        (folder_with("masks/cat/000_cat.png", SMALL), r"cat.png is 7 x 5 and .*bird.png 24 x 24 .* all labels"),
        (folder_with("masks/cat/000_cat.png", GREY), r"hold 0, 7, 255; expected 0 and 1, or 0 and 255, in the mask of"),
        (folder_with("masks/cat/000_cat.png", GREY // 7), r"written in two ways"),
        (
            folder_with("masks/cat/000_cat.png", SOFT),
            r"1 of \d+ masks .* have soft edges, .* --foreground white",
        ),
    ],
)
def test_folders_of_labels_that_do_not_fit(change, message, pictures, tmp_path):
    folder = label_folder(tmp_path / "set", *pictures)
    change(folder)
    with pytest.raises(KsegError, match=message):
        read_masks_of_splits(*open_sources(str(folder)))


def test_splits_with_other_labels_are_refused(pictures, tmp_path):
    for split in ("train", "val"):
        label_folder(tmp_path / "set" / split, *pictures)
    (tmp_path / "set/val/masks/dog").rename(tmp_path / "set/val/masks/wolf")
    for mask in (tmp_path / "set/val/masks/wolf").iterdir():
        mask.rename(mask.with_name(mask.name.replace("dog", "wolf")))
    with pytest.raises(
        KsegError, match="has masks of bird, cat, dog and .*val.* of bird, cat, wolf; expected the same"
    ):
        open_sources(str(tmp_path / "set"))


@pytest.mark.parametrize(
    ("reading", "message"),
    [
        ({"class_names": ["a", "b"]}, r"class_names: a, b are 2 names, and the masks of .* have 3 channels: 1, 2, 3"),
        ({"classes": ["1", "horse"]}, r"classes: .* has no horse; its masks hold 1, 2, 3"),
        ({"classes": ["1", "1"]}, r"classes: 1, 1 name a label twice"),
        ({"rest": "ignore"}, r"rest: ignore is not allowed for labels"),
        ({"foreground": (7,)}, r"No training mask of .* has any foreground by --foreground \(7,\)"),
    ],
)
def test_settings_that_do_not_fit_labels(reading, message, pictures, tmp_path):
    with pytest.raises(KsegError, match=message):
        read(tiff_folder(tmp_path / "set", *pictures), **reading)


def test_another_task_than_several_labels_is_refused(pictures, tmp_path):
    folder = label_folder(tmp_path / "set", *pictures)
    with pytest.raises(KsegError, match="task: binary is not allowed for .*label: bird, cat, dog; .* --classes bird"):
        read(folder, "binary")
    with pytest.raises(KsegError, match="have a channel for each label, bird, cat, dog; expected one channel"):
        find_foreground(open_sources(str(folder))[0])


def test_files_of_one_channel_and_records_are_refused_as_labels(pictures, tmp_path):
    images, layers = pictures
    write_images(tmp_path / "one/images", images)
    write_images(tmp_path / "one/masks", layers[..., 0].astype(np.uint8))
    with pytest.raises(KsegError, match=r"masks/000.png has one channel; expected several.*--task multiclass"):
        open_sources(str(tmp_path / "one"), multilabel=True)
    with pytest.raises(KsegError, match="task: multilabel is not allowed for shapes"):
        open_sources("shapes", multilabel=True)
    training, validation = open_sources("shapes", take=4)
    with pytest.raises(KsegError, match="task: multilabel is not allowed for .*shapes.*have one channel; expected a"):
        read_masks_of_splits(training, validation, task="multilabel")


def test_another_number_of_channels_than_in_the_first_mask_is_refused(pictures, tmp_path):
    folder = npy_folder(tmp_path / "set", *pictures)
    np.save(folder / "masks/005.npy", pictures[1][5, ..., :2])
    np.save(folder / "masks/006.npy", pictures[1][6] * -1)
    training, validation = open_sources(str(folder), multilabel=True)
    for source in (training, validation):
        for index, (image, _) in enumerate(source.pairs):
            if image.stem == "005":
                with pytest.raises(KsegError, match=r"005.npy has 2 channels; expected 3, one for each label"):
                    source.read(index)
            if image.stem == "006":
                with pytest.raises(KsegError, match=r"006.npy has int64 values from -1 to 0; expected integers from 0"):
                    source.read(index)


def test_channels_are_not_taken_for_labels_unless_asked(pictures, tmp_path):
    folder = npy_folder(tmp_path / "set", *pictures)
    training, validation = open_sources(str(folder))
    with pytest.raises(KsegError, match="If each channel is a label that may overlap with others: --task multilabel"):
        read_masks_of_splits(training, validation)


def test_a_rule_of_one_label_is_binary_and_keeps_the_share_of_background():
    rule = Labels(("cat",), (1,), Foreground((255,), ignored=()), shares=(0.9, 0.1))
    assert rule.task.kind == "binary"
    assert rule.foreground_shares == (0.1,)
