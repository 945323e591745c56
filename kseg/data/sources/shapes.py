"""The built-in data set: blurred, noisy, overlapping shapes on a textured background, drawn on this machine.

Foreground: filled ellipses, rectangles and blobs of a few pixels and more, in colours unlike the background's. In the
configuration `classes` these kinds are the classes, and stars take the place of blobs.
Background: texture, light spots, and thin rings and bars in colours like those of the shapes.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

from kseg.data.sources.base import summarise
from kseg.data.sources.folder import FolderSource
from kseg.data.threads import map_in_threads
from kseg.progress import progress
from kseg.storage.atomic import explain_write_errors

SIZE = 128
"""Height and width of an image, in pixels."""

_EXAMPLES = {"train": 500, "validation": 100}
_VERSION = 1  # of the drawing; another one is another data set


class Difficulty(NamedTuple):
    """How hard the images of a configuration are."""

    empty: float
    """Share of images without a shape."""
    shapes: tuple[int, int]
    """Fewest and most shapes of an image that has any."""
    radius: tuple[float, float]
    """Smallest and largest radius in pixels; uniform on a log scale."""
    contrast: tuple[float, float]
    """Smallest and largest distance of their colour from the background's, of 255."""
    classes: bool = False
    """Whether the mask says which kind a shape is."""


CLASSES = ("background", "ellipse", "rectangle", "star")
"""The classes of the configuration `classes`, in the order of their indices."""


_DIFFICULTIES = {
    "standard": Difficulty(empty=0.2, shapes=(1, 9), radius=(2, 40), contrast=(20, 90)),
    "rare": Difficulty(empty=0.5, shapes=(1, 4), radius=(3, 16), contrast=(100, 160)),
    "classes": Difficulty(empty=0.1, shapes=(2, 6), radius=(10, 32), contrast=(40, 110), classes=True),
}


BUILT_IN = {"shapes": "standard"} | {f"shapes/{config}": config for config in _DIFFICULTIES}
"""The configuration of each name."""


@dataclass(frozen=True)
class ShapesSource(FolderSource):
    """The files of a split, drawn on this machine."""

    def summary(self) -> str:
        """See `kseg.data.Source`; the digest is of the names alone, because kseg decides what they hold."""
        return summarise(len(self), (self.name, _VERSION, *(path.name for path in self.images)))

    def data_files(self) -> list[Path]:
        """Return nothing: no file is the user's."""
        return []


def open_shapes(name: str, *, data_dir: str | Path | None, take: int | None) -> tuple[ShapesSource, ShapesSource]:
    """Return the training and the validation source of a built-in data set; the first time it is drawn.

    `shapes` (or `shapes/standard`) has about 9% foreground and 20% empty masks; `shapes/rare` about 1% foreground and
    50% empty masks; `shapes/classes` has three kinds of shapes as classes, on about 11% of the pixels. Configuration,
    split and index decide an image.

    Args:
        name: one of `BUILT_IN`.
        data_dir: where its files are kept, 20 MB; None: `~/.cache/kseg`.
        take: as in `kseg.data.open_sources`.

    Raises:
        KsegError: they cannot be written.
    """
    config = BUILT_IN[name]
    folder = Path(data_dir or "~/.cache/kseg").expanduser() / f"shapes-{config}-{_VERSION}"
    if not folder.is_dir():
        with explain_write_errors(folder):
            _draw_files(config, folder)
    classes = dict(enumerate(CLASSES[1:], start=1)) if _DIFFICULTIES[config].classes else {}

    def source(split: str) -> ShapesSource:
        pairs = [_paths(folder, split, number) for number in _order(split)[:take]]
        return ShapesSource(f"shapes/{config} {split}", pairs, "drawn by kseg", classes=classes)

    return source("train"), source("validation")


def _order(split: str) -> list[int]:
    """Return the numbers of a split in the order in which TFDS kept these data sets, so that the first are the same."""

    def digest(number: int) -> bytes:
        return hashlib.md5(f"{split}{number}".encode(), usedforsecurity=False).digest()

    return sorted(range(_EXAMPLES[split]), key=digest)


def _paths(folder: Path, split: str, number: int) -> tuple[Path, Path]:
    return folder / split / "images" / f"{number:03}.png", folder / split / "masks" / f"{number:03}.png"


def _draw_files(config: str, folder: Path) -> None:
    """Draw both splits into a folder, which is there once all of it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.part-", dir=folder.parent) as part:
        drawn = Path(part) / "drawn"

        def write(split: str, number: int) -> None:
            image, mask = draw(config, split, number)
            for path, pixels in zip(_paths(drawn, split, number), (image, mask[..., 0]), strict=True):
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)

        addresses = [(split, number) for split, count in _EXAMPLES.items() for number in range(count)]
        for _ in progress(map_in_threads(write, addresses), f"Drawing shapes/{config}", len(addresses), unit="images"):
            pass
        try:
            drawn.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was faster
                raise


def draw(config: str, split: str, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return one example: an image, uint8 `(128, 128, 3)`, and its mask, uint8 `(128, 128, 1)`.

    The mask holds 0 and 1; in the configuration `classes` the indices of `CLASSES`.

    >>> image, mask = draw("standard", "train", 3)
    >>> image.shape, mask.shape, bool((image == draw("standard", "train", 3)[0]).all())
    ((128, 128, 3), (128, 128, 1), True)
    """
    return draw_example(_DIFFICULTIES[config], (list(_DIFFICULTIES).index(config), list(_EXAMPLES).index(split), index))


def draw_example(difficulty: Difficulty, seed: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return an example of some difficulty; `seed` decides it. See `draw`."""
    rng = np.random.default_rng(seed)
    ground = rng.uniform(60, 190, 3)
    picture = ground + _texture(rng, 28) + _texture(rng, 30, octaves=(2,))
    for _ in range(rng.integers(0, 5)):
        picture = _paint(rng, picture, _draw_distractor(rng), _colour(rng, ground, difficulty.contrast))

    mask = np.zeros((SIZE, SIZE), np.uint8)
    if rng.random() >= difficulty.empty:
        for _ in range(rng.integers(difficulty.shapes[0], difficulty.shapes[1] + 1)):
            shape, kind = _draw_filled(rng, np.exp(rng.uniform(*np.log(difficulty.radius))), difficulty.classes)
            picture = _paint(rng, picture, shape, _colour(rng, ground, difficulty.contrast))
            mask[shape] = kind + 1 if difficulty.classes else 1
    picture = picture + rng.normal(0, rng.uniform(4, 16), picture.shape)
    return np.clip(picture.round(), 0, 255).astype(np.uint8), mask[..., None]


def _texture(rng: np.random.Generator, strength: float, octaves: tuple[int, ...] = (8, 16, 32, 64)) -> np.ndarray:
    """Return smooth noise, `(SIZE, SIZE, 1)`: random grids of these resolutions, finer ones weaker."""
    total = np.zeros((SIZE, SIZE))
    for level, cells in enumerate(octaves):
        grid = Image.fromarray(rng.normal(size=(cells, cells)).astype(np.float32))
        total += np.asarray(grid.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) / 2**level
    return strength * total[..., None] / 2


def _colour(rng: np.random.Generator, ground: np.ndarray, contrast: tuple[float, float]) -> np.ndarray:
    """Return a colour at a random distance, within `contrast`, from the colour of the background."""
    direction = rng.normal(size=3)
    return ground + rng.uniform(*contrast) * direction / np.linalg.norm(direction)


def _polar(rng: np.random.Generator, radius: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return coordinates around a random centre, randomly rotated: u and v in radii (v squeezed), distance, angle."""
    centre_y, centre_x = rng.uniform(0, SIZE, 2)
    turn, squeeze = rng.uniform(0, np.pi), rng.uniform(1, 2.2)
    y, x = np.mgrid[:SIZE, :SIZE] - np.array([centre_y, centre_x]).reshape(2, 1, 1)
    u = (np.cos(turn) * x + np.sin(turn) * y) / radius
    v = (np.cos(turn) * y - np.sin(turn) * x) / radius * squeeze
    return u, v, np.hypot(u, v), np.arctan2(v, u)


def _draw_filled(rng: np.random.Generator, radius: float, stars: bool) -> tuple[np.ndarray, int]:
    """Return a filled ellipse, rectangle or blob, or star, bool `(SIZE, SIZE)`, and which of the three it is."""
    u, v, distance, angle = _polar(rng, radius)
    lobes, phase = rng.integers(2, 6), rng.uniform(0, 2 * np.pi)
    kinds = (
        distance <= 1,
        np.maximum(abs(u), abs(v)) <= 0.8,
        distance <= (0.7 + 0.4 * np.sin(5 * angle + phase) if stars else 0.8 + 0.25 * np.sin(lobes * angle + phase)),
    )
    kind = int(rng.integers(len(kinds)))
    return kinds[kind], kind


def _draw_distractor(rng: np.random.Generator) -> np.ndarray:
    """Return a thin ring or a long bar, which is background, bool `(SIZE, SIZE)`."""
    u, v, distance, _ = _polar(rng, radius := rng.uniform(8, 40))
    half_width = rng.uniform(0.7, 1.6) / radius
    if rng.random() < 0.5:
        return abs(distance - 1) <= half_width
    return (abs(v) <= 2 * half_width) & (abs(u) <= 3)


def _paint(rng: np.random.Generator, picture: np.ndarray, where: np.ndarray, colour: np.ndarray) -> np.ndarray:
    """Return the picture with a textured colour painted over part of it; the edges are blurred."""
    stencil = Image.fromarray(where.astype(np.uint8) * 255)
    soft = np.asarray(stencil.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 1.6))))[..., None] / 255
    opacity = soft * rng.uniform(0.75, 1.0)
    return picture * (1 - opacity) + (colour + _texture(rng, 16)) * opacity
