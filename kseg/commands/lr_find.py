"""The command `kseg lr-find`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.train import FitOptions
from kseg.errors import KsegError

SUMMARY = "Suggest a learning rate: train some steps with a growing one, and draw the loss."


class Arguments(FitOptions):
    """Suggest a learning rate: train some steps with a growing one, and draw the loss.

    Takes the options of kseg train that decide data, model and optimizer. Leaves nothing but the picture. Exit status:
    0; 2 if something has to be put right; 130 after Ctrl-C.
    """

    lowest: float = Field(1e-6, gt=0, description="Learning rate of the first step.")
    highest: float = Field(1.0, gt=0, description="Learning rate of the last step, unless the loss diverges before.")
    steps: int = Field(100, ge=20, description="Number of steps.")
    out: Path = Field(Path("lr-find.png"), description="The picture, a PNG: loss against learning rate.")


def main(arguments: Sequence[str] | None = None, prog: str = "kseg lr-find") -> int:
    """Find a learning rate as the arguments say.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    given = Annotated[Arguments, tyro.conf.arg(name="")]
    return guard(lambda: _find(tyro.cli(given, prog=prog, args=arguments)))


def _find(given: Arguments) -> int:
    from kseg.backend import keep_compiled_programs

    if given.out.suffix.lower() != ".png" or given.out.is_dir():
        raise KsegError(f"out: {given.out} is not allowed; expected the name of a picture, which ends in .png.")
    prepare_for_keras()
    from kseg.keras_private import leave_tensorflow_to_others
    from kseg.runs.learning_rate_test import find_learning_rate

    leave_tensorflow_to_others()
    with keep_compiled_programs():
        found = find_learning_rate(given, lowest=given.lowest, highest=given.highest, steps=given.steps)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    found.save(given.out)
    print(
        f"The loss fell most steeply at a learning rate of {found.suggestion:.2g}, and was lowest at "
        f"{found.lowest:.2g}, after {len(found.losses)} steps. See {given.out}"
    )
    print(f"Train:  kseg train … --lr {found.suggestion:.2g}")
    return 0
