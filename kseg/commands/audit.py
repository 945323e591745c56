"""The command line: `python -m kseg.audit`. Nothing but parsing, one call, and what it gave written to files."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kseg.data import quiet_tensorflow
from kseg.errors import KsegError


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit as the arguments say; see `run`."""
    import tyro

    def command(
        dataset: tyro.conf.Positional[str],
        data_dir: Path | None = None,
        foreground: Literal["auto", "any", "classes"] | tuple[int, ...] = "auto",
        colours: Literal["auto"] | tuple[str, ...] = "auto",
        output: Path | None = None,
        workers: int | None = None,
        show_augment: tuple[Literal["light", "medium", "heavy"], ...] | None = None,
    ) -> int:
        """Say what is wrong with a data set, in words, as JSON, and on a page of pictures.

        Exit status: 0; 1 if training would fail or learn something wrong; 2 if nothing can be read.

        Args:
            dataset: A folder with images and masks or annotations, the built-in shapes or shapes/rare, or a TFDS name.
            data_dir: Where TFDS keeps its data sets; None: ~/tensorflow_datasets.
            foreground: Mask values that are foreground, as for kseg train.
            colours: Colours of the masks in the order of the classes, as for kseg train.
            output: Where to write audit.json and audit.html; None: ./audit-<name of the data set>.
            workers: How many processes read a folder; None: one for each core.
            show_augment: Instead of the audit, which reads everything, write augment.html, in seconds: some images with
                their masks, and what these presets of kseg train --augment make of them. Without names: all three.
        """
        if show_augment is not None:
            return show(dataset, show_augment, data_dir=data_dir, foreground=foreground, colours=colours, output=output)
        return run(dataset, data_dir=data_dir, foreground=foreground, colours=colours, output=output, workers=workers)

    arguments = sys.argv[1:] if arguments is None else arguments
    return tyro.cli(command, prog="python -m kseg.audit", args=arguments)


def run(
    dataset: str,
    *,
    data_dir: Path | None = None,
    foreground: Sequence[int] | Literal["auto", "any", "classes"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    output: Path | None = None,
    workers: int | None = None,
) -> int:
    """Audit a data set, print what was found, and write `audit.json` and `audit.html`.

    Returns:
        0; 1 with a finding of severity error; 2 if nothing can be read; 130 after Ctrl-C.
    """
    quiet_tensorflow()
    from kseg.audit import audit
    from kseg.audit.page import page

    try:
        output = output_directory(dataset, output)
        found = audit(dataset, data_dir=data_dir, foreground=foreground, colours=colours, workers=workers)
        output.mkdir(parents=True, exist_ok=True)
        (output / "audit.json").write_text(found.as_json(), encoding="utf-8")
        (output / "audit.html").write_text(page(found), encoding="utf-8")
    except (KsegError, OSError) as error:
        print(f"kseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(found)
    print(f"\n{len(found.looks) / found.seconds:.0f} pairs a second. The pictures: {output / 'audit.html'}")
    return found.status


def show(
    dataset: str,
    presets: Sequence[Literal["light", "medium", "heavy"]] = (),
    *,
    data_dir: Path | None = None,
    foreground: Sequence[int] | Literal["auto", "any", "classes"] = "auto",
    colours: Sequence[str] | Literal["auto"] = "auto",
    output: Path | None = None,
) -> int:
    """Write `augment.html`: what these presets, or all, make of some of the images.

    Returns:
        0; 2 if nothing can be read; 130 after Ctrl-C.
    """
    from kseg.audit.augmented import augmented_page

    try:
        output = output_directory(dataset, output)
        presets = presets or ("light", "medium", "heavy")
        drawn = augmented_page(dataset, presets, data_dir=data_dir, foreground=foreground, colours=colours)
        output.mkdir(parents=True, exist_ok=True)
        (output / "augment.html").write_text(drawn, encoding="utf-8")
    except (KsegError, OSError) as error:
        print(f"kseg: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print(f"The pictures: {output / 'augment.html'}")
    return 0


def output_directory(dataset: str, output: Path | None) -> Path:
    """Where an audit is written: as asked for, or `audit-<name>` here.

    Raises:
        KsegError: that lies in the data set's folder, where nothing is ever written.
    """
    folder = Path(dataset)
    name = folder.resolve().name if folder.is_dir() else dataset.replace("/", "-")
    output = output or Path(f"audit-{name}")
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise KsegError(f"{output} lies in the data set {dataset}, where kseg writes nothing. Give another --output.")
    return output
