"""A folder for each image, with its objects in files: `<name>/images/<name>.png` and `<name>/masks/*.png`.

So the nuclei of the 2018 Data Science Bowl were handed out, in `stage1_train`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kseg.data.files.object_files import ObjectFiles
from kseg.data.layouts.pairing import TRAINING_NAMES, VALIDATION_NAMES, SplitPairs
from kseg.data.layouts.paths import files_in, visible_folders
from kseg.errors import KsegError

CLASSES = {1: "object"}
"""The name of the one class index of these masks."""


def object_folders(folder: Path) -> list[Path]:
    """Return the folders of the images in a folder, sorted; none if it has another layout.

    There are two or more, and nothing else; each has `images/`, the first of them with one image, and `masks/`.
    """
    folders = visible_folders(folder)
    splits = {*TRAINING_NAMES, *VALIDATION_NAMES, "test"}
    if len(folders) < 2 or any(path.name.lower() in splits for path in folders):
        return []
    are_images = len(files_in(folders[0] / "images")) == 1 and all((path / "masks").is_dir() for path in folders)
    return folders if are_images else []


def read_object_folders(folders: Sequence[Path]) -> SplitPairs[ObjectFiles]:
    """Return the image in each of `object_folders`, with the files of its objects.

    Raises:
        KsegError: a folder has no image, or several.
    """
    pairs = []
    for path in folders:
        images = files_in(path / "images")
        if len(images) != 1:
            raise KsegError(
                f"{path / 'images'} has {len(images)} images; expected one, as in the other folders of {path.parent}: "
                "each belongs to one image, with its objects in masks/."
            )
        pairs.append((images[0], ObjectFiles(images[0], tuple(files_in(path / "masks")))))
    return SplitPairs(str(folders[0].parent), pairs)


def refuse_other_masks(training: SplitPairs[Any], validation: SplitPairs[Any] | None) -> None:
    """Refuse a training and a validation split of which one alone has a file for each object.

    Raises:
        KsegError: they are such.
    """
    if not validation:
        return
    kinds = [{isinstance(mask, ObjectFiles) for _, mask in split.pairs} for split in (training, validation)]
    if kinds[0] != kinds[1]:
        raise KsegError(
            f"One of {training.name} and {validation.name} has a folder for each image, and the other has not; "
            "expected the same layout in both."
        )
