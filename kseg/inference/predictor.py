"""A model as it is used: images of any size in, masks of the same size out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL.Image import Image as PillowImage
from PIL.ImageOps import exif_transpose

from kseg.checkpoints import read_state
from kseg.data.files.images import picture_values, to_8_bits
from kseg.data.files.rows import Rows, open_rows
from kseg.data.layouts.paths import is_file
from kseg.data.transforms.resize import pad_or_crop, scale_image, scaled_size
from kseg.errors import KsegError
from kseg.inference.network import Network, TestTimeAugmentation, resize_linear
from kseg.inference.tiling import Bands, Tiling
from kseg.keras_private import quick_initializers
from kseg.metadata import Metadata
from kseg.models.fast_layers import FAST_LAYERS
from kseg.task import Task

Image = str | PathLike[str] | np.ndarray | PillowImage
"""A file, an array uint8 or uint16, `(H, W)` or `(H, W, C)`, or a picture of Pillow."""

UNKNOWN_MULTIPLE = 32
"""What nearly every encoder divides by; for a model that does not say it."""

_BAND = 2**22  # pixels of a band


def load(
    path: str | PathLike[str],
    *others: str | PathLike[str],
    tile: int | tuple[int, int] | None = None,
    overlap: float = 0.5,
    tta: Sequence[TestTimeAugmentation] = (),
    threshold: float | Sequence[float] | None = None,
    batch_size: int = 1,
) -> "Predictor":
    """Open a model to predict with; no code in its file is run.

    Args:
        path: the `best.keras` or `last.keras` of a run, or any `.keras` file that takes uint8 images and gives logits.
            Of a file without kseg's metadata one output means foreground, several mean classes, the first of them
            background; and images are taken as they are.
        others: more models, whose probabilities are averaged with its own.
        tile: side, or height and width, of tiles at the images' own size; None: the whole image, as in training.
        overlap: share of a tile that the next one covers too.
        tta: which other views of an image are averaged with it: "mirrors", "turns" by quarters, "scales" 0.75 and 1.25.
        threshold: a pixel is foreground if its probability is above this; several: one for each label; None: the
            model's own.
        batch_size: tiles that go through the model at once; more is faster on a GPU, and slower on most CPUs.

    Raises:
        KsegError: a file cannot be read, needs code of its own, or is a model for other images or another task.

    Example::

        predictor = kseg.load("runs/cells/best.keras")
        mask = predictor("photo.jpg")  # uint8 (H, W): 0 and 1, or class indices
    """
    models, all_metadata = zip(*map(open_model, (path, *others)), strict=True)
    metadata = all_metadata[0]
    for other, its_metadata in zip(others, all_metadata[1:], strict=True):
        _refuse_another_kind(Path(path), metadata, Path(other), its_metadata)
    if threshold is not None:
        if metadata.task.kind == "multiclass":
            raise KsegError(
                f"threshold: {threshold} is not allowed: {path} tells several classes apart, and the most probable one "
                "is predicted."
            )
        if not isinstance(threshold, float | int):
            _refuse_other_number(path, metadata, threshold)
        metadata = replace(metadata, threshold=threshold)
    return Predictor(models, metadata, tile=tile, overlap=overlap, tta=tta, batch_size=batch_size)


def _refuse_other_number(path: str | PathLike[str], metadata: Metadata, thresholds: Sequence[float]) -> None:
    """Refuse several thresholds, unless there is one for each label."""
    if metadata.task.kind != "multilabel" or len(thresholds) != metadata.task.outputs:
        raise KsegError(
            f"threshold: {' '.join(map(str, thresholds))} are {len(thresholds)}, and {path} is for {metadata.task}; "
            "expected one, or one for each label."
        )


@quick_initializers()
def open_model(path: str | PathLike[str]) -> tuple[keras.Model, Metadata]:
    """Return the model in a file, and what the file says about its use; no code in the file is run.

    Raises:
        KsegError: it cannot be read, needs code of its own, or is no model from images to logits.
    """
    if Path(path).suffix != ".keras":
        raise KsegError(f"{path} is no model; expected a .keras file, such as best.keras of a run.")
    if not is_file(Path(path)):
        raise KsegError(f"There is no model {path}. Expected a .keras file, such as best.keras of a run.")
    try:
        state = read_state(path)
    except KsegError:
        state = None
    try:
        model = keras.models.load_model(path, custom_objects=FAST_LAYERS, compile=False)
    except Exception as error:  # a damaged file can raise anything in a parser
        reason = str(error).strip().partition("\n")[0]
        raise KsegError(
            f"{path} cannot be opened as a Keras model: {reason} If it has layers of your own, import them first."
        ) from error
    if state and state.metadata:
        metadata = Metadata.read(state.metadata)
        return model, replace(metadata, threshold=metadata.threshold if state.threshold is None else state.threshold)
    return model, _guess_metadata(model, path)


def _guess_metadata(model: keras.Model, path: str | PathLike[str]) -> Metadata:
    """Return the metadata of a model that brings none: what its shapes say."""
    shapes = model.input_shape, model.output_shape
    if not all(isinstance(shape, tuple) and len(shape) == 4 and shape[3] for shape in shapes):
        raise KsegError(
            f"{path} goes from {shapes[0]} to {shapes[1]}; expected one input of images, (batch, height, width, "
            "channels), and one output of logits for each pixel."
        )
    (_, height, width, channels), outputs = shapes[0], shapes[1][3]
    kind = Task() if outputs == 1 else Task("multiclass", ("background", *map(str, range(1, outputs))))
    size = (height, width) if height and width else None
    return Metadata(kind, image_size=size, channels=channels, size_multiple=1 if size else UNKNOWN_MULTIPLE)


def _refuse_another_kind(path: Path, metadata: Metadata, other: Path, its: Metadata) -> None:
    for name in ("task", "channels", "bit_depth", "image_size", "resize"):
        mine, theirs = getattr(metadata, name), getattr(its, name)
        if mine != theirs:
            raise KsegError(
                f"{path} and {other} cannot predict together: {name} is {mine} of one and {theirs} of the other."
            )


@dataclass(frozen=True)
class Prediction:
    """The mask of an image, and how probable it is."""

    mask: np.ndarray
    """uint8 `(H, W)`: 0 and 1, or class indices; of several labels `(H, W, K)`: 0 and 1."""
    probabilities: np.ndarray
    """float32 `(H, W, outputs)`."""


class Predictor:
    """Predicts masks of images of any size; see `load`, which makes one.

    Args:
        models: one or more models from uint8 images to logits.
        metadata: what they have in common.
        tile, overlap, tta, batch_size: as for `load`.

    >>> import kseg.models
    >>> predictor = Predictor([kseg.models.unet(filters=8)], Metadata(image_size=(32, 32)))
    >>> predictor(np.zeros((70, 45, 3), np.uint8)).shape
    (70, 45)
    """

    def __init__(
        self,
        models: Sequence[keras.Model],
        metadata: Metadata,
        *,
        tile: int | tuple[int, int] | None = None,
        overlap: float = 0.5,
        tta: Sequence[TestTimeAugmentation] = (),
        batch_size: int = 1,
    ) -> None:
        self.metadata = metadata
        self._network = Network(models, metadata, tta=tta, batch_size=batch_size)
        self.tiling = None if tile is None else Tiling(self._tile_size(tile), overlap)
        """How large images are cut; None: they are not."""

    def _tile_size(self, tile: int | tuple[int, int]) -> tuple[int, int]:
        height, width = (tile, tile) if isinstance(tile, int) else tile
        for side in (height, width):
            multiple = self.metadata.size_multiple
            if side < multiple or side % multiple:
                below = max(side // multiple, 1) * multiple
                raise KsegError(
                    f"tile: {side} is not a multiple of {multiple}; near it are {below} and {below + multiple}."
                )
        return height, width

    def __call__(self, image: Image | Sequence[Image]) -> Any:
        """Return the mask of an image, uint8 `(H, W)`; of a list of images a list.

        Raises:
            KsegError: an image cannot be read, or is not of the kind that the model takes.
        """
        if isinstance(image, Sequence) and not isinstance(image, str):
            return [self(one) for one in image]
        return self.mask_of(self.open(image))

    def predict(self, image: Image) -> Prediction:
        """Return the mask of an image and its probabilities; errors as when it is called."""
        probabilities = np.concatenate(list(self.bands(self.open(image))))
        return Prediction(self.decide(probabilities), probabilities)

    def open(self, image: Image) -> Rows:
        """Return an image as the model takes it.

        Raises:
            KsegError: it cannot be read, is of another type, or has another number of channels or another dtype.
        """
        if isinstance(image, str | PathLike):
            return open_rows(str(image), self.metadata.bit_depth, self.metadata.channels)
        if isinstance(image, PillowImage):
            image = picture_values(exif_transpose(image))  # of a copy: the caller's is not turned
        if not isinstance(image, np.ndarray):
            raise KsegError(
                f"An image of type {type(image).__name__}; expected a path, an array of NumPy, uint8 (H, W, C), a "
                "picture of Pillow, or a list of these. Of a tensor take keras.ops.convert_to_numpy(image)."
            )
        return Rows.of(_as_uint8(image, self.metadata))

    def bands(self, rows: Rows, progress: Callable[[int], object] = lambda done: None) -> Bands:
        """Yield the probabilities of an image from top to bottom, float32 `(rows, W, outputs)`.

        Args:
            rows: the image, from `open`.
            progress: called with the number of tiles that were done, of `count_tiles`.
        """
        if self.tiling:
            yield from self.tiling.bands(rows, self._network.predict_each, progress)
        elif self.metadata.image_size is None:
            yield self._native(rows.read(0, rows.shape[0]))
        else:
            yield from self._resized(rows.read(0, rows.shape[0]), self.metadata.image_size)
        if not self.tiling:
            progress(1)

    def count_tiles(self, rows: Rows) -> int:
        """Return the number of tiles of an image; 1 without tiles."""
        if not self.tiling:
            return 1
        down, across = self.tiling.positions(rows.shape[:2])
        return len(down) * len(across)

    def mask_of(
        self,
        rows: Rows,
        progress: Callable[[int], object] = lambda done: None,
        keep: Callable[[np.ndarray], object] = lambda band: None,
    ) -> np.ndarray:
        """Return the mask of an image, uint8, for which no more than a band of probabilities is held; see `bands`.

        Args:
            rows: the image, from `open`.
            progress: called as in `bands`.
            keep: called with the probabilities of each band.
        """
        height, width = rows.shape[:2]
        task = self.metadata.task
        mask = np.empty((height, width, task.outputs) if task.kind == "multilabel" else (height, width), np.uint8)
        first = 0
        for band in self.bands(rows, progress):
            mask[first : first + len(band)] = self.decide(band)
            first += len(band)
            keep(band)
        return mask

    def decide(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the mask of probabilities `(…, outputs)`, uint8; see `Prediction.mask`."""
        kind = self.metadata.task.kind
        if kind == "multiclass":
            return probabilities.argmax(-1).astype(np.uint8)
        positive = (probabilities > np.asarray(self.metadata.threshold, np.float32)).astype(np.uint8)
        return positive[..., 0] if kind == "binary" else positive

    def _native(self, image: np.ndarray) -> np.ndarray:
        """Predict at the image's own size, filled up by reflection to a size that the network takes."""
        multiple = self.metadata.size_multiple
        height, width = image.shape[:2]
        filled = np.pad(image, ((0, -height % multiple), (0, -width % multiple), (0, 0)), "symmetric")
        return self._network.probabilities(filled[None])[0, :height, :width]

    def _resized(self, image: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
        """Predict as in training, and bring the probabilities back to the image's size."""
        how, shape = self.metadata.resize, (image.shape[0], image.shape[1])
        small = scale_image(image, size, how)
        if how == "crop":
            # Training saw the middle; tiles of that size cover all of it.
            tiles = Tiling(size, overlap=0.25)
            yield from _enlarge(np.concatenate(list(tiles.bands(Rows.of(small), self._network.predict_each))), shape)
            return
        found = self._network.probabilities(pad_or_crop(small, size, 0)[None])[0]
        yield from _enlarge(pad_or_crop(found, scaled_size(shape, size, how), 0), shape)


def _enlarge(probabilities: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """Resize probabilities by linear interpolation, some rows of the result at a time."""
    height, width = size
    rows = (np.arange(height) + 0.5) * len(probabilities) / height - 0.5
    above = np.clip(np.floor(rows).astype(int), 0, len(probabilities) - 1)
    below = np.minimum(above + 1, len(probabilities) - 1)
    share = np.clip(rows - above, 0, 1).astype(np.float32)[:, None, None]
    step = max(_BAND // width, 1)
    for first in range(0, height, step):
        part = slice(first, min(first + step, height))
        band = probabilities[above[part]] * (1 - share[part]) + probabilities[below[part]] * share[part]
        yield resize_linear(band[None], (len(band), width))[0]


def _as_uint8(image: np.ndarray, metadata: Metadata) -> np.ndarray:
    """Return an array as uint8 `(H, W, C)`.

    Raises:
        KsegError: it has another dtype or shape.
    """
    given = f"An array of {image.dtype.name} values of shape {image.shape}"
    if image.dtype not in (np.uint8, np.uint16):
        raise KsegError(
            f"{given}; expected uint8 or uint16, the values of an image file. Floats from 0 to 1 are "
            "(255 * image).round().astype('uint8')."
        )
    values = image[..., None] if image.ndim == 2 else image
    allowed = {metadata.channels, 1} if metadata.channels == 3 else {metadata.channels}
    if values.ndim != 3 or 0 in values.shape or values.shape[2] not in allowed:
        raise KsegError(
            f"{given}; expected (H, W, {metadata.channels})" + (" or (H, W)." if metadata.channels in (1, 3) else ".")
        )
    values = values if values.dtype == np.uint8 else to_8_bits(values, metadata.bit_depth, "The array")
    return np.broadcast_to(values, (*values.shape[:2], metadata.channels))
