"""Masks with a channel for each label: a file for each, the channels of one file, or annotations drawn one by one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from kseg.data.files.formats import EmbeddedFile, ImageFile, file_errors, is_npy, open_npy
from kseg.data.files.images import image_values
from kseg.data.files.masks import MaskAnnotation, read_mask
from kseg.data.files.object_files import ObjectFiles
from kseg.errors import KsegError


@runtime_checkable
class Layered(MaskAnnotation, Protocol):
    """A `MaskAnnotation` that can also draw each class by itself, so that classes may overlap."""

    def draw_layers(self, number: int) -> np.ndarray:
        """Return 0, 1 and 255 (ignored) for the classes 1 to `number`, uint16 `(H, W, number)`; errors as `draw`."""


@dataclass(frozen=True)
class LabelFiles:
    """A mask file for each label; a `MaskAnnotation`."""

    names: tuple[str, ...]
    """The label of each channel."""
    files: tuple[Path | EmbeddedFile | None, ...]
    """The mask of each label; None: an image without it. At least one is a file."""

    @property
    def path(self) -> Path:
        """The first of the files."""
        return next(Path(str(file)) for file in self.files if file)

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """Return the stored values, uint16 `(H, W, labels)`.

        Raises:
            KsegError: a file cannot be read, or two have different sizes.
        """
        masks = [read_mask(str(file) if isinstance(file, Path) else file) if file else None for file in self.files]
        shape = next(mask.shape for mask in masks if mask is not None)
        for file, mask in zip(self.files, masks, strict=True):
            if mask is not None and mask.shape != shape:
                raise KsegError(
                    f"{file} is {mask.shape[1]} x {mask.shape[0]} and {self.path} {shape[1]} x {shape[0]} (width x "
                    "height); expected one size for all labels of an image. Make a new mask."
                )
        return np.concatenate([np.zeros(shape, np.uint16) if mask is None else mask for mask in masks], axis=-1)


@dataclass(frozen=True)
class LabelChannels:
    """One file with a channel for each label; a `MaskAnnotation`."""

    file: ImageFile
    number: int
    """Number of labels."""

    @property
    def path(self) -> Path:
        """The file."""
        return Path(str(self.file))

    def __str__(self) -> str:
        return str(self.file)

    def draw(self) -> np.ndarray:
        """Return the stored values, uint16 `(H, W, labels)`.

        Raises:
            KsegError: the file cannot be read, or has another number of channels.
        """
        values = _read_channels(self.file)
        if values.shape[2] != self.number:
            raise KsegError(
                f"{self.file} has {values.shape[2]} channels; expected {self.number}, one for each label, as in the "
                "other masks of its data set. Repair it, or remove the pair."
            )
        return values.astype(np.uint16)


@dataclass(frozen=True)
class LabelLayers:
    """Annotations of which each class is drawn by itself; a `MaskAnnotation`."""

    annotation: Layered
    number: int
    """Number of classes."""

    @property
    def path(self) -> Path:
        """The file with the annotations."""
        return self.annotation.path

    def __str__(self) -> str:
        return str(self.annotation)

    def draw(self) -> np.ndarray:
        """Return 0, 1 and 255 (ignored), uint16 `(H, W, number)`; errors as from the annotation."""
        return self.annotation.draw_layers(self.number)


def mask_files(mask: Path | MaskAnnotation) -> list[Path]:
    """Return the files that a mask is read from; an annotation has one, which YOLO leaves out for an empty mask."""
    if isinstance(mask, Path):
        return [mask]
    if isinstance(mask, LabelFiles | ObjectFiles):
        return [file for file in mask.files if isinstance(file, Path)]
    return [mask.path]


def count_channels(file: ImageFile) -> int:
    """Return the number of channels of a mask file with a channel for each label.

    Raises:
        KsegError: it cannot be read, or has one channel.
    """
    channels = _read_channels(file).shape[2]
    if channels == 1:
        raise KsegError(
            f"{file} has one channel; expected several, one for each label, since --task is multilabel. Or put the "
            "masks of each label in a folder of its own, masks/<label>/. Where each value is a class: --task "
            "multiclass."
        )
    return channels


def _read_channels(file: ImageFile) -> np.ndarray:
    """Return the stored values `(H, W, C)`, bool or integers."""
    if is_npy(file):
        with file_errors(file):
            values = np.array(open_npy(file))
        if values.dtype.kind not in "bui" or (values.dtype.kind == "i" and values.min() < 0) or values.max() > 65535:
            raise KsegError(
                f"{file} has {values.dtype.name} values from {values.min()} to {values.max()}; expected integers from "
                "0 to 65535. Convert it first."
            )
        return values
    return image_values(file)
