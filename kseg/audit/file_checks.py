"""Checks of files and their headers: missing, unreadable, wrong extension, turned by EXIF, different sizes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

from kseg.audit.inspection import Header, InspectedFile, InspectedPair
from kseg.data.files.formats import ON_ITS_SIDE
from kseg.data.files.pair import MaskExif
from kseg.findings import Finding, Severity

# Pillow's formats by extension. MPO is a JPEG followed by more pictures.
_FORMATS = {
    ".bmp": {"BMP"},
    ".gif": {"GIF"},
    ".jfif": {"JPEG"},
    ".jpeg": {"JPEG", "MPO"},
    ".jpg": {"JPEG", "MPO"},
    ".png": {"PNG"},
    ".tif": {"TIFF"},
    ".tiff": {"TIFF"},
    ".webp": {"WEBP"},
}
_CHANNELS = {"1": 1, "L": 1, "I": 1, "F": 1, "I;16": 1, "LA": 2, "PA": 4, "RGBA": 4, "CMYK": 4}  # else 3


def findings_of(
    cause: str, severity: Severity, evidence: str, files: Sequence[tuple[str, str]], effect: str, remedy: str
) -> list[Finding]:
    """Return the finding about these files, each with what was seen in it; nothing if there are none."""
    if not files:
        return []
    names, details = zip(*files, strict=True)
    return [Finding(cause, severity, evidence, remedy, effect, names, details)]


def check_files(pairs: Sequence[InspectedPair], mask_exif: MaskExif = "own") -> list[Finding]:
    """Run all checks of files and their headers.

    Args:
        pairs: the files.
        mask_exif: how they were read; see `kseg.data.open_sources`.
    """
    return [
        *missing_files(pairs),
        *same_stem(pairs),
        *unreadable_files(pairs),
        *wrong_extensions(pairs),
        *(exif_rotation(pairs) if mask_exif == "own" else ()),
        *size_mismatch(pairs),
        *mixed_channels(pairs),
        *mixed_depths(pairs),
    ]


def missing_files(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find images without a mask and masks without an image."""
    effect = "kseg train stops at them; a tool that pairs by position trains every later image on another's mask."
    return [
        *findings_of(
            "missing_masks",
            "error",
            "images without a mask",
            [(pair.image.name, "") for pair in pairs if pair.image and not pair.mask],
            effect,
            "Add a mask with the same stem (an empty one if there is nothing in the image), or remove the image.",
        ),
        *findings_of(
            "missing_images",
            "error",
            "masks without an image",
            [(pair.mask.name, "") for pair in pairs if pair.mask and not pair.image],
            effect,
            "Add the image with the same stem, or remove the mask.",
        ),
    ]


def same_stem(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find files that share their stem with another file."""
    return findings_of(
        "same_stem",
        "error",
        "files with the same stem as another file",
        [(rival, "") for pair in pairs for rival in pair.rivals],
        "kseg cannot tell which of the two belongs to the pair: kseg train stops.",
        "Keep one file per stem.",
    )


def unreadable_files(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find files that cannot be decoded, or not as an image or a mask."""
    images = [(pair.image.name, pair.image.problem) for pair in pairs if pair.image and pair.image.problem]
    masks = [(pair.mask.name, pair.mask.problem) for pair in pairs if pair.mask and pair.mask.problem]
    return findings_of(
        "unreadable",
        "error",
        "files that cannot be read",
        images + masks,
        "A run stops at the first of them.",
        "Download or export them again; a damaged file cannot be repaired. Until then, remove their pairs.",
    )


def wrong_extensions(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find files whose extension names another format."""
    files = []
    for file in _files(pairs):
        suffix = PurePath(file.name).suffix.lower()
        if file.header and suffix in _FORMATS and file.header.format not in _FORMATS[suffix]:
            files.append((file.name, f"is {file.header.format}"))
    return findings_of(
        "mislabelled",
        "warning",
        "files whose extension names another format",
        files,
        "kseg reads them by their content, other tools fail. A mask that is really a JPEG has lost its exact values.",
        "Give them the right extension, and export masks as PNG.",
    )


def exif_rotation(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find pairs of which EXIF turns only one file, unless the sizes show that they fit as they are displayed."""
    files, sure = [], False
    for pair in pairs:
        shown, stored = pair.image_statistics, pair.mask_statistics
        image, mask = _orientation(pair.image), _orientation(pair.mask)
        if image == mask or not (shown and stored):
            continue
        height, width = shown.size
        quarter = (image in ON_ITS_SIDE) != (mask in ON_ITS_SIDE) and height != width
        if not (quarter and shown.size == stored.size):
            files.append((pair.name, f"EXIF orientation {image}, its mask {mask}"))
            sure = sure or quarter
    return findings_of(
        "exif_rotation",
        "error" if sure else "warning",
        "images that an EXIF tag turns, but not their masks, or the reverse",
        files,
        "kseg turns each file by its own tag, as viewers do. A mask that was drawn on the stored pixels then lies on "
        "the wrong pixels.",
        "Look at some of them. --mask-exif image turns masks as their images; if only some need it, write the turned "
        "pixels of those images and drop the tag (PIL.ImageOps.exif_transpose).",
    )


def size_mismatch(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find images whose mask has another size."""
    turned = {name for finding in exif_rotation(pairs) for name in finding.files}
    sizes = [(pair.name, pair.image_statistics, pair.mask_statistics) for pair in pairs if pair.name not in turned]
    return findings_of(
        "size_mismatch",
        "error",
        "images of another size (width x height) than their masks",
        [
            (name, f"{_format_size(image.size)}, its mask {_format_size(mask.size)}")
            for name, image, mask in sizes
            if image and mask and image.size != mask.size
        ],
        "kseg train stops at them; resized to fit, a mask of another crop or turn teaches the wrong pixels.",
        "Make the mask again from the same version of the image, or resize it without interpolation (nearest).",
    )


def mixed_channels(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find images with another number of channels than most."""

    def channels(header: Header) -> int:
        return _CHANNELS.get(header.mode, 1 if header.mode.startswith("I;") else 3)

    return findings_of(
        "mixed_channels",
        "warning",
        "images with another number of channels than most",
        _different_from_most(pairs, channels, "channels"),
        "All become three channels: grey is repeated, alpha dropped. A model can tell the two kinds apart by colour, "
        "and does worse on the rarer one.",
        "If they have another source, make sure that training and validation have both; or convert all to one kind.",
    )


def mixed_depths(pairs: Sequence[InspectedPair]) -> list[Finding]:
    """Find images with another number of bits than most."""
    return findings_of(
        "mixed_depths",
        "warning",
        "images with another number of bits per channel than most",
        _different_from_most(pairs, lambda header: header.bits, "bits"),
        "The same object has other values in them: 16 bits cut to 8 are white or black, 1 bit has no greys.",
        "Scale all of them to 8 bits, by one rule for the whole set.",
    )


def _different_from_most(
    pairs: Sequence[InspectedPair], of: Callable[[Header], int], unit: str
) -> list[tuple[str, str]]:
    numbers = [(pair.image.name, of(pair.image.header)) for pair in pairs if pair.image and pair.image.header]
    if not numbers:
        return []
    (usual, _), *_ = Counter(number for _, number in numbers).most_common()
    return [(name, f"{number} {unit}, most {usual}") for name, number in numbers if number != usual]


def _files(pairs: Sequence[InspectedPair]) -> Iterator[InspectedFile]:
    for pair in pairs:
        yield from pair.files


def _orientation(file: InspectedFile | None) -> int:
    return file.header.orientation if file and file.header else 1


def _format_size(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
