"""Report what is wrong with a data set: python scripts/debug_masks.py --dataset path/to/folder

A shim for `kseg debug-masks`.
"""

import sys

from kseg.commands.debug_masks import main

if __name__ == "__main__":
    sys.exit(main(prog="scripts/debug_masks.py"))
