"""nnU-Net's layout: `imagesTr/<case>_0000.png`, `labelsTr/<case>.png`, and `dataset.json` with the names of the labels.

Source: "Dataset format" in nnU-Net's documentation. The four digits number the files of a case, one for each channel;
one file may also hold several channels, as an RGB picture does. The test images, `imagesTs`, are not read: they are not
for validation.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from kseg.data.layouts.pairing import Layout, SplitPairs, files_by_stem, match_stems
from kseg.data.layouts.paths import files_in
from kseg.data.layouts.text_files import as_number, read_json
from kseg.errors import KsegError

_CHANNEL = re.compile(r"_\d{4}$")


def is_nnunet(folder: Path) -> bool:
    """Return whether a folder has images and labels in nnU-Net's folders."""
    return (folder / "imagesTr").is_dir() and (folder / "labelsTr").is_dir()


def read_nnunet(folder: Path) -> Layout:
    """Return the cases of a data set of nnU-Net; it has no validation split.

    Raises:
        KsegError: a case has several files, or no label file; a label file has no case; `dataset.json` is faulty.
    """
    images, labels = folder / "imagesTr", folder / "labelsTr"
    image_of: dict[str, Path] = {}
    for name, path in files_by_stem(files_in(images), images).items():
        case = _CHANNEL.sub("", name)
        if case in image_of:
            raise KsegError(
                f"{image_of[case]} and {path} are channels of one case; expected one file a case. Save its channels in "
                "one TIFF or NPY file."
            )
        image_of[case] = path
    pairs = match_stems(image_of, files_by_stem(files_in(labels), labels), images, labels, "label file")
    return Layout("nnU-Net, imagesTr/ and labelsTr/", SplitPairs(str(images), pairs), None, _names(folder))


def _names(folder: Path) -> Mapping[int, str]:
    """Return the name of each label from 1 on; none without a `dataset.json`."""
    path = folder / "dataset.json"
    if not path.is_file():
        return {}
    content = read_json(path)
    labels = content.get("labels") if isinstance(content, dict) else None
    if not isinstance(labels, dict):
        raise KsegError(f'{path} has no labels; expected such as {{"background": 0, "cell": 1}} under \'labels\'.')
    number_of = {name: as_number(number) for name, number in labels.items()}
    if labels and all(name.isdecimal() for name in labels):  # the first version of nnU-Net: {"0": "background"}
        number_of = {str(name): as_number(number) for number, name in labels.items()}
    ignored = number_of.pop("ignore", 255)
    if ignored != 255:
        raise KsegError(
            f"{path}: the label ignore is {ignored!r:.40}; expected 255. Write 255 for those pixels, and in this file."
        )
    name_of = {number: name for name, number in number_of.items() if type(number) is int}
    if sorted(name_of) != list(range(len(number_of))) or not 2 <= len(name_of) <= 255:
        raise KsegError(
            f"{path}: the labels are {labels!r:.200}; expected a number for each, 0 for the background and 1, 2, … for "
            "the others. Regions of several labels are not read; see masks/<label>/ for labels that overlap."
        )
    return {number: name_of[number] for number in range(1, len(name_of))}
