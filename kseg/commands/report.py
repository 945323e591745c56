"""The command `kseg report`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.base import Settings

SUMMARY = "Make the page of a run again, with its best model evaluated: curves, scores, the worst images."


class Arguments(Settings):
    """Make the page of a run again, with its best model evaluated: curves, scores, the worst images.

    Also of a run that was interrupted. Exit status: 0; 2 if something has to be put right; 130 after Ctrl-C.
    """

    run: tyro.conf.Positional[Path] = Field(description="The folder of the run.")
    evaluate: bool = Field(True, description="Evaluate its best model on its validation images, at their own size.")


def main(arguments: Sequence[str] | None = None, prog: str = "kseg report") -> int:
    """Write the page as the arguments say.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _report(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _report(given: Arguments) -> int:
    from kseg.backend import keep_compiled_programs

    prepare_for_keras()
    from kseg.runs.directory import RunDirectory
    from kseg.runs.report import evaluate_run, write_report

    run = RunDirectory(given.run)
    with keep_compiled_programs():
        evaluation = evaluate_run(run) if given.evaluate and run.best_or_last.exists() else None
    write_report(run, evaluation)
    print(f"The page: {run.report}")
    return 0
