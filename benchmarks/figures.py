"""Run the scripts behind docs/figures.md, and keep what they print in benchmarks/results/, with machine and versions.

    make figures NUCLEI=path/to/nuclei                        # all, for many hours
    make figures NUCLEI=path/to/nuclei ONLY="startup losses"  # some, by their names

Nothing else should run on the machine meanwhile. A script that fails keeps its former result, and ends the command with
status 1 after the others have run.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import tyro

_HERE = Path(__file__).parent
_RESULTS = _HERE / "results"
_NUCLEI = "<nuclei>"  # stands for the folder
_PACKAGES = ("keras", "jax", "torch", "numpy")


@dataclass(frozen=True)
class Script:
    """A script and its arguments, run on each of some backends."""

    arguments: Sequence[str] = ()
    backends: Sequence[str] = ("jax", "torch")


SCRIPTS = {
    "startup": Script(),
    "growth": Script(backends=("jax",)),
    "devices": Script(("--dataset", _NUCLEI), ("jax",)),
    "losses": Script(),
    "layers": Script(backends=("torch",)),
    "allocator": Script(),
    "overhead": Script(),
    "pipeline": Script(("--dataset", _NUCLEI), ("jax",)),
    "records": Script(("--dataset", _NUCLEI), ("jax",)),
    "audit": Script((_NUCLEI,), ("jax",)),
    "answer": Script(("--nuclei", _NUCLEI)),
    "start": Script(("--nuclei", _NUCLEI)),
    "pretraining": Script(("--nuclei", _NUCLEI), ("jax",)),
    "quality": Script(("--nuclei", _NUCLEI), ("jax",)),
    "deep_supervision": Script(("--nuclei", _NUCLEI), ("jax",)),
    "peers": Script(backends=("torch",)),
    "tiling": Script(),
    "predicting": Script(("--nuclei", _NUCLEI), ("jax",)),
    "soak": Script(),
    "collapse": Script(("--nuclei", _NUCLEI), ("jax",)),
}


def main(nuclei: Path | None = None, only: tuple[str, ...] = ()) -> int:
    """Run scripts, and keep what they print.

    Args:
        nuclei: The folder of nuclei, for the scripts that need it.
        only: Names of scripts; none: all.
    """
    if unknown := [name for name in only if name not in SCRIPTS]:
        print(f"only: {', '.join(unknown)} is not known; expected some of {', '.join(SCRIPTS)}.", file=sys.stderr)
        return 2
    chosen = {name: SCRIPTS[name] for name in only or SCRIPTS}
    if nuclei is None and (needing := [name for name, script in chosen.items() if _NUCLEI in script.arguments]):
        print(f"nuclei: {', '.join(needing)} needs the folder of nuclei; give --nuclei.", file=sys.stderr)
        return 2
    failed = [
        f"{name} on {backend}"
        for name, script in chosen.items()
        for backend in script.backends
        if not _run(name, script, backend, nuclei)
    ]
    if failed:
        print(f"Failed, and kept as it was: {', '.join(failed)}.", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, script: Script, backend: str, nuclei: Path | None) -> bool:
    """Run a script, show what it prints, and keep it. Return whether it went well."""
    arguments = [str(nuclei.resolve()) if nuclei and part == _NUCLEI else part for part in script.arguments]
    shown = f"KERAS_BACKEND={backend} python benchmarks/{name}.py {' '.join(script.arguments)}".rstrip()
    print(f"== {shown}", flush=True)
    environment = os.environ | {"KERAS_BACKEND": backend}
    command = [sys.executable, f"{name}.py", *arguments]
    lines = [f"$ {shown}", _describe_machine(), ""]
    with subprocess.Popen(command, cwd=_HERE, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", flush=True)
            lines.append(line.rstrip("\n").replace(str(nuclei.resolve()), _NUCLEI) if nuclei else line.rstrip("\n"))
    if process.returncode:
        return False
    _RESULTS.mkdir(exist_ok=True)
    (_RESULTS / f"{name}-{backend}.txt").write_text("\n".join(lines) + "\n")
    return True


def _describe_machine() -> str:
    """Return date, processor, cores, system, and the versions that compute."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES if find_spec(package))
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {_processor()}, {os.cpu_count()} cores, {platform.system()}, "
        f"Python {platform.python_version()}, {versions}"
    )


def _processor() -> str:
    """Return the name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


if __name__ == "__main__":
    sys.exit(tyro.cli(main))
