"""Count the images of a folder that its layout does not read, so that the log can tell."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from kseg.data.files.formats import EXTENSIONS
from kseg.data.files.label_masks import mask_files
from kseg.data.layouts.pairing import ImageMaskPair
from kseg.data.layouts.paths import files_in, is_hidden

_MAX_NAMED = 3  # folders in the text


def describe_unread(folder: Path, pairs: Sequence[ImageMaskPair]) -> str:
    """Return a text such as `; images not read: 3 in old/`, to append to the rule of a layout; empty if there are none.

    Unread pictures in a folder of masks are not counted: they are other kinds of masks, as in Cityscapes.
    """
    images = {image for image, _ in pairs}
    masks = {file for _, mask in pairs for file in mask_files(mask)}
    with_images, with_masks = ({parent for path in paths for parent in path.parents} for paths in (images, masks))
    counts = dict(_count_unread(folder, with_images, with_masks, images | masks))
    texts = [f"{count} in {where.relative_to(folder)}/" for where, count in sorted(counts.items()) if count]
    more = f" and in {len(texts) - _MAX_NAMED} more folders" if len(texts) > _MAX_NAMED else ""
    return f"; images not read: {', '.join(texts[:_MAX_NAMED])}{more}" if texts else ""


def _count_unread(
    folder: Path, with_images: set[Path], with_masks: set[Path], files: set[Path]
) -> Iterator[tuple[Path, int]]:
    """Yield each folder with its number of unread images; a folder without any file of a pair counts as a whole."""
    for where, folders, names in os.walk(folder):
        here = Path(where)
        folders[:] = [name for name in folders if not is_hidden(name)]
        if here not in with_images | with_masks:
            folders.clear()
            yield here, len(files_in(here))
        elif here in with_images:
            pictures = (here / name for name in names if not is_hidden(name))
            yield here, sum(path.suffix.lower() in EXTENSIONS and path not in files for path in pictures)
