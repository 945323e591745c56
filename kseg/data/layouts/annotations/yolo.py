"""YOLO's text files in Ultralytics' format: `data.yaml` for the data set, and one `.txt` for each image.

The rules, from https://docs.ultralytics.com/datasets/segment/:

- `data.yaml`, or another YAML file in the folder, has the `names` of the classes, and the image folders of the splits,
  `train` and `val`.
- A split is a folder of images, a list of folders, or a text file that lists the images, as CVAT exports it.
- The text of `images/train/a.jpg` is `labels/train/a.txt`: the last `images` of the path is replaced. Without such a
  part the text is beside the image. An image whose text is empty or missing has no objects.
- A line is an object: its class, from 0 on, and x and y of three points or more, as fractions of width and height of
  the upright image. Class indices in masks are one higher. Where objects overlap, the smaller one is on top, as in
  Ultralytics' own masks. A line of a class and four numbers is a box, not an outline: it is refused.
"""

import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kseg.data.files.formats import EXTENSIONS
from kseg.data.layouts.annotations.classes import class_indices, describe_classes
from kseg.data.layouts.annotations.drawing import (
    Canvas,
    Patch,
    draw_layers,
    draw_polygons,
    draw_smaller_on_top,
    find_canvas,
)
from kseg.data.layouts.pairing import Layout, SplitPairs, files_by_stem, refuse_repeats, stem
from kseg.data.layouts.paths import files_in, image_in_folder
from kseg.data.layouts.text_files import as_number, read_text
from kseg.errors import KsegError
from kseg.storage.strict_yaml import load_yaml

_MAX_BYTES = 2**20  # of a YAML file; those of the largest data sets have 50 KB
_TOLERANCE = 0.01  # how far outside the image a rounded fraction may be
_NO_OBJECTS = frozenset({"classes.txt"})

Settings = dict[Any, Any]
"""The content of `data.yaml`."""


def find_yolo(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """Return the YAML files of a folder that name training images with text files, and a function to read each."""
    files = {path: _read_settings(path) for path in sorted(folder.glob("*.y*ml")) if path.stat().st_size <= _MAX_BYTES}
    return {
        path: _reader(path, settings) for path, settings in files.items() if settings and _has_text(folder, settings)
    }


def describes_data_set(path: Path) -> bool:
    """Return whether a YAML file is one of YOLO's."""
    return path.stat().st_size <= _MAX_BYTES and _read_settings(path) is not None


def _read_settings(path: Path) -> Settings | None:
    """Return the content of a YAML file if it describes a data set."""
    try:
        settings = load_yaml(read_text(path), aliases=True)
    except (KsegError, ValueError, TypeError):
        return None
    return settings if isinstance(settings, dict) and {"names", "train"} <= settings.keys() else None


def _has_text(folder: Path, settings: Settings) -> bool:
    """Whether the training images have text files; if not, the folder may have masks, and the YAML file is not used."""
    images = _images(folder, settings, "train") or {}
    return any(_text_of(path, folder).is_file() for path in images.values())


def yolo_lists(folder: Path) -> set[Path]:
    """Return the text files that a YAML file names as the list of a split; they are no lists of images and masks."""
    return {
        path
        for yaml_file in sorted(folder.glob("*.y*ml"))
        if yaml_file.stat().st_size <= _MAX_BYTES and (settings := _read_settings(yaml_file))
        for key in ("train", "val", "test")
        for name in _names(settings, key)
        if (path := _find(folder, settings, name)) and path.suffix == ".txt"
    }


def _reader(path: Path, settings: Settings) -> Callable[[Path], Layout]:
    def read(folder: Path) -> Layout:
        if "kpt_shape" in settings:
            raise KsegError(f"{path} describes key points (kpt_shape); expected outlines. Key points give no mask.")
        names = _class_names(path, settings["names"])
        classes = dict(zip(class_indices(range(len(names)), path).values(), names, strict=True))
        training = _read_split(folder, path, settings, "train", tuple(classes))
        validation = _read_split(folder, path, settings, "val", tuple(classes)) if settings.get("val") else None
        refuse_repeats(training, validation)
        return Layout(f"YOLO, {path.name}: {describe_classes(classes)}", training, validation, classes)

    return read


def _class_names(path: Path, names: Any) -> list[str]:
    """Return the names of the classes 0, 1, …, from a list or a mapping."""
    if isinstance(names, dict) and set(map(as_number, names)) == set(range(len(names))):
        names = [name for _, name in sorted((as_number(number), name) for number, name in names.items())]
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise KsegError(
            f"{path}: names are {reprlib.repr(names)}; expected a list of names, or 0, 1, … with the name of each."
        )
    return [str(name) for name in names]


def _read_split(
    folder: Path, path: Path, settings: Settings, key: str, values: tuple[int, ...]
) -> SplitPairs["YoloMask"]:
    image_of = _images(folder, settings, key)
    if image_of is None:
        raise KsegError(
            f"{path}: {key} is {reprlib.repr(settings[key])}; expected a folder of images in {folder}, such as "
            f"images/{key}, a list of such folders, or a text file that lists the images."
        )
    if not image_of:
        raise KsegError(
            f"{path}: {key} has no image files in {reprlib.repr(settings[key])}; expected any of "
            f"{', '.join(sorted(EXTENSIONS))}."
        )
    _refuse_texts_alone(folder, settings, key, image_of)
    pairs = [(image, YoloMask(_text_of(image, folder), image, values)) for image in image_of.values()]
    return SplitPairs(f"{path} ({key})", pairs)


def _names(settings: Settings, key: str) -> list[str]:
    """Return what a split names."""
    names = settings.get(key) or []
    return [name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str)]


def _images(folder: Path, settings: Settings, key: str) -> dict[str, Path] | None:
    """Return the images of a split by their path without extension; None if something that it names is missing."""
    places = [_find(folder, settings, name) for name in _names(settings, key)]
    files = [file for place in places if place for file in _listed(folder, settings, place)]
    return files_by_stem(files, folder) if places and None not in places else None


def _listed(folder: Path, settings: Settings, place: Path) -> list[Path]:
    """Return the images in a folder, or those that a text file lists."""
    if place.is_dir():
        return sorted(files_in(place), key=lambda path: stem(path, place))
    lines = enumerate(read_text(place).splitlines(), start=1)
    return [_listed_image(folder, settings, line.strip(), f"{place}, line {n}") for n, line in lines if line.strip()]


def _listed_image(folder: Path, settings: Settings, line: str, where: str) -> Path:
    """Return the image that a line names; CVAT writes `data/` before its path."""
    for name in (line, line.removeprefix("data/")):
        if path := _find(folder, settings, name):
            return image_in_folder(folder, str(path.relative_to(folder)), where)
    return image_in_folder(folder, line, where)


def _find(folder: Path, settings: Settings, name: str) -> Path | None:
    """Return a path that begins at `path`, at the YAML file or, from Roboflow, beside the YAML file; None: no such."""
    root = settings["path"] if isinstance(settings.get("path"), str) else "."
    for place in (folder / root / name, folder / name, folder / name.removeprefix("../")):
        try:
            if place.exists() and place.resolve().is_relative_to(folder.resolve()):
                return folder / place.resolve().relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _text_of(image: Path, folder: Path) -> Path:
    """Return the text file of an image."""
    *parents, name = image.relative_to(folder).with_suffix(".txt").parts
    if "images" in parents:
        parents[len(parents) - 1 - parents[::-1].index("images")] = "labels"
    return folder.joinpath(*parents, name)


def _refuse_texts_alone(folder: Path, settings: Settings, key: str, image_of: dict[str, Path]) -> None:
    """Refuse text files without an image, beside those of the split."""
    lists = yolo_lists(folder)
    expected = {_text_of(image, folder) for image in image_of.values()}
    folders = [place for name in _names(settings, key) if (place := _find(folder, settings, name)) and place.is_dir()]
    for images in folders:
        texts = files_in(_text_of(images / "any.txt", folder).parent, {".txt"})
        alone = [path for path in texts if path not in expected | lists and path.name not in _NO_OBJECTS]
        if alone:
            raise KsegError(
                f"{len(alone)} files have no image: {alone[0]}. Expected one of the same stem in {images}. Add it, or "
                "remove the text file."
            )


@dataclass(frozen=True)
class YoloMask:
    """The objects of an image; a `kseg.data.files.masks.MaskAnnotation`."""

    path: Path
    image: Path
    values: tuple[int, ...]
    """The class index in the mask of each class in the file."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """Return class indices, uint16 `(H, W, 1)`; see `MaskAnnotation.draw`."""
        canvas = find_canvas(self.image)
        return canvas.turn_upright(draw_smaller_on_top(self._draw_lines(canvas), canvas))

    def draw_layers(self, number: int) -> np.ndarray:
        """See `Layered.draw_layers`."""
        canvas = find_canvas(self.image)
        return canvas.turn_upright(draw_layers(self._draw_lines(canvas), canvas, number))

    def _draw_lines(self, canvas: Canvas) -> Iterator[tuple[int, Patch]]:
        lines = read_text(self.path).splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    place, points = _parse_object(line.split(), len(self.values))
                    outline = (points * [canvas.width, canvas.height]).ravel()
                    yield self.values[place], draw_polygons([outline], canvas)
                except KsegError as error:
                    raise KsegError(f"{self.path}, line {number}: {error}") from error


def _parse_object(words: list[str], num_classes: int) -> tuple[int, np.ndarray]:
    """Return the class of an object, and its points as fractions of width and height, float64 `(N, 2)`."""
    try:
        place, *numbers = map(float, words)
    except ValueError as error:
        raise KsegError(f"{error}; expected a class and the points of an outline, in numbers.") from error
    if place not in range(num_classes):
        raise KsegError(
            f"the class is {words[0]:.80}; expected 0 to {num_classes - 1}, one for each name in the YAML file."
        )
    if len(numbers) == 4:
        raise KsegError("this is a box, four numbers; expected the outline of an object. Boxes give no mask.")
    if len(numbers) < 6 or len(numbers) % 2:
        raise KsegError(f"{len(numbers)} numbers follow the class; expected x and y of three points or more.")
    points = np.array(numbers).reshape(-1, 2)
    if not ((points >= -_TOLERANCE) & (points <= 1 + _TOLERANCE)).all():
        raise KsegError("a point lies outside the image; expected fractions of its width and height, 0 to 1.")
    return int(place), points
