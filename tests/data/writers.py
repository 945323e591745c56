"""Writes one data set in the formats of annotation tools."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as coco


def write_images(folder, images):
    """A picture for each array: 000.png, 001.png, …"""
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:03}.png")


def write_coco(folder, images, objects, names):
    """`objects` has, for each image, the class from 1 on and the area, bool `(H, W)`, of each object."""
    write_images(folder / "images", images)
    annotations = []
    for index, value, area in ((index, *one) for index, of_image in enumerate(objects) for one in of_image):
        runs = coco.encode(np.asfortranarray(area.astype(np.uint8)))
        segmentation = {"size": list(area.shape), "counts": runs["counts"].decode()}
        annotation = {"id": len(annotations) + 1, "image_id": index, "category_id": value}
        annotations.append(annotation | {"segmentation": segmentation, "iscrowd": 0})
    height, width = images.shape[1:3]
    entries = [{"id": n, "file_name": f"{n:03}.png", "height": height, "width": width} for n in range(len(images))]
    categories = [{"id": value, "name": name} for value, name in enumerate(names, start=1)]
    content = {"images": entries, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(content))
    return folder


def write_labelme(folder, images, objects, names):
    """As `write_coco`; every area is a rectangle."""
    write_images(folder, images)
    height, width = images.shape[1:3]
    for index, of_image in enumerate(objects):
        shapes = []
        for value, area in of_image:
            left, top, right, bottom = _box(area)
            shapes.append(
                {"label": names[value - 1], "shape_type": "rectangle", "points": [[left, top], [right, bottom]]}
            )
        content = {"shapes": shapes, "imagePath": f"{index:03}.png", "imageHeight": height, "imageWidth": width}
        (folder / f"{index:03}.json").write_text(json.dumps(content))
    return folder


def write_yolo(folder, images, objects, names):
    """As `write_coco`; every area is a rectangle."""
    write_images(folder / "images", images)
    (folder / "labels").mkdir()
    (folder / "data.yaml").write_text(f"names: {list(names)}\ntrain: images\n")
    height, width = images.shape[1:3]
    for index, of_image in enumerate(objects):
        lines = []
        for value, area in of_image:
            left, top, right, bottom = _box(area)
            corners = np.array([left, top, right, top, right, bottom, left, bottom]) / ([width, height] * 4)
            lines.append(" ".join(map(str, [value - 1, *corners])) + "\n")
        (folder / f"labels/{index:03}.txt").write_text("".join(lines))
    return folder


def _box(area):
    rows, columns = np.flatnonzero(area.any(1)).tolist(), np.flatnonzero(area.any(0)).tolist()
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
