"""What is in the masks of a data set: python scripts/debug_masks.py --dataset path/to/folder

Prints how many masks are empty, the share of foreground, the values and sizes found, and a verdict. Exit
status: 0; 1 if no mask has any foreground; 2 if the data set cannot be read.
"""

import sys
from pathlib import Path
from typing import Literal

import tyro

from kseg.data import open_sources, quiet_tensorflow
from kseg.data.audit import audit_masks
from kseg.errors import KsegError


def main(
    dataset: str,
    data_dir: Path | None = None,
    foreground: Literal["auto", "any", "classes"] | tuple[int, ...] = "auto",
    colours: Literal["auto"] | tuple[str, ...] = "auto",
) -> int:
    """Say what is in the masks of a data set; exit status 1 if no mask has any foreground.

    Args:
        dataset: A folder with images/ and masks/, the built-in shapes or shapes/rare, or a TFDS name.
        data_dir: Where TFDS keeps its data sets; None: ~/tensorflow_datasets.
        foreground: Mask values that are foreground, as for kseg train.
        colours: Colours of the masks in the order of the classes, as for kseg train.
    """
    quiet_tensorflow()
    try:
        sources = open_sources(dataset, data_dir=data_dir, colours=colours)
        audits = [audit_masks(source, foreground) for source in sources]
    except KsegError as error:
        print(f"kseg: {error}", file=sys.stderr)
        return 2
    print(*audits, sep="\n\n")
    return 0 if any(audit.has_foreground for audit in audits) else 1


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
