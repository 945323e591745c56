"""What augmentation makes of a data set: a page of its images as they are, and as a run would meet them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

import numpy as np

from kseg.audit.datasets import AuditedSet, open_set
from kseg.audit.rule import Setting, majority_rule, set_rule
from kseg.audit.statistics import MaskLook, look_at_mask
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.resize import scaled
from kseg.data.transforms.strengths import Preset, find_augmentation
from kseg.errors import KsegError
from kseg.reports.outlines import outlined
from kseg.reports.page import document

SIZE = (128, 128)
"""Height and width of the images, as a run has them by default."""

_LOOKED_AT = 24  # pairs, evenly spread
_ROWS = 4  # of those, with foreground if any have some
_VERSIONS = 5  # of each


@dataclass(frozen=True)
class _Example:
    name: str
    image: np.ndarray
    """uint8 `(H, W, 3)`, of `SIZE`."""
    mask: np.ndarray
    """As it is stored, `(H, W, 1)`, of `SIZE`."""
    look: MaskLook


def augmented_page(
    dataset: str,
    presets: Sequence[Preset],
    *,
    data_dir: Path | None = None,
    train_split: str | None = None,
    val_split: str | None = None,
    val_fraction: float = 0.2,
    seed: int = 0,
    foreground: Setting = "auto",
    bit_depth: int | Literal["auto"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
) -> str:
    """A section for each preset: images with their masks outlined, each in a row with versions of it, as HTML.

    It reads 24 pairs, and passes over those that cannot be read.

    Args:
        dataset: as in `kseg.audit.audit`, and so are the others.
        presets: which ones to draw.

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
    ) as examples:
        found = list(_examples(examples))
    if not found:
        raise KsegError(f"No image of {dataset} can be read together with its mask; kseg audit says why.")
    table = (set_rule(foreground) or majority_rule([example.look for example in found], dataset)).table()
    telling = [example for example in found if (table[example.mask] == 1).any()] or found
    shown = telling[:: -(-len(telling) // _ROWS)]
    images = np.stack([example.image for example in shown])
    masks = np.stack([table[example.mask] for example in shown])
    sections = [_section(preset, [example.name for example in shown], images, masks) for preset in presets]
    about = f"Masks outlined; {SIZE[0]} x {SIZE[1]} pixels; each image as it is, then as {_VERSIONS} epochs see it"
    return document(f"Augmentation of {dataset}", about, "\n".join(sections))


def _examples(examples: AuditedSet) -> Iterator[_Example]:
    places = np.unique(np.linspace(0, len(examples) - 1, _LOOKED_AT).astype(int))
    for name, image, mask in examples.decoded(places.tolist()):
        if image.shape[:2] == mask.shape[:2]:
            yield _Example(name, *scaled(image, mask, SIZE, "stretch"), look_at_mask(mask, None, thumbnail=False))


def _section(preset: Preset, names: Sequence[str], images: np.ndarray, masks: np.ndarray) -> str:
    versions = [_version(preset, epoch, images, masks) for epoch in range(_VERSIONS)]
    figures = []
    for place, name in enumerate(names):
        figures.append(_figure(images[place], masks[place], name))
        figures += [_figure(new_images[place], new_masks[place]) for new_images, new_masks in versions]
    said = escape(str(find_augmentation(preset)))
    return f'<section><h2>{preset}</h2><p>{said}</p><div class="rows">{"".join(figures)}</div></section>'


def _version(preset: Preset, epoch: int, images: np.ndarray, masks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """These examples as a batch of that epoch."""
    how = find_augmentation(preset)
    changed = [
        augment_example(image, mask, how, (0, epoch, index))
        for index, (image, mask) in enumerate(zip(images, masks, strict=True))
    ]
    new_images, new_masks = map(np.stack, zip(*changed, strict=True))
    return augment_batch(new_images, new_masks, how, (0, epoch, 0))


def _figure(image: np.ndarray, mask: np.ndarray, name: str = "") -> str:
    caption = f"<figcaption>{escape(name).replace('/', '/<wbr>')}</figcaption>" if name else ""
    return f'<figure><img src="{outlined(image, mask[..., 0] == 1)}" alt="">{caption}</figure>'
