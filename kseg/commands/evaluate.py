"""The command `kseg evaluate`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.evaluate import EvaluateConfig

SUMMARY = "Score a trained model at the images' own size, beside what a trivial answer would score."

_STYLE: dict[str, Any] = {"config": (tyro.conf.OmitArgPrefixes,)}


@dataclass(frozen=True)
class _Model:
    model: tyro.conf.Positional[Path]
    dataset: str | None = None


class Arguments(EvaluateConfig):
    """Score a trained model at the images' own size, beside what a trivial answer would score.

    Without --dataset: the one that it was trained on, and its validation images. Writes evaluation.json, images.csv and
    evaluation.html. Exit status: 0; 2 if something has to be put right; 130 after Ctrl-C.
    """

    model: tyro.conf.Positional[Path] = Field(description="A run's best.keras, or another .keras file.")


def main(arguments: Sequence[str] | None = None, prog: str = "kseg evaluate") -> int:
    """Evaluate as the arguments say.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _evaluate(parse(arguments, prog)))


def parse(arguments: Sequence[str], prog: str) -> Arguments:
    """Return what the arguments say; where its data set is not named, the settings of the run that made the model.

    Raises:
        KsegError: no data set is named, and the model does not come from a run that was started here.
        SystemExit: after `--help`, or a flag that is not allowed.
    """
    if not {"-h", "--help"} & set(arguments):
        named, _ = tyro.cli(_Model, args=arguments, prog=prog, return_unknown_args=True, add_help=False, **_STYLE)
        if named.dataset is None:
            arguments = [*_data_of_run(named.model), *arguments]
    return tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments, **_STYLE)


def _data_of_run(model: Path) -> list[str]:
    """Return the flags that name the data set of a model's run, and its splits."""
    from kseg.runs.places import data_of_model

    given = {name: value for name, value in data_of_model(model).items() if value is not None}
    return [text for name, value in given.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def _evaluate(given: Arguments) -> int:
    from kseg.backend import keep_compiled_programs

    prepare_for_keras()
    from kseg.inference.evaluate import evaluate
    from kseg.inference.evaluation_files import describe, write_files
    from kseg.inference.evaluation_page import evaluation_page

    folder = given.out or given.model.parent / "evaluation"
    with keep_compiled_programs():
        evaluation = evaluate(given.model, given)
    write_files(evaluation, folder)
    page = evaluation_page(str(given.model), evaluation, folder / "evaluation.png")
    (folder / "evaluation.html").write_text(page, encoding="utf-8", errors="backslashreplace")
    print(describe(evaluation))
    print(f"\nBy image: {folder / 'images.csv'}; the worst ones and curves: {folder / 'evaluation.html'}")
    return 0
