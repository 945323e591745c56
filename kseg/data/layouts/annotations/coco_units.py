"""The unit of COCO's polygons: pixels, but some tools export shares of the sides, or per cent.

Some images were made smaller after they were annotated.
"""

from collections.abc import Iterable

import numpy as np

from kseg.data.layouts.annotations.coco_json import Content, ImageEntry, Instance
from kseg.data.layouts.annotations.coco_masks import Polygons
from kseg.errors import KsegError

_MOST_LEAVING = 0.2  # share of objects that a person drew beyond the rim, or a crop cut
_MANY = 8  # polygons that prove that something is not by chance
_LARGE = 200  # pixels: sides of images whose objects do not all lie within the first 100 pixels by chance


def are_shares(contents: Iterable[Content]) -> bool:
    """Return whether coordinates are shares of the sides: none is above 1, in images of more than two pixels.

    Raises:
        KsegError: they are per cent: none is above 100, and outlines leave their images, or fill one corner of large
            images. Or more than a fifth of the objects, and more than one, leave their images.
    """
    contents = list(contents)
    reaches = [
        (reach, _size(content.images[instance.image_id]), instance)
        for content in contents
        for instance in content.instances
        if (reach := _reach(instance)) is not None
    ]
    if not reaches:
        return False
    reach, sizes = np.array([one for one, *_ in reaches]), np.array([size for _, size, _ in reaches])
    if reach.max() <= 1:
        return bool((sizes[sizes > 0] > 2).all())
    if reach.max() <= 100 and _are_per_cent(reach, sizes):
        raise KsegError(
            f"{contents[0].path}: the polygons of {len(reaches)} objects reach {reach.max():.4g}, and leave their "
            "images or lie all in one corner. That looks like per cent of the sides; expected pixels. Multiply x by "
            "width / 100 and y by height / 100, or export the file again in pixels."
        )
    leaving = np.flatnonzero(_leave_image(reach, sizes))
    if len(leaving) > max(1, _MOST_LEAVING * len(reaches)):
        (x, y), (width, height), instance = reaches[leaving[0]]
        raise KsegError(
            f"{contents[0].path}: the polygons of {len(leaving)} of {len(reaches)} objects leave their images, such as "
            f"annotation {instance.id!r} (image {instance.image_id!r}), which reaches ({x:.4g}, {y:.4g}) in {width} x "
            f"{height}. Expected pixels of images of the stated size: were they resized after they were annotated? "
            "Export the annotations again for these images."
        )
    return False


def _leave_image(reach: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return which objects reach beyond their images, by more than a slip of the pen, bool `(N,)`."""
    return np.any((sizes > 0) & (reach > 1.05 * sizes + 1), axis=1)


def _are_per_cent(reach: np.ndarray, sizes: np.ndarray) -> bool:
    """Return whether coordinates of at most 100 are per cent.

    Args:
        reach: the largest x and y of each object, float64 `(N, 2)`.
        sizes: width and height of its image, `(N, 2)`; 0 if unknown.
    """
    leaves_image = bool(_leave_image(reach, sizes).any())
    fills_corner = len(reach) >= _MANY and bool((sizes >= _LARGE).all()) and bool(reach.max() > 80)
    return leaves_image or fills_corner


def _reach(instance: Instance) -> np.ndarray | None:
    """Return the largest x and y of an object's polygons; None if it has none, or a coordinate is not a number."""
    if not isinstance(instance.outline, Polygons):
        return None
    reach = np.concatenate([np.frombuffer(part).reshape(-1, 2) for part in instance.outline.parts]).max(axis=0)
    return reach if np.isfinite(reach).all() else None


def _size(image: ImageEntry) -> tuple[float, float]:
    """Return width and height as the file states them; 0 if it does not."""
    height, width = image.size or (0, 0)
    sides = [side if isinstance(side, int | float) and 0 < side < 1e6 else 0 for side in (width, height)]
    return sides[0], sides[1]
