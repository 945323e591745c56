"""Report what is wrong with a data set: python scripts/debug_masks.py --dataset path/to/folder

The same as `kseg audit path/to/folder`, with the same options and exit status.
"""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from kseg.commands.audit import run
from kseg.commands.guard import guard
from kseg.config.audit import AuditConfig


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit the data set that the arguments name; see `kseg audit --help`."""
    return guard(lambda: run(tyro.cli(Annotated[AuditConfig, tyro.conf.arg(name="")], args=arguments)))


if __name__ == "__main__":
    sys.exit(main())
