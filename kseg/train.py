"""The command line: `python -m kseg.train`. Nothing but parsing and one call."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.config import TrainConfig, read_yaml
from kseg.data import quiet_tensorflow
from kseg.errors import KsegError


class Arguments(TrainConfig):
    """Train a segmentation model, and see every epoch how good its masks are.

    Settings come from --checkpoint, then --config, then flags; the later ones win.
    """

    config: Path | None = Field(None, description="A YAML file of settings, by the names of these flags.")
    checkpoint: Path | None = Field(
        None, description="A run's last.keras or best.keras to go on from, with its settings."
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the arguments say.

    Returns:
        0 if it worked, 2 if something has to be put right, 3 if the run collapsed, 130 after Ctrl-C.
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
        config = TrainConfig(**given.model_dump(exclude={"config", "checkpoint"}))

        from kseg.training import train

        train(config, given.checkpoint)
    except KsegError as error:
        print(f"kseg: {error}", file=sys.stderr)
        return error.status
    except KeyboardInterrupt:
        return 130
    return 0


def _defaults(arguments: Sequence[str]) -> Arguments:
    """The settings before the flags: those of the checkpoint and of the YAML file that the flags name."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--checkpoint", type=Path)
    named, _ = parser.parse_known_args(arguments)
    settings = {}
    if named.checkpoint:
        from kseg.callbacks import read_state

        settings |= read_state(named.checkpoint).settings
    if named.config:
        settings |= read_yaml(named.config)
    return Arguments(**settings)


if __name__ == "__main__":
    sys.exit(main())
