"""A folder of images and masks as a source."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kseg.data.files.label_masks import mask_files
from kseg.data.files.masks import MaskAnnotation
from kseg.data.files.pair import MaskExif
from kseg.data.layouts.find import find_layout
from kseg.data.layouts.label_layers import with_labels
from kseg.data.layouts.pairing import SplitPairs
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
        return [file for _, mask in self.pairs for file in mask_files(mask)]

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
    mask_exif: MaskExif,
    multilabel: bool = False,
) -> tuple[FolderSource, FolderSource]:
    """Return the training and the validation source of a folder; arguments as in `kseg.data.open_sources`.

    Raises:
        KsegError: there are no images, or images and masks do not pair; as from `set_reading_rules`.
    """
    layout = find_layout(folder)
    layout = with_labels(layout) if multilabel else layout

    def source(split: SplitPairs[Path | MaskAnnotation]) -> FolderSource:
        return FolderSource(split.name, split.pairs, layout.rule, classes=layout.classes, labels=layout.labels)

    training = source(layout.training)
    if layout.validation:
        validation = source(layout.validation)
    else:
        training, validation = split_by_seed(training, val_fraction, seed)
    return set_reading_rules(
        str(folder), training, validation, take=take, bit_depth=bit_depth, colours=colours, mask_exif=mask_exif
    )
