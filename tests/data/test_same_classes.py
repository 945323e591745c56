"""One data set with several classes, written in seven formats, gives the same task and the same batches."""

from itertools import islice

import datasets
import numpy as np
import pytest
from PIL import Image

from kseg.data import open_sources, training_batches
from kseg.data.mask_reading import read_masks_of_splits
from kseg.reports.class_predictions import voc_palette
from tests.data.writers import write_coco, write_images, write_labelme, write_yolo

pytestmark = pytest.mark.backend_free

NAMES = ("cat", "dog", "bird")
COUNT, SIDE = 8, 24


@pytest.fixture
def pictures(rng):
    """Images, and masks with a square of each class."""
    masks = np.zeros((COUNT, SIDE, SIDE), np.uint8)
    for mask in masks:
        for value, (top, left) in zip(rng.permutation(3) + 1, ((0, 0), (0, 12), (12, 0)), strict=True):
            y, x = top + rng.integers(0, 4), left + rng.integers(0, 4)
            mask[y : y + 8, x : x + 8] = value
    return rng.integers(0, 256, (COUNT, SIDE, SIDE, 3)).astype(np.uint8), masks


def palette_folder(folder, images, masks):
    """Masks as in Pascal VOC: PNG with a palette of colours."""
    write_images(folder / "JPEGImages", images)
    (folder / "SegmentationClass").mkdir()
    for index, mask in enumerate(masks):
        picture = Image.fromarray(mask, mode=None).convert("P")
        picture.putdata(mask.ravel().tolist())
        picture.putpalette(voc_palette(256).ravel().tolist())
        picture.save(folder / f"SegmentationClass/{index:03}.png")
    return folder


def colour_folder(folder, images, masks):
    """Masks in the colours of the classes."""
    write_images(folder / "images", images)
    write_images(folder / "masks", voc_palette(4)[masks])
    return folder


def objects(masks):
    """The class and the area of each square, for each image."""
    return [[(value, mask == value) for value in np.unique(mask[mask > 0]).tolist()] for mask in masks]


def cityscapes_folder(folder, images, masks):
    for kind, ending, pictures in (("leftImg8bit", "leftImg8bit", images), ("gtFine", "gtFine_labelIds", masks)):
        place = folder / kind / "train/bonn"
        place.mkdir(parents=True)
        for index, picture in enumerate(pictures):
            Image.fromarray(picture).save(place / f"bonn_{index:03}_{ending}.png")
    return folder


def hugging_face(folder, images, masks):
    columns = {"image": [Image.fromarray(image) for image in images], "label": [Image.fromarray(m) for m in masks]}
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()})
    datasets.Dataset.from_dict(columns, features).save_to_disk(folder)
    return folder


def read(folder, opening, reading):
    """Return the task, and the bytes of two epochs of augmented batches."""
    training, validation = open_sources(str(folder), seed=3, **opening)
    rule = read_masks_of_splits(training, validation, **reading).rule
    settings = {"image_size": (16, 16), "batch_size": 2, "seed": 5, "augment": "heavy"}
    batches = training_batches(training, rule, **settings)
    taken = islice(batches, 2 * batches.steps)
    return rule.task, b"".join(array.tobytes() for batch in taken for array in batch)


def test_seven_formats_give_the_same_task_and_the_same_bytes(pictures, tmp_path):
    images, masks = pictures
    named = {"class_names": NAMES}
    colours = {"colours": ["#000000", "#800000", "#008000", "#808000"]}
    found = {
        "palette": read(palette_folder(tmp_path / "voc", *pictures), {}, named),
        "colours": read(colour_folder(tmp_path / "colours", *pictures), colours, named),
        "COCO": read(write_coco(tmp_path / "coco", images, objects(masks), NAMES), {}, {}),
        "Hugging Face": read(hugging_face(tmp_path / "hf", *pictures), {}, named),
        "LabelMe": read(write_labelme(tmp_path / "labelme", images, objects(masks), NAMES), {}, {"classes": NAMES}),
        "YOLO": read(write_yolo(tmp_path / "yolo", images, objects(masks), NAMES), {}, {}),
        "Cityscapes": read(cityscapes_folder(tmp_path / "city", *pictures), {}, named),
    }
    task, content = found["palette"]
    assert task.classes == ("background", *NAMES)
    assert {kind: (other, bytes_ == content) for kind, (other, bytes_) in found.items()} == dict.fromkeys(
        found, (task, True)
    )
