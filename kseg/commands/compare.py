"""The command `kseg compare`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.config.base import Settings
from kseg.errors import KsegError

SUMMARY = "Compare runs that were evaluated on the same images: the difference of F1, and whether it is certain."


class Arguments(Settings):
    """Compare runs that were evaluated on the same images: the difference of F1, and whether it is certain.

    Exit status: 0; 2 if something has to be put right.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]] = Field(
        description="Two or more runs, or folders that kseg evaluate wrote; all are compared with the first."
    )


def main(arguments: Sequence[str] | None = None, prog: str = "kseg compare") -> int:
    """Compare as the arguments say.

    Returns:
        0; 2 if something has to be put right.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _compare(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _compare(given: Arguments) -> int:
    from kseg.inference.compare import describe, read_scores

    if len(given.runs) < 2:
        raise KsegError("There is nothing to compare; expected two or more runs.")
    print(describe([read_scores(run) for run in given.runs]))
    return 0
