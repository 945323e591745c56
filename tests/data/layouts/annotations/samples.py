"""Small annotated data sets of every format."""

import base64
import io
import json

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from PIL import Image
from pycocotools import mask as coco

from kseg.data.files.pair import read_pair
from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError

HEIGHT, WIDTH = 12, 16
SQUARE = [2, 3, 8, 3, 8, 9, 2, 9]  # 36 pixels
TRIANGLE = [10, 1, 15, 1, 15, 11]
CATEGORIES = [{"id": 7, "name": "dog"}, {"id": 3, "name": "cat"}]


def square_mask(value=1):
    """Return the mask of `SQUARE`."""
    mask = np.zeros((HEIGHT, WIDTH), int)
    mask[3:9, 2:8] = value
    return mask


def write_files(folder, files):
    """Write files of these names: an image if the content is None, else text or JSON. Return the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            Image.new("RGB", (WIDTH, HEIGHT), (90, 120, 60)).save(path)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def read_masks(split):
    """Read the masks of a split as nested lists, together with their images."""
    return [read_pair(str(image), mask)[1][..., 0].astype(int).tolist() for image, mask in split.pairs]


def instance_entry(number, image, segmentation, category=3, **others):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, **others}


def coco_json(images, annotations, categories=CATEGORIES):
    entries = [{"id": n, "file_name": name, "height": HEIGHT, "width": WIDTH} for n, name in enumerate(images)]
    return {"images": entries, "annotations": annotations, "categories": categories}


def encode_runs(mask):
    """Return a mask as COCO's compressed runs."""
    runs = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": [int(side) for side in runs["size"]], "counts": runs["counts"].decode()}


def write_panoptic(tmp_path, ids, segments, categories=CATEGORIES):
    """Write one image with its segment ids as a panoptic data set."""
    content = coco_json(["a.png"], [{"image_id": 0, "file_name": "a.png", "segments_info": segments}], categories)
    write_files(tmp_path, {"train2017/a.png": None, "annotations/panoptic_train2017.json": content})
    colours = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)
    (tmp_path / "annotations/panoptic_train2017").mkdir(exist_ok=True)
    Image.fromarray(colours).save(tmp_path / "annotations/panoptic_train2017/a.png")
    return tmp_path


def labelme_json(*shapes, **others):
    return {"shapes": [{"label": label, **shape} for label, shape in shapes], "imagePath": "x.png", **others}


def polygon_shape(numbers):
    return {"points": np.reshape(numbers, (-1, 2)).tolist(), "shape_type": "polygon"}


def encode_png(mask):
    """Return a mask as a PNG in Base64."""
    file = io.BytesIO()
    Image.fromarray(mask).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def fractions(numbers):
    """Return YOLO's text for points in pixels."""
    return " ".join(f"{n / side:.6f}" for n, side in zip(numbers, [WIDTH, HEIGHT] * len(numbers), strict=False))


ONE = [instance_entry(1, 0, [SQUARE])]

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
    "LabelMe": {
        "a.json": labelme_json(("cat", polygon_shape(SQUARE)), ("dog", polygon_shape(TRIANGLE))),
        "a.png": None,
    },
    "LabelMe, split": {
        "train/a.json": labelme_json(("cat", polygon_shape(SQUARE))),
        "val/b.json": labelme_json(("dog", polygon_shape(SQUARE))),
        **{"train/a.png": None, "val/b.png": None},
    },
    "LabelMe, in images": {"images/a.json": labelme_json(("cat", polygon_shape(SQUARE))), "images/a.png": None},
    "LabelMe, apart": {"labels/s/a.json": labelme_json(("cat", polygon_shape(SQUARE))), "images/s/a.png": None},
    "YOLO": {
        "data.yaml": "names: [cat, dog]\ntrain: images/train\nval: images/val\npath: ../elsewhere\n",
        "labels/train/a.txt": f"0 {fractions(SQUARE)}\n",
        **{"images/train/a.png": None, "images/val/a.png": None},
    },
    "YOLO of Roboflow": {
        "data.yaml": "names: {0: cat, 1: dog}\ntrain: ../train/images\nval: ../valid/images\n",
        "train/labels/a.txt": f"0 {fractions(SQUARE)}\n",
        **{"train/images/a.png": None, "valid/images/a.png": None},
    },
}
"""Files of folders with one image of a square cat, by format."""

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
"""The rule of each layout."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from([10**400, 2**63]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
PATHS = st.lists(st.integers(0, 8), min_size=1, max_size=5)
SOUND = coco_json(["a.png"], [instance_entry(1, 0, [SQUARE]), instance_entry(2, 0, encode_runs(square_mask() > 0), 7)])
SOUND_PANOPTIC = coco_json(
    ["a.png"], [{"image_id": 0, "file_name": "a.png", "segments_info": [{"id": 1, "category_id": 7}]}]
)
SOUND_SHAPES = labelme_json(
    ("cat", polygon_shape(SQUARE)),
    ("dog", {"points": [[4, 5], [6, 6]], "shape_type": "mask", "mask": encode_png(np.ones((2, 3), bool))}),
    imageHeight=HEIGHT,
    imageWidth=WIDTH,
)


def mutate(content, path, value):
    """Return a copy with another value at a path; each step is an index, modulo the number of keys."""
    content = json.loads(json.dumps(content))
    place = content
    for step in path:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        if not keys:
            break
        key = keys[step % len(keys)]
        if step == path[-1] or not isinstance(place[key], dict | list):
            place[key] = value
            break
        place = place[key]
    return content


def check_read_or_refused(folder, name):
    """Check that a data set is read, or refused with the name of its file."""
    message = f"{folder} {name}"
    try:
        for mask in read_masks(find_layout(folder).training):
            assert np.shape(mask) == (HEIGHT, WIDTH)
    except KsegError as error:
        message = str(error)
    assert str(folder) in message
    assert name in message or "There is no folder" in message


FUZZED = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
