"""Several labels that may overlap: which files of a folder are the masks of an image, and the name of each channel."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from kseg.data.files.label_masks import LabelChannels, LabelFiles, LabelLayers, Layered, count_channels
from kseg.data.files.masks import MaskAnnotation
from kseg.data.layouts.pairing import MASK_SUFFIX, Layout, SplitPairs, files_by_stem, stem
from kseg.data.layouts.paths import files_in, visible_folders
from kseg.errors import KsegError


def with_labels(layout: Layout) -> Layout:
    """Return a layout whose masks have a channel for each label: of a file, or for each class of annotations.

    Raises:
        KsegError: the first mask is a file of one channel, or cannot be read.
    """
    if layout.labels:
        return layout
    first = layout.training.pairs[0][1]
    names = tuple(layout.classes.values())
    if isinstance(first, Path):
        names = tuple(str(number) for number in range(1, count_channels(str(first)) + 1))

    def layered(split: SplitPairs[Path | MaskAnnotation]) -> SplitPairs[Path | MaskAnnotation]:
        return SplitPairs(split.name, [(image, _layers(mask, len(names))) for image, mask in split.pairs])

    validation = layered(layout.validation) if layout.validation else None
    return Layout(f"{layout.rule}, labels apart", layered(layout.training), validation, layout.classes, names)


def _layers(mask: Path | MaskAnnotation, number: int) -> MaskAnnotation:
    if isinstance(mask, Path):
        return LabelChannels(str(mask), number)
    assert isinstance(mask, Layered)  # all annotations are
    return LabelLayers(mask, number)


def label_folders(masks: Path, images: Path, image_files: Sequence[Path]) -> list[Path]:
    """Return the folders of a mask folder that each hold the masks of one label, `masks/<label>/`, sorted.

    None if masks lie in the folder itself, or if there are not two folders. None, too, if a mask and an image have the
    same stem, as `images/a/1.png` and `masks/a/1.png` have: then these folders are not of labels.

    Args:
        masks: the folder of the masks.
        images: the folder of the images.
        image_files: the images in it.
    """
    # The masks first: a folder of many files is listed, and not looked at file by file.
    if masks == images or files_in(masks, recursive=False):
        return []
    folders = visible_folders(masks)
    stems = {stem(path, images) for path in image_files} if len(folders) > 1 else set()
    are_labels = len(folders) > 1 and stems.isdisjoint(stem(path, masks) for path in files_in(masks))
    return folders if are_labels else []


def pair_labels(folders: Sequence[Path], image_of: Mapping[str, Path]) -> list[tuple[Path, LabelFiles]]:
    """Return each image with its masks, one in each folder where there is one.

    Raises:
        KsegError: a mask has no image, or two masks of a folder belong to one; an image has no mask at all.
    """
    names = tuple(folder.name for folder in folders)
    of_label = [_masks_of_label(folder, image_of) for folder in folders]
    pairs = []
    for name, image in image_of.items():
        files = tuple(masks.get(name) for masks in of_label)
        if not any(files):
            raise KsegError(
                f"{image} has no mask in {', '.join(names)} of {folders[0].parent}; expected one of the same stem "
                "in at least one of them. Add an empty mask if it has none of the labels."
            )
        pairs.append((image, LabelFiles(names, files)))
    return pairs


def _masks_of_label(folder: Path, image_of: Mapping[str, Path]) -> dict[str, Path]:
    """Return the masks in the folder of a label by the stem of their image."""
    mask_of: dict[str, Path] = {}
    for own, path in files_by_stem(files_in(folder), folder).items():
        # A suffix such as _mask, or the label itself: masks/cat/x_cat.png.
        stems = (own, MASK_SUFFIX.sub("", own), own.removesuffix(f"_{folder.name}"))
        name = next((candidate for candidate in stems if candidate in image_of), None)
        if name is None:
            raise KsegError(
                f"{path} has no image; expected one of the same stem, without a suffix such as _mask or "
                f"_{folder.name}. Add it, or remove the mask."
            )
        if name in mask_of:
            raise KsegError(f"{mask_of[name]} and {path} are both masks of {image_of[name]}; expected one. Remove one.")
        mask_of[name] = path
    return mask_of


def refuse_other_labels(training: SplitPairs, validation: SplitPairs | None) -> None:
    """Refuse a validation split whose label folders have other names than those of the training split.

    Raises:
        KsegError: they have.
    """
    if not validation:
        return
    expected, found = training.pairs[0][1], validation.pairs[0][1]
    names = [mask.names if isinstance(mask, LabelFiles) else ("one mask an image",) for mask in (expected, found)]
    if names[0] != names[1]:
        raise KsegError(
            f"{training.name} has masks of {', '.join(names[0])} and {validation.name} of {', '.join(names[1])}; "
            "expected the same labels in both. An empty folder does for a label that a split does not have."
        )


def describe_labels(pairs: Sequence[tuple[Path, LabelFiles]]) -> str:
    """Return the labels, and how many masks are missing and read as empty, as text."""
    names = pairs[0][1].names
    missing = sum(file is None for _, masks in pairs for file in masks.files)
    absent = f"; {missing} masks are missing, and read as empty" if missing else ""
    return f"a mask for each of {len(names)} labels{absent}"
