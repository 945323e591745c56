"""How much training images are changed: every strength with its unit and limits, and the presets."""

from dataclasses import dataclass
from typing import Literal

from kseg.errors import KsegError

Preset = Literal["none", "light", "medium", "heavy"]


@dataclass(frozen=True)
class Augmentation:
    """How much training images and their masks are changed; as it stands here, not at all.

    A factor is drawn from its reciprocal to itself, an angle or a displacement from minus to plus, anything else from
    nothing to itself. The crop, brightness, contrast and gamma are drawn for every image; of what comes after `share`,
    each happens to that share of the images, by a draw of its own.

    Raises:
        KsegError: a setting is not within its limits.

    >>> print(Augmentation(mirror=True, rotation=10))
    mirrored; rotation up to 10°
    """

    mirror: bool = False
    """Half of the images, left for right."""
    turns: bool = False
    """Quarter turns, or half turns where an image is not square; with `mirror`, every symmetry is as likely."""
    crop: float = 1.0
    """Height and width of the smallest crop, as a share of the image's."""
    brightness: float = 1.0
    """A factor. A shift would blacken a dark image."""
    contrast: float = 1.0
    """A factor, about the mean."""
    gamma: float = 1.0
    """An exponent, of values as a share of the image's brightest."""

    share: float = 0.5
    """Of the images, to which each of these happens."""
    rotation: float = 0.0
    """Degrees; with `zoom` and `shear` one move."""
    zoom: float = 1.0
    """A factor."""
    shear: float = 0.0
    """Degrees that a side leans."""
    elastic: float = 0.0
    """How far a pixel is pulled along each axis, as a share of height or width."""
    hue: float = 0.0
    """Degrees; only of images of three channels."""
    blur: float = 0.0
    """Standard deviation of a Gaussian, in pixels."""
    noise: float = 0.0
    """Standard deviation of normal noise, as a share of the image's own: a dark image does not drown in it."""
    jpeg: float = 0.0
    """How much worse than 100 the quality of a JPEG is that the image is stored in."""
    cutout: float = 0.0
    """Height and width of the largest of three holes, as a share of the image's. The mask stays as it is."""

    mosaic: float = 0.0
    """Share of the images that are put together from four of the batch."""

    def __post_init__(self) -> None:
        for name, (least, most, _) in _LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:  # which no NaN is either
                raise KsegError(f"{name}: {value} is not allowed; expected {least:g} to {most:g}.")

    def __str__(self) -> str:
        off = Augmentation()
        said = [
            words.format(getattr(self, name))
            for name, (_, _, words) in _LIMITS.items()
            if getattr(self, name) != getattr(off, name) and name != "share"
        ]
        return "; ".join(said) or "nothing"


# The least, the most, and what to say of what is between them.
_LIMITS = {
    "mirror": (0, 1, "mirrored"),
    "turns": (0, 1, "quarter turns"),
    "crop": (0.05, 1, "crops of {:g} to 1 of the sides"),
    "rotation": (0, 180, "rotation up to {:g}°"),
    "zoom": (1, 4, "zoom up to × {:g}"),
    "shear": (0, 45, "shear up to {:g}°"),
    "elastic": (0, 0.05, "elastic by up to {:g} of the sides"),
    "brightness": (1, 10, "brightness up to × {:g}"),
    "contrast": (1, 10, "contrast up to × {:g}"),
    "gamma": (1, 10, "gamma up to {:g}"),
    "share": (0, 1, ""),
    "hue": (0, 180, "hue up to {:g}°"),
    "blur": (0, 20, "blur up to {:g} px"),
    "noise": (0, 5, "noise up to {:g} of the deviation"),
    "jpeg": (0, 99, "JPEG up to {:g} below quality 100"),
    "cutout": (0, 1, "holes up to {:g} of the sides"),
    "mosaic": (0, 1, "mosaics, {:.0%} of the images"),
}

# fmt: off
_STRENGTHS = {
    #              light  medium heavy
    "mirror":     (True,  True,  True),
    "turns":      (True,  True,  True),
    "crop":       (0.75,  0.65,  0.5),   # of the sides, at least
    "rotation":   (0,     15,    45),    # degrees
    "zoom":       (1,     1.1,   1.25),  # factor
    "shear":      (0,     5,     10),    # degrees
    "elastic":    (0,     0.01,  0.03),  # of the sides
    "brightness": (1.25,  1.3,   1.4),   # factor
    "contrast":   (1.25,  1.3,   1.5),   # factor
    "gamma":      (1,     1.2,   1.5),   # exponent
    "hue":        (0,     10,    30),    # degrees
    "blur":       (0,     0.7,   1.5),   # pixels, standard deviation
    "noise":      (0,     0.15,  0.3),   # of the image's standard deviation
    "jpeg":       (0,     0,     70),    # below quality 100
    "cutout":     (0,     0,     0.25),  # of the sides
    "mosaic":     (0,     0,     0.25),  # share of the images
}
# fmt: on
_PRESETS = {"none": Augmentation()} | {
    preset: Augmentation(**{name: strengths[column] for name, strengths in _STRENGTHS.items()})
    for column, preset in enumerate(("light", "medium", "heavy"))
}


def find_augmentation(augment: Preset | Augmentation) -> Augmentation:
    """The augmentation of that name, or the one that is given.

    Raises:
        KsegError: there is none of that name.

    >>> print(find_augmentation("light"))
    mirrored; quarter turns; crops of 0.75 to 1 of the sides; brightness up to × 1.25; contrast up to × 1.25
    """
    if isinstance(augment, Augmentation):
        return augment
    if augment not in _PRESETS:
        raise KsegError(
            f"augment: {augment!r} is not allowed; expected {', '.join(_PRESETS)}, or a kseg.data.Augmentation."
        )
    return _PRESETS[augment]
