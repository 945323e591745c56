"""The command line: `python -m kseg.train`. Nothing but parsing and one call."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.config.base import read_yaml
from kseg.config.train import TrainConfig
from kseg.data import quiet_tensorflow
from kseg.errors import KsegError


class Arguments(TrainConfig):
    """Train a segmentation model, and see every epoch how good its masks are.

    Settings come from --checkpoint or --resume, then --config, then flags; the later ones win. SIGTERM and Ctrl-C
    finish the batch and write a checkpoint.
    """

    config: Path | None = Field(None, description="A YAML file of settings, by the names of these flags.")
    checkpoint: Path | None = Field(
        None, description="A run's last.keras or best.keras to go on from, with its settings."
    )
    resume: bool = Field(
        False,
        description="Go on with the run in --run-dir, or start it there; without --run-dir: the newest in runs/.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say.

    Returns:
        0 if it worked, 2 if something has to be put right, 3 if the run collapsed, 130 after Ctrl-C.

    Raises:
        SystemExit: 143, after SIGTERM.
    """
    quiet_tensorflow()
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        given = tyro.cli(
            Annotated[Arguments, tyro.conf.arg(name="")],
            prog="python -m kseg.train",
            args=arguments,
            default=_defaults(arguments),
        )
        config = TrainConfig(**given.model_dump(exclude={"config", "checkpoint", "resume"}))

        from kseg.runs.training import train

        train(config, given.checkpoint, resume=given.resume)
    except KsegError as error:
        print(f"kseg: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0


def _defaults(arguments: Sequence[str]) -> Arguments:
    """The settings before the flags: those of the run to go on with, and of the YAML file that the flags name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("--config", "--checkpoint", "--run-dir"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--resume", action="store_true")
    named, _ = parser.parse_known_args([argument.replace("run_dir", "run-dir") for argument in arguments])
    given = read_yaml(named.config) if named.config else {}
    before = {}
    if named.resume:
        from kseg.runs.directory import newest_run, settings_in

        if named.checkpoint:
            raise KsegError("--resume finds the checkpoint itself; give either that or --checkpoint.")
        run_dir = named.run_dir or given.get("run_dir") or newest_run()
        before = settings_in(Path(run_dir)) | {"run_dir": run_dir}
    elif named.checkpoint:
        from kseg.callbacks import read_state

        # Where to write is not for a file to say.
        before = read_state(named.checkpoint).settings | {"run_dir": None}
    return Arguments(**before | given)
