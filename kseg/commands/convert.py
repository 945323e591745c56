"""The command `kseg convert`, also `python -m kseg.convert`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.config.convert import ConvertConfig
from kseg.data import quiet_tensorflow

SUMMARY = "Pack a data set into a few large files that TFDS reads: the same images and masks, bit for bit."


class Arguments(ConvertConfig):
    """Pack a data set into a few large files that TFDS reads: the same images and masks, bit for bit.

    If it is killed, the same command continues, and gives the same bytes. Exit status: 0; 2 if something has to be put
    right; 130 after Ctrl-C.
    """

    dataset: tyro.conf.Positional[str] = Field(description="What to convert, as for kseg train.")
    destination: tyro.conf.Positional[Path] = Field(
        description="The folder to write; if it is called <name>/1.0.0, TFDS also finds it by its name."
    )


def main(arguments: Sequence[str] | None = None, prog: str = "python -m kseg.convert") -> int:
    """Convert as the arguments say.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: _convert(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def _convert(given: Arguments) -> int:
    quiet_tensorflow()
    from kseg.data.conversion.convert import convert

    try:
        converted = convert(
            given.dataset,
            given.destination,
            shard_format=given.format,
            on_bad_example=given.on_bad_example,
            **given.opening(),
        )
    except KeyboardInterrupt:
        print(f"kseg: The same command continues with {given.destination}.", file=sys.stderr)
        raise
    for fault in converted.faults:
        print(f"Left out: {fault}")
    for split, shards in converted.shards.items():
        megabytes = sum(shard.path.stat().st_size for shard in shards) / 1e6
        print(f"{split}: {shards[-1].stop} images, {megabytes:,.1f} MB; shards: {len(shards)}")
    print(f"Train:  python -m kseg.train --dataset {given.destination}")
    return 0
