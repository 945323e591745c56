"""A page of images before and after augmentation."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from kseg.audit.datasets import AuditedSet, open_set
from kseg.audit.rule import majority_rule, set_rule
from kseg.audit.statistics import MaskStatistics, all_labels, measure_mask
from kseg.data.files.pair import MaskExif
from kseg.data.labels import ForegroundSetting
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.resize import scale
from kseg.data.transforms.strengths import Preset, find_augmentation
from kseg.errors import KsegError
from kseg.reports.outlines import draw_outline
from kseg.reports.page import Picture, render

SIZE = (128, 128)
"""Height and width of the images: the default of a run."""

_PAIRS = 24  # read, evenly spread
_ROWS = 4  # shown, with foreground if any have some
_VERSIONS = 5  # of each


@dataclass(frozen=True)
class _Example:
    name: str
    image: np.ndarray
    """uint8 `(H, W, 3)`, of `SIZE`."""
    mask: np.ndarray
    """The stored values, `(H, W, 1)`, of `SIZE`."""
    statistics: MaskStatistics


def augmented_page(
    dataset: str,
    presets: Sequence[Preset],
    *,
    data_dir: Path | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    foreground: ForegroundSetting = "auto",
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    multilabel: bool = False,
    mask_exif: MaskExif = "own",
) -> str:
    """Return an HTML page with a section for each preset: images with outlined masks, each beside five versions.

    It reads 24 pairs, and skips those that cannot be read.

    Args:
        dataset: as in `kseg.audit.audit`, and so are the others.
        presets: the presets of `kseg train --augment` to show.

    Raises:
        KsegError: there is no such data set, or none of these pairs can be read.
    """
    with open_set(
        dataset,
        workers=1,
        data_dir=data_dir,
        train_split=train_split,
        val_split=val_split,
        val_fraction=val_fraction,
        seed=seed,
        bit_depth=bit_depth,
        colours=colours,
        multilabel=multilabel,
        mask_exif=mask_exif,
    ) as examples:
        readable = list(_read_examples(examples))
    if not readable:
        raise KsegError(f"No image of {dataset} can be read together with its mask; kseg audit says why.")
    rule = set_rule(foreground) or majority_rule([example.statistics for example in readable], dataset)
    table = rule.table()
    with_foreground = [example for example in readable if (table[example.mask] == 1).any()] or readable
    shown = with_foreground[:: -(-len(with_foreground) // _ROWS)]
    return render(
        "augment.html",
        title=f"Augmentation of {dataset}",
        about=f"Masks outlined; {SIZE[0]} x {SIZE[1]} pixels; each image unchanged, then as {_VERSIONS} epochs see it",
        sections=[_section(preset, shown, table) for preset in presets],
    )


def _read_examples(examples: AuditedSet) -> Iterator[_Example]:
    indices = np.unique(np.linspace(0, len(examples) - 1, _PAIRS).astype(int))
    for name, image, mask in examples.decode(indices.tolist()):
        if image.shape[:2] == mask.shape[:2]:
            mask = all_labels(mask)[..., None]
            yield _Example(name, *scale(image, mask, SIZE, "stretch"), measure_mask(mask, None, thumbnail=False))


def _section(preset: Preset, examples: Sequence[_Example], table: np.ndarray) -> dict[str, Any]:
    images = np.stack([example.image for example in examples])
    masks = np.stack([table[example.mask] for example in examples])
    versions = [_version(preset, epoch, images, masks) for epoch in range(_VERSIONS)]
    pictures = []
    for index, example in enumerate(examples):
        pictures.append(_picture(images[index], masks[index], example.name))
        pictures += [_picture(new_images[index], new_masks[index]) for new_images, new_masks in versions]
    return {"preset": preset, "strengths": str(find_augmentation(preset)), "pictures": pictures}


def _version(preset: Preset, epoch: int, images: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the examples as a batch of that epoch."""
    how = find_augmentation(preset)
    changed = [
        augment_example(image, mask, how, (0, epoch, index))
        for index, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    new_images, new_masks = map(np.stack, zip(*changed, strict=True))
    return augment_batch(new_images, new_masks, how, (0, epoch, 0))


def _picture(image: np.ndarray, mask: np.ndarray, name: str = "") -> Picture:
    return Picture(draw_outline(image, mask[..., 0] == 1), name)
