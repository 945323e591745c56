"""One data set with several classes, written in seven formats, gives the same task and the same batches."""

import json

import datasets
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco

from kseg.data import open_sources, training_batches
from kseg.data.mask_reading import read_masks_of_splits
from kseg.reports.class_predictions import voc_palette

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


def write_images(folder, images):
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:03}.png")


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


def coco_folder(folder, images, masks):
    """One object a class and image, as compressed runs."""
    write_images(folder / "images", images)
    annotations = []
    for index, mask in enumerate(masks):
        for value in np.unique(mask[mask > 0]).tolist():
            runs = coco.encode(np.asfortranarray((mask == value).astype(np.uint8)))
            segmentation = {"size": [SIDE, SIDE], "counts": runs["counts"].decode()}
            annotations.append({"id": len(annotations) + 1, "image_id": index, "category_id": value})
            annotations[-1] |= {"segmentation": segmentation, "iscrowd": 0}
    entries = [{"id": n, "file_name": f"{n:03}.png", "height": SIDE, "width": SIDE} for n in range(COUNT)]
    categories = [{"id": value, "name": name} for value, name in enumerate(NAMES, start=1)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def squares(mask):
    """Yield value, left, top, right, bottom of each square."""
    for value in np.unique(mask[mask > 0]).tolist():
        rows, columns = np.nonzero(mask == value)
        yield value, columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def labelme_folder(folder, images, masks):
    write_images(folder, images)
    for index, mask in enumerate(masks):
        shapes = [
            {"label": NAMES[value - 1], "shape_type": "rectangle", "points": [[int(x1), int(y1)], [int(x2), int(y2)]]}
            for value, x1, y1, x2, y2 in squares(mask)
        ]
        content = {"shapes": shapes, "imagePath": f"{index:03}.png", "imageHeight": SIDE, "imageWidth": SIDE}
        (folder / f"{index:03}.json").write_text(json.dumps(content))
    return folder


def yolo_folder(folder, images, masks):
    write_images(folder / "images", images)
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text(f"names: {list(NAMES)}\ntrain: images\n")
    for index, mask in enumerate(masks):
        corners = [
            (value, np.array([x1, y1, x2, y1, x2, y2, x1, y2]) / SIDE) for value, x1, y1, x2, y2 in squares(mask)
        ]
        lines = [" ".join(map(str, [value - 1, *points])) + "\n" for value, points in corners]
        (folder / f"labels/{index:03}.txt").write_text("".join(lines))
    return folder


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
    taken = batches.dataset.take(2 * batches.steps).as_numpy_iterator()
    return rule.task, b"".join(array.tobytes() for batch in taken for array in batch)


def test_seven_formats_give_the_same_task_and_the_same_bytes(pictures, tmp_path):
    named = {"class_names": NAMES}
    colours = {"colours": ["#000000", "#800000", "#008000", "#808000"]}
    found = {
        "palette": read(palette_folder(tmp_path / "voc", *pictures), {}, named),
        "colours": read(colour_folder(tmp_path / "colours", *pictures), colours, named),
        "COCO": read(coco_folder(tmp_path / "coco", *pictures), {}, {}),
        "Hugging Face": read(hugging_face(tmp_path / "hf", *pictures), {}, named),
        "LabelMe": read(labelme_folder(tmp_path / "labelme", *pictures), {}, {"classes": NAMES}),
        "YOLO": read(yolo_folder(tmp_path / "yolo", *pictures), {}, {}),
        "Cityscapes": read(cityscapes_folder(tmp_path / "city", *pictures), {}, named),
    }
    task, content = found["palette"]
    assert task.classes == ("background", *NAMES)
    assert {kind: (other, bytes_ == content) for kind, (other, bytes_) in found.items()} == dict.fromkeys(
        found, (task, True)
    )
