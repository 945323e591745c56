"""The command line: `python -m kseg.convert`. Nothing but parsing, one call, and what it says."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from kseg.data import quiet_tensorflow
from kseg.errors import KsegError


def main(arguments: Sequence[str] | None = None) -> int:
    """Convert as the arguments say; see `run`."""
    import tyro

    def command(
        dataset: tyro.conf.Positional[str],
        destination: tyro.conf.Positional[Path],
        format: Literal["array_record", "tfrecord"] = "array_record",
        on_bad_example: Literal["error", "skip"] = "error",
        data_dir: Path | None = None,
        train_split: str | None = None,
        val_split: str | None = None,
        val_fraction: float = 0.2,
        seed: int = 0,
        bit_depth: Literal["auto", 8, 10, 12, 14, 16] = "auto",
        colours: Literal["auto"] | tuple[str, ...] = "auto",
    ) -> int:
        """Pack a data set into shards that TFDS reads: the same images and masks, bit for bit, in few files.

        Killed at any moment, the same command goes on, and gives the same bytes. Exit status: 0; 2 if something has to
        be put right; 130 after Ctrl-C.

        Args:
            dataset: What to convert, as for kseg train.
            destination: The folder to write; called <name>/1.0.0, TFDS finds it by its name too.
            format: array_record is read by place, as files are, so that training sees the same order; tfrecord is what
                tfds.load reads.
            on_bad_example: What to do about an image or mask that cannot be read. error: stop and name it; skip: read
                all once before, and leave those out.
            data_dir: As for kseg train, and so are the others.
        """
        return run(
            dataset,
            destination,
            shard_format=format,
            on_bad_example=on_bad_example,
            data_dir=data_dir,
            train_split=train_split,
            val_split=val_split,
            val_fraction=val_fraction,
            seed=seed,
            bit_depth=bit_depth,
            colours=colours,
        )

    arguments = sys.argv[1:] if arguments is None else arguments
    return tyro.cli(command, prog="python -m kseg.convert", args=arguments)


def run(dataset: str, destination: Path, **settings: Any) -> int:
    """Convert a data set, and say what it gave; see `kseg.data.conversion.convert.convert`.

    Returns:
        0; 2 if something has to be put right; 130 after Ctrl-C.
    """
    quiet_tensorflow()
    from kseg.data.conversion.convert import convert

    try:
        converted = convert(dataset, destination, **settings)
    except (KsegError, OSError) as error:
        print(f"kseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"kseg: The same command goes on with {destination}.", file=sys.stderr)
        return 130
    for fault in converted.faults:
        print(f"Left out: {fault}")
    for split, shards in converted.shards.items():
        megabytes = sum(shard.path.stat().st_size for shard in shards) / 1e6
        print(f"{split}: {shards[-1].stop} images, {megabytes:,.1f} MB; shards: {len(shards)}")
    print(f"Train:  python -m kseg.train --dataset {destination}")
    return 0
