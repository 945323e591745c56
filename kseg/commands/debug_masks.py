"""The command `kseg debug-masks`: the audit of the data set that `--dataset` names, as `kseg train` takes it."""

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from kseg.commands.audit import run
from kseg.commands.guard import guard
from kseg.config.audit import AuditConfig

SUMMARY = "The same as audit, with the data set as train takes it: --dataset."


def main(arguments: Sequence[str] | None = None, prog: str = "kseg debug-masks") -> int:
    """Audit the data set that the arguments name; see `kseg audit --help`.

    Returns:
        0; 1 if training would fail or learn something wrong; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: run(tyro.cli(Annotated[AuditConfig, tyro.conf.arg(name="")], prog=prog, args=arguments)))
