"""A folder of images and masks as a source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.find import find_layout
from kseg.data.sources.base import summarise
from kseg.data.sources.file_source import FileSource, set_reading_rules, split_by_seed


@dataclass(frozen=True)
class FolderSource(FileSource):
    """Pairs of an image path and a mask: a path, or the annotation that draws it."""

    @property
    def images(self) -> list[Path]:
        """The image files, in the source's order."""
        return [image for image, _ in self.pairs]

    @property
    def masks(self) -> list[Path]:
        """The mask files, or the files with the annotations, in the source's order."""
        return [mask if isinstance(mask, Path) else mask.path for _, mask in self.pairs]

    def files(self, index: int, *content: bytes) -> tuple[str, str | MaskAnnotation]:
        """See `PairReader`."""
        image, mask = self.pairs[index]
        return str(image), str(mask) if isinstance(mask, Path) else mask

    def summary(self) -> str:
        """See `kseg.data.Source`; the digest is of folder names, file names and sizes."""
        files = [path for path in (*self.images, *self.masks) if path.exists()]  # YOLO has no file for an empty mask
        return summarise(len(self), ((path.parent.name, path.name, path.stat().st_size) for path in files))

    def data_files(self) -> list[Path]:
        """See `kseg.data.Source`."""
        return [path for path in dict.fromkeys((*self.images, *self.masks)) if path.exists()]


def open_folder(
    folder: Path,
    *,
    val_fraction: float,
    seed: int,
    take: int | None,
    bit_depth: int | Literal["auto"],
    colours: Sequence[str] | Literal["auto"],
) -> tuple[FolderSource, FolderSource]:
    """Return the training and the validation source of a folder; arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: there are no images, or images and masks do not pair; as from `set_reading_rules`.
    """
    layout = find_layout(folder)
    training = FolderSource(layout.training.name, layout.training.pairs, layout.rule, classes=layout.classes)
    if layout.validation:
        validation = FolderSource(layout.validation.name, layout.validation.pairs, layout.rule, classes=layout.classes)
    else:
        training, validation = split_by_seed(training, val_fraction, seed)
    return set_reading_rules(str(folder), training, validation, take=take, bit_depth=bit_depth, colours=colours)
