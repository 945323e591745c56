"""How strong augmentation is: every strength with its unit and limits, and the presets."""

from dataclasses import dataclass
from typing import Any, Literal

from kseg.errors import KsegError

Preset = Literal["none", "light", "medium", "heavy"]


@dataclass(frozen=True)
class Augmentation:
    """How strong augmentation is; the defaults change nothing.

    A factor `f` is drawn between 1 / f and f, an angle or a displacement `a` between -a and a, any other strength
    between 0 and itself. Crop, brightness, contrast and gamma are drawn for every image. Each setting after `share` is
    applied to that share of the images, independently of the others.

    Raises:
        KsegError: a setting is outside of its limits.

    >>> print(Augmentation(mirror=True, rotation=10))
    mirrored; rotation up to 10°
    """

    mirror: bool = False
    """Mirror half of the images, left to right."""
    turns: bool = False
    """Random quarter turns, half turns if the image is not square; with `mirror`, all symmetries are equally likely."""
    crop: float = 1.0
    """Smallest height and width of a crop, as a share of the image's, 0.05 to 1."""
    brightness: float = 1.0
    """Factor, 1 to 10. A shift would turn a dark image black."""
    contrast: float = 1.0
    """Factor of the distance from the mean, 1 to 10."""
    gamma: float = 1.0
    """Exponent, 1 to 10, of values divided by the image's brightest value."""

    share: float = 0.5
    """Share of the images that each of the following is applied to, 0 to 1."""
    rotation: float = 0.0
    """Degrees, 0 to 180; rotation, zoom and shear are one step, applied together."""
    zoom: float = 1.0
    """Factor, 1 to 4."""
    shear: float = 0.0
    """Degrees, 0 to 45, by which vertical lines tilt."""
    elastic: float = 0.0
    """Largest displacement of a pixel along each axis, as a share of height or width, 0 to 0.05."""
    hue: float = 0.0
    """Degrees, 0 to 180; for images of three channels only."""
    blur: float = 0.0
    """Standard deviation of a Gaussian blur, in pixels, 0 to 20."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise, relative to the image's own, 0 to 5: dark images keep their content."""
    jpeg: float = 0.0
    """JPEG compression at a quality of 100 minus up to this, 0 to 99."""
    cutout: float = 0.0
    """Largest height and width of three holes, as a share of the image's, 0 to 1. The mask is unchanged."""

    mosaic: float = 0.0
    """Share of the images that are put together from four images of the batch, 0 to 1."""

    def __post_init__(self) -> None:
        for name, (lowest, highest, _) in _LIMITS.items():
            value = getattr(self, name)
            if not lowest <= value <= highest:  # true for NaN
                raise KsegError(f"{name}: {value} is not allowed; expected {lowest:g} to {highest:g}.")

    def __str__(self) -> str:
        off = Augmentation()
        descriptions = [
            text.format(getattr(self, name))
            for name, (_, _, text) in _LIMITS.items()
            if getattr(self, name) != getattr(off, name) and name != "share"
        ]
        return "; ".join(descriptions) or "nothing"


# Lowest and highest value, and the description.
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
_STRENGTHS: dict[str, tuple[Any, Any, Any]] = {
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
    """Return the preset with this name, or the augmentation itself if it is one.

    Raises:
        KsegError: there is no such preset.

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
