"""The command `kseg audit`, also `python -m kseg.audit`."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro
from pydantic import Field

from kseg.commands.guard import guard
from kseg.config.audit import AuditConfig
from kseg.data import quiet_tensorflow
from kseg.errors import KsegError

SUMMARY = "Report what is wrong with a data set, in words, as JSON, and on a page of pictures."


class Arguments(AuditConfig):
    """Report what is wrong with a data set, in words, as JSON, and on a page of pictures.

    Exit status: 0; 1 if training would fail or learn something wrong; 2 if nothing can be read; 130 after Ctrl-C.
    """

    dataset: tyro.conf.Positional[str] = Field(description="What to audit, as for kseg train.")


def main(arguments: Sequence[str] | None = None, prog: str = "python -m kseg.audit") -> int:
    """Audit as the arguments say.

    Returns:
        0; 1 if there is an error among the findings; 2 if nothing can be read; 130 after Ctrl-C.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return guard(lambda: run(tyro.cli(Annotated[Arguments, tyro.conf.arg(name="")], prog=prog, args=arguments)))


def run(config: AuditConfig) -> int:
    """Audit a data set and print what was found; write `audit.json` and `audit.html`, or else `augment.html`.

    Returns:
        0; 1 if there is an error among the findings.

    Raises:
        KsegError: the data set cannot be read, or the output lies in it.
        OSError: the output cannot be written.
    """
    quiet_tensorflow()
    options = config.opening() | {"foreground": config.foreground}
    output = output_folder(config.dataset, config.output)
    if config.show_augment is not None:
        from kseg.audit.augmented import augmented_page

        presets = config.show_augment or ("light", "medium", "heavy")
        _write(output / "augment.html", augmented_page(config.dataset, presets, **options))
        print(f"The pictures: {output / 'augment.html'}")
        return 0
    from kseg.audit import audit
    from kseg.audit.page import page

    report = audit(config.dataset, workers=config.workers, **options)
    _write(output / "audit.json", report.as_json())
    _write(output / "audit.html", page(report))
    print(report)
    print(f"\n{len(report.pairs) / report.seconds:.0f} pairs a second. The pictures: {output / 'audit.html'}")
    return report.status


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Names of files need not be UTF-8.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def output_folder(dataset: str, output: Path | None) -> Path:
    """Return the folder to write to: `output`, or `audit-<name>` in the current folder.

    Raises:
        KsegError: it lies in the data set's folder, where kseg writes nothing.
    """
    folder = Path(dataset)
    name = folder.resolve().name if folder.is_dir() else dataset.replace("/", "-")
    output = output or Path(f"audit-{name}")
    if folder.is_dir() and output.resolve().is_relative_to(folder.resolve()):
        raise KsegError(
            f"{output} lies in the data set {dataset}, where kseg writes nothing. Pass another folder as --output."
        )
    return output
