"""What is wrong with files: missing, unreadable, mislabelled, turned, of two sizes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from kseg.audit.findings import Finding, found
from kseg.audit.inspection import Header, Look

# Pillow's formats by extension. MPO is a JPEG with further pictures behind it.
_FORMATS = {
    ".bmp": {"BMP"},
    ".gif": {"GIF"},
    ".jpeg": {"JPEG", "MPO"},
    ".jpg": {"JPEG", "MPO"},
    ".png": {"PNG"},
    ".tif": {"TIFF"},
    ".tiff": {"TIFF"},
    ".webp": {"WEBP"},
}
_CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "I;16": 1, "LA": 2, "PA": 4, "RGBA": 4, "CMYK": 4}  # else 3
_ON_ITS_SIDE = range(5, 9)  # EXIF orientations


def check_files(looks: Sequence[Look]) -> list[Finding]:
    """Everything that files, and their headers, show."""
    return [
        *missing(looks),
        *ambiguous(looks),
        *unreadable(looks),
        *mislabelled(looks),
        *turned(looks),
        *size_mismatch(looks),
        *mixed_channels(looks),
        *mixed_depths(looks),
    ]


def missing(looks: Sequence[Look]) -> list[Finding]:
    """Images without a mask and masks without an image."""
    effect = "kseg train stops at them; what pairs by position trains every later image on another's mask."
    return [
        *found(
            "missing_mask",
            "error",
            "images without a mask",
            [(look.image_name, "") for look in looks if not look.mask_name],
            effect,
            "Add a mask of the same stem (an empty one if there is nothing in the image), or take the image out.",
        ),
        *found(
            "missing_image",
            "error",
            "masks without an image",
            [(look.mask_name, "") for look in looks if not look.image_name],
            effect,
            "Add the image of the same stem, or take the mask out.",
        ),
    ]


def ambiguous(looks: Sequence[Look]) -> list[Finding]:
    """Files of one stem, of which one too many."""
    return found(
        "same_stem",
        "error",
        "files with the stem of another file beside them",
        [(rival, "") for look in looks for rival in look.rivals],
        "Which of the two belongs to the pair cannot be told: kseg train stops.",
        "Keep one file for each stem.",
    )


def unreadable(looks: Sequence[Look]) -> list[Finding]:
    """Files that cannot be decoded, or not as an image or a mask."""
    files = [(look.image_name, look.image_problem) for look in looks if look.image_problem]
    files += [(look.mask_name, look.mask_problem) for look in looks if look.mask_problem]
    return found(
        "unreadable",
        "error",
        "files that cannot be read",
        files,
        "A run stops when it comes to the first of them.",
        "Fetch or export them again: damaged or cut files cannot be mended. Take their pairs out until then.",
    )


def mislabelled(looks: Sequence[Look]) -> list[Finding]:
    """Files whose extension names another format than they have."""
    files = []
    for name, header in _headers(looks):
        suffix = PurePath(name).suffix.lower()
        if suffix in _FORMATS and header.format not in _FORMATS[suffix]:
            files.append((name, f"is {header.format}"))
    return found(
        "mislabelled",
        "warning",
        "files of another format than their extension names",
        files,
        "kseg reads them by their content, other tools fail. A mask that is really JPEG has lost its exact values.",
        "Give them the right extension, and export masks as PNG.",
    )


def turned(looks: Sequence[Look]) -> list[Finding]:
    """Pairs of which EXIF turns one side only, unless the sizes say that the mask fits the image as it is shown."""
    files, sure = [], False
    for look in looks:
        image, mask = _orientation(look.image_header), _orientation(look.mask_header)
        if image == mask or not look.image or not look.mask:
            continue
        height, width = look.image.size
        quarter = (image in _ON_ITS_SIDE) != (mask in _ON_ITS_SIDE) and height != width
        if not (quarter and look.image.size == look.mask.size):
            files.append((look.image_name, f"EXIF orientation {image}, its mask {mask}"))
            sure = sure or quarter
    return found(
        "exif_rotation",
        "error" if sure else "warning",
        "images that EXIF turns, and not their masks, or the other way",
        files,
        "kseg shows each file as its own tag says, as viewers do. A mask that was drawn on the stored pixels then lies "
        "on other pixels than those it was drawn on.",
        "Write the turned pixels and drop the tag (PIL.ImageOps.exif_transpose), then look at image and mask together.",
    )


def size_mismatch(looks: Sequence[Look]) -> list[Finding]:
    """Pairs of an image and a mask of two sizes."""
    turned_files = {name for finding in turned(looks) for name in finding.files}
    files = [
        (look.image_name, f"{_by(look.image.size)}, its mask {_by(look.mask.size)}")
        for look in looks
        if look.image and look.mask and look.image.size != look.mask.size and look.image_name not in turned_files
    ]
    return found(
        "size_mismatch",
        "error",
        "images of another size (width x height) than their masks",
        files,
        "kseg train stops at them; resized to fit, a mask of another crop or turn teaches the wrong pixels.",
        "Make the mask again from the same version of the image, or resize it without interpolation (nearest).",
    )


def mixed_channels(looks: Sequence[Look]) -> list[Finding]:
    """Images of another number of channels than most."""

    def channels(header: Header) -> int:
        return _CHANNELS.get(header.mode, 1 if header.mode.startswith("I;") else 3)

    return found(
        "mixed_channels",
        "warning",
        "images with another number of channels than most",
        _unlike_most(looks, channels, "channels"),
        "All become three channels: grey is repeated, alpha dropped. A model can tell the two kinds apart by colour, "
        "and does worse on the rarer one.",
        "If they are of another source, see that training and validation hold both; or convert all to one kind.",
    )


def mixed_depths(looks: Sequence[Look]) -> list[Finding]:
    """Images of another number of bits than most."""
    return found(
        "mixed_depths",
        "warning",
        "images with another number of bits a channel than most",
        _unlike_most(looks, lambda header: header.bits, "bits"),
        "The same tissue has other values in them: 16 bits cut to 8 are white or black, 1 bit has no greys.",
        "Scale all of them to 8 bits, by one rule for the whole set.",
    )


def _unlike_most(looks: Sequence[Look], of: Callable[[Header], int], unit: str) -> list[tuple[str, str]]:
    headers = [(look.image_name, of(look.image_header)) for look in looks if look.image_header]
    if not headers:
        return []
    (usual, _), *_ = Counter(number for _, number in headers).most_common()
    return [(name, f"{number} {unit}, most {usual}") for name, number in headers if number != usual]


def _headers(looks: Sequence[Look]) -> Iterator[tuple[str, Header]]:
    for look in looks:
        if look.image_header:
            yield look.image_name, look.image_header
        if look.mask_header:
            yield look.mask_name, look.mask_header


def _orientation(header: Header | None) -> int:
    return header.orientation if header else 1


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
