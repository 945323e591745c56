"""A folder of images and masks as a source; `layouts.py` finds the pairs, `pairs.py` reads them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.find import find_layout
from kseg.data.sources.base import contents
from kseg.data.sources.file_source import FileSource, hold_out, read_alike


@dataclass(frozen=True)
class FolderSource(FileSource):
    """Pairs of a path and a path, or what draws the mask."""

    @property
    def images(self) -> list[Path]:
        """The image files, in the source's order."""
        return [image for image, _ in self.pairs]

    @property
    def masks(self) -> list[Path]:
        """The mask files, or those that describe the masks, in the source's order."""
        return [mask if isinstance(mask, Path) else mask.path for _, mask in self.pairs]

    def files(self, index: int) -> tuple[str, str | MaskAnnotation]:
        image, mask = self.pairs[index]
        return str(image), str(mask) if isinstance(mask, Path) else mask

    def contents(self) -> str:
        files = [path for path in (*self.images, *self.masks) if path.exists()]  # YOLO has no file for an empty mask
        return contents(len(self), ((path.parent.name, path.name, path.stat().st_size) for path in files))


def open_folder(
    folder: Path,
    *,
    val_fraction: float,
    seed: int,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
) -> tuple[FolderSource, FolderSource]:
    """The training and the validation source of a folder, both read by the rules that the training images give.

    Arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: there are no images, or images and masks do not pair; as from `read_alike`.
    """
    found = find_layout(folder)
    described = {"layout": found.rule, "classes": found.classes}
    training = FolderSource(found.training.name, found.training.pairs, **described)
    if found.validation:
        validation = FolderSource(found.validation.name, found.validation.pairs, **described)
    else:
        training, validation = hold_out(training, val_fraction, seed)
    return read_alike(str(folder), training, validation, take=take, bit_depth=bit_depth, colours=colours)
