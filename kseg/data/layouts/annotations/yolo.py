"""YOLO's text files, as Ultralytics has them: `data.yaml` for the data set, and one `.txt` for each image.

The rules, from https://docs.ultralytics.com/datasets/segment/:

- `data.yaml`, or another YAML file in the folder, has the `names` of the classes and the folders of images to train and
  to validate on, `train` and `val`.
- The text of `images/train/a.jpg` is `labels/train/a.txt`, the last `images` in the path replaced; with no such part it
  lies beside the image. An image whose text is empty, or missing, has no objects.
- A line is an object: its class, from 0 on, and x and y of three points or more, as shares of width and height of the
  upright image. Class indices in masks are one higher. Where objects overlap, the smaller one is on top, as in
  Ultralytics' own masks. A line of a class and four numbers is a box, not an outline: it is refused.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from kseg.data.files.opening import EXTENSIONS
from kseg.data.layouts.annotations.drawing import Frame, Patch, draw_polygons, frame_of, smaller_on_top
from kseg.data.layouts.annotations.reading import class_indices, listed
from kseg.data.layouts.pairing import Layout, Part, by_stem, files_in, read_text, refuse_repeats, stem
from kseg.errors import KsegError

_MOST_BYTES = 2**20  # of a YAML file; those of the largest data sets have 50 KB
_ROUNDING = 0.01  # outside of the image
_NOT_OBJECTS = frozenset({"classes.txt"})


def find_yolo(folder: Path) -> dict[Path, Callable[[Path], Layout]]:
    """The YAML files of a folder that say where to train and have text with outlines there, and what reads each."""
    found = {path: _settings(path) for path in sorted(folder.glob("*.y*ml")) if path.stat().st_size <= _MOST_BYTES}
    return {path: _reader(path, held) for path, held in found.items() if held and _has_text(folder, held)}


def _settings(path: Path) -> dict | None:
    """What a YAML file holds, if it describes a data set."""
    try:
        held = yaml.safe_load(read_text(path))
    except (KsegError, yaml.YAMLError, ValueError, RecursionError, TypeError):
        return None
    return held if isinstance(held, dict) and {"names", "train"} <= held.keys() else None


def _has_text(folder: Path, held: dict) -> bool:
    """Whether there is text for the training images; if there are masks, the file says nothing of this data set."""
    places = (_labels_of(images, folder) for images in _folders(folder, held, "train"))
    return any(files_in(place, {".txt"}) for place in places)


def _reader(path: Path, held: dict) -> Callable[[Path], Layout]:
    def read(folder: Path) -> Layout:
        if "kpt_shape" in held:
            raise KsegError(f"{path} describes key points (kpt_shape); expected outlines. Key points make no mask.")
        names = _names(path, held["names"])
        classes = dict(zip(class_indices(range(len(names)), path).values(), names, strict=True))
        training = _part(folder, path, held, "train", tuple(classes))
        validation = _part(folder, path, held, "val", tuple(classes)) if held.get("val") else None
        refuse_repeats(training, validation)
        return Layout(f"YOLO, {path.name}: {listed(classes)}", training, validation, classes)

    return read


def _names(path: Path, names: Any) -> list[str]:
    """The names of the classes 0, 1, …, from a list or a mapping of them."""
    if isinstance(names, dict) and set(names) == set(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
        raise KsegError(f"{path}: names are {names!r:.200}; expected a list, or 0, 1, … and the name of each.")
    return [str(name) for name in names]


def _part(folder: Path, path: Path, held: dict, key: str, values: tuple[int, ...]) -> Part:
    places = _folders(folder, held, key)
    if not places:
        raise KsegError(
            f"{path}: {key} is {held[key]!r:.200}; expected a folder of images in {folder}, such as images/{key}, or a "
            "list of such folders."
        )
    return Part(f"{path} ({key})", [pair for place in places for pair in _pairs(folder, place, values)])


def _folders(folder: Path, held: dict, key: str) -> list[Path]:
    """The folders of images that a key names, all of them in the data set's; none if one is not there."""
    names = held[key] if isinstance(held[key], list) else [held[key]]
    found = [_folder(folder, str(held.get("path") or "."), str(name)) for name in names]
    return found if all(found) else []


def _folder(folder: Path, root: str, name: str) -> Path | None:
    """A folder of images. Its path begins at `path`, or at the YAML file, or, in Roboflow's, beside the latter."""
    for place in (folder / root / name, folder / name, folder / name.removeprefix("../")):
        try:
            if place.is_dir() and place.resolve().is_relative_to(folder.resolve()):
                return folder / place.resolve().relative_to(folder.resolve())
        except (OSError, ValueError, RuntimeError):
            continue
    return None


def _labels_of(images: Path, folder: Path) -> Path:
    """The folder of the text for a folder of images."""
    parts = list(images.relative_to(folder).parts)
    if "images" in parts:
        parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return folder.joinpath(*parts)


def _pairs(folder: Path, images: Path, values: tuple[int, ...]) -> list[tuple[Path, "YoloMask"]]:
    image_of = by_stem(files_in(images), images)
    labels = _labels_of(images, folder)
    if not image_of:
        raise KsegError(f"{images} has no image files; expected any of {', '.join(sorted(EXTENSIONS))}.")
    texts = [path for path in files_in(labels, {".txt"}) if path.name not in _NOT_OBJECTS]
    alone = [path for path in texts if stem(path, labels) not in image_of]
    if alone:
        raise KsegError(
            f"{len(alone)} files have no image: {alone[0]}. Expected one of the same stem in {images}. Add it, or take "
            "the text out."
        )
    return [(path, YoloMask(labels / f"{name}.txt", path, values)) for name, path in sorted(image_of.items())]


@dataclass(frozen=True)
class YoloMask:
    """The objects of an image; see `kseg.data.files.opening.DrawnMask`."""

    path: Path
    image: Path
    values: tuple[int, ...]
    """What the pixels of each class become."""

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """See `kseg.data.files.opening.DrawnMask`."""
        frame = frame_of(self.image)
        return frame.upright(smaller_on_top(self._drawn(frame), frame))

    def _drawn(self, frame: Frame) -> Iterator[tuple[int, Patch]]:
        lines = read_text(self.path).splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    place, points = _object(line.split(), len(self.values))
                    yield self.values[place], draw_polygons([(points * [frame.width, frame.height]).ravel()], frame)
                except KsegError as error:
                    raise KsegError(f"{self.path}, line {number}: {error}") from error


def _object(words: list[str], count: int) -> tuple[int, np.ndarray]:
    """The class of an object, and its points as shares, float64 `(N, 2)`."""
    try:
        place, *numbers = map(float, words)
    except ValueError as error:
        raise KsegError(f"{error}; expected a class and the points of an outline, in numbers.") from error
    if place not in range(count):
        raise KsegError(f"the class is {words[0]:.80}; expected 0 to {count - 1}, as there are names in the YAML file.")
    if len(numbers) == 4:
        raise KsegError("this is a box, four numbers; expected the outline of an object. Boxes make no mask.")
    if len(numbers) < 6 or len(numbers) % 2:
        raise KsegError(f"{len(numbers)} numbers follow the class; expected x and y of three points or more.")
    points = np.array(numbers).reshape(-1, 2)
    if not ((points >= -_ROUNDING) & (points <= 1 + _ROUNDING)).all():
        raise KsegError("a point lies outside of the image; expected shares of its width and height, 0 to 1.")
    return int(place), points
