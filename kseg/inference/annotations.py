"""Predicted masks as annotations that labelling tools open: COCO, LabelMe, YOLO."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import yaml
from PIL import Image

from kseg.storage.atomic import write_atomically

AnnotationFormat = Literal["coco", "labelme", "yolo"]

Masks = Iterable[tuple[str, Path, Sequence[Path]]]
"""Name, image and mask file of each image; a mask holds 0 and 255, or class indices, or there is a file a label."""


def write_annotations(folder: Path, how: AnnotationFormat, names: Sequence[str], masks: Masks) -> None:
    """Write the connected areas of masks as objects.

    COCO's run lengths hold a mask exactly. LabelMe and YOLO have outlines alone, which pycocotools draws as the same
    area to the pixel, but holes are filled.

    Args:
        folder: where to: `coco.json`; or a file an image, and for YOLO `data.yaml`.
        how: the format.
        names: of the classes, 1 to K.
        masks: the masks; labels may overlap.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if how == "coco":
        _write_text(folder / "coco.json", json.dumps(_coco(names, masks)))
        return
    if how == "yolo":
        described = {"names": dict(enumerate(names)), "train": "images/train", "val": "images/train"}
        _write_text(folder / "data.yaml", yaml.safe_dump(described, sort_keys=False))
    for name, image, files in masks:
        objects = list(_objects(_read(files, names)))
        if how == "labelme":
            _write_text(folder / f"{name}.json", json.dumps(_labelme(names, image, objects)))
        else:
            lines = [_yolo_line(index, area) for index, area in objects]
            _write_text(folder / f"{name}.txt", "".join(lines))


def outline(area: np.ndarray) -> np.ndarray:
    """Return the outline of a connected area along the edges of its pixels, x and y, float64 `(N, 2)`.

    Drawn by pycocotools it gives the same area; holes are filled.

    Args:
        area: bool `(H, W)`.
    """
    # At twice the size each outline runs through the middle of a quarter of a pixel, so it never falls between two.
    larger = area.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    (contour,), _ = cv2.findContours(larger, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return (contour[:, 0].astype(np.float64) + 0.5) / 2


def _read(files: Sequence[Path], names: Sequence[str]) -> dict[int, np.ndarray]:
    """Return where the masks of an image have each class, bool `(H, W)`, by its index, 1 to K."""
    masks = []
    for file in files:
        with Image.open(file) as picture:
            masks.append(np.asarray(picture))
    if len(masks) == len(names):
        return {index: mask > 0 for index, mask in enumerate(masks, start=1)}
    return {index: masks[0] == index for index in range(1, len(names) + 1)}


def _objects(classes: dict[int, np.ndarray]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the class, 1 to K, and the area, bool `(H, W)`, of each connected area."""
    for index, mask in classes.items():
        number, labels = cv2.connectedComponents(mask.view(np.uint8), connectivity=8)
        for label in range(1, number):
            yield index, labels == label


def _coco(names: Sequence[str], masks: Masks) -> dict[str, Any]:
    from pycocotools import mask as coco

    images: list[dict[str, Any]] = []
    objects: list[dict[str, Any]] = []
    for number, (name, image, files) in enumerate(masks, start=1):
        classes = _read(files, names)
        height, width = classes[1].shape
        images.append({"id": number, "file_name": f"{name}{image.suffix}", "height": height, "width": width})
        for index, area in _objects(classes):
            runs = coco.encode(np.asfortranarray(area.view(np.uint8)))
            objects.append(
                {
                    "id": len(objects) + 1,
                    "image_id": number,
                    "category_id": index,
                    "segmentation": {"size": [height, width], "counts": runs["counts"].decode()},
                    "area": int(area.sum()),
                    "bbox": coco.toBbox(runs).tolist(),
                    "iscrowd": 0,
                }
            )
    categories = [{"id": index, "name": name} for index, name in enumerate(names, start=1)]
    return {"images": images, "annotations": objects, "categories": categories}


def _labelme(names: Sequence[str], image: Path, objects: Sequence[tuple[int, np.ndarray]]) -> dict[str, Any]:
    shapes = [
        {
            "label": names[index - 1],
            "points": outline(area).tolist(),
            "shape_type": "polygon",
            "flags": {},
            "group_id": None,
        }
        for index, area in objects
    ]
    with Image.open(image) as picture:
        width, height = picture.size
    return {
        "version": "5.0.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": image.name,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def _yolo_line(index: int, area: np.ndarray) -> str:
    height, width = area.shape
    points = outline(area) / (width, height)
    return " ".join([str(index - 1), *(f"{value:.8f}" for value in points.ravel())]) + "\n"


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
