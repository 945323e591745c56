"""A mask in several files, one for each object, as the 2018 Data Science Bowl was handed out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kseg.data.files.images import image_shape
from kseg.data.files.masks import read_mask
from kseg.errors import KsegError


@dataclass(frozen=True)
class ObjectFiles:
    """A mask file for each object of an image; a `MaskAnnotation`."""

    image: Path
    files: tuple[Path, ...]
    """Each is 0 outside of its object. Empty: an image without objects."""

    @property
    def path(self) -> Path:
        """The first of the files, or the image if there is none."""
        return self.files[0] if self.files else self.image

    def __str__(self) -> str:
        return str(self.path)

    def draw(self) -> np.ndarray:
        """Return 1 in all objects and 0 elsewhere, uint16 `(H, W, 1)`.

        Raises:
            KsegError: a file cannot be read, has more than one value beside 0, or two have different sizes.
        """
        if not self.files:
            height, width, _ = image_shape(str(self.image))
            return np.zeros((height, width, 1), np.uint16)
        union = _read_object(self.files[0])
        for file in self.files[1:]:
            mask = _read_object(file)
            if mask.shape != union.shape:
                raise KsegError(
                    f"{file} is {mask.shape[1]} x {mask.shape[0]} and {self.path} {union.shape[1]} x {union.shape[0]} "
                    "(width x height); expected one size for all objects of an image. Make a new mask."
                )
            union |= mask
        return union


def _read_object(file: Path) -> np.ndarray:
    mask = read_mask(str(file))
    values = np.unique(mask)
    if len(values) > 2 or (len(values) == 2 and values[0]):
        raise KsegError(
            f"{file} has the values {', '.join(map(str, values[:5]))}; expected 0 and one other, since there is a "
            "file for each object. Repair it."
        )
    return (mask > 0).astype(np.uint16)
