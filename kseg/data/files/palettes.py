"""Palettes of mask files: what an index means, and where palettes contradict each other."""

import contextlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import ImageColor
from PIL.ImageFile import ImageFile as PillowFile

from kseg.data.files.bands import BandImage
from kseg.data.files.formats import ImageFile, file_errors, is_npy, open_image
from kseg.data.files.images import evenly_spaced
from kseg.errors import KsegError

_DARK = 8  # the largest channel of what is meant as black


def read_palette(picture: PillowFile) -> np.ndarray | None:
    """Return the colour of each index, uint8 `(N, 3)`; None if the picture has no palette."""
    palette = picture.getpalette("RGB") if picture.mode in ("P", "PA") else None
    return np.array(palette, np.uint8).reshape(-1, 3) if palette else None


def is_grey(palette: np.ndarray) -> bool:
    """Return whether all colours of a palette `(N, 3)` are grey."""
    return bool((palette == palette[:, :1]).all())


def refuse_unclear_palettes(name: str, paths: Sequence[ImageFile]) -> None:
    """Refuse masks whose palettes were sorted for each image alone, so that the indices mean nothing.

    Looks at up to 64 masks, evenly spaced. Only palettes with colours count, and in these only the indices in use.

    Args:
        name: the data set, for the message.
        paths: its mask files.

    Raises:
        KsegError: an index has one colour in a mask and another colour in another; or all masks hold 0 and 1, of which
            1 is black, and black is the background nearly everywhere.
    """
    palettes: dict[ImageFile, dict[int, str]] = {}
    for path in evenly_spaced(paths):
        with contextlib.suppress(KsegError):  # a file that cannot be read raises later, when it is needed
            palettes[path] = _colours_in_use(path)
    colours: dict[int, tuple[ImageFile, str]] = {}
    for path, palette in palettes.items():
        for index, colour in palette.items():
            first, seen = colours.setdefault(index, (path, colour))
            if seen != colour:
                raise _palette_error(name, f"index {index} is {seen} in {first} and {colour} in {path}", palettes)
    if colours.keys() == {0, 1} and _is_dark(colours[1][1]) and not _is_dark(colours[0][1]):
        raise _palette_error(name, f"index 0 is {colours[0][1]} and 1 is {colours[1][1]}", palettes)


def _colours_in_use(path: ImageFile) -> dict[int, str]:
    """Return the colour of each index that a mask holds; nothing if its palette has no colours but greys."""
    with file_errors(path):
        if is_npy(path):
            return {}
        with open_image(path) as picture:
            if isinstance(picture, BandImage) or (palette := read_palette(picture)) is None or is_grey(palette):
                return {}
            indices = np.unique(np.asarray(picture.getchannel("P") if picture.mode == "PA" else picture)).tolist()
            return {index: "#" + palette[index].tobytes().hex() for index in indices if index < len(palette)}


def _is_dark(colour: str) -> bool:
    return max(ImageColor.getrgb(colour)) <= _DARK


def _palette_error(name: str, found: str, palettes: Mapping[ImageFile, Mapping[int, str]]) -> KsegError:
    used = sorted({colour for palette in palettes.values() for colour in palette.values()})  # black comes first
    flag = " ".join(f"'{colour}'" for colour in used)
    return KsegError(
        f"{name}: the palettes of the masks are sorted in another order than the classes: {found}. If the colours are "
        f"the classes, list them in the order of the classes, the background first: --colours {flag}. If the indices "
        "are, save the masks without a palette."
    )
