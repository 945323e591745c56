"""What is wrong with a data set: python scripts/debug_masks.py --dataset path/to/folder

The same as `kseg audit path/to/folder`, with the same exit status.
"""

import sys
from pathlib import Path
from typing import Literal

import tyro

from kseg.commands.audit import run


def main(
    dataset: str,
    data_dir: Path | None = None,
    foreground: Literal["auto", "any", "classes"] | tuple[int, ...] = "auto",
    colours: Literal["auto"] | tuple[str, ...] = "auto",
) -> int:
    """Audit a data set; see `kseg audit --help`.

    Args:
        dataset: A folder with images and masks or annotations, the built-in shapes or shapes/rare, or a TFDS name.
        data_dir: Where TFDS keeps its data sets; None: ~/tensorflow_datasets.
        foreground: Mask values that are foreground, as for kseg train.
        colours: Colours of the masks in the order of the classes, as for kseg train.
    """
    return run(dataset, data_dir=data_dir, foreground=foreground, colours=colours)


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
