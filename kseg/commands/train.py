"""The command `kseg train`, also `python -m kseg.train`."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from inspect import cleandoc
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from pydantic import create_model

from kseg.commands.guard import guard
from kseg.commands.prepare import prepare_for_keras
from kseg.config.base import Settings, find_recipe, read_yaml
from kseg.config.train import DataOptions, ModelOptions, OptimizerOptions, RunOptions, TrainConfig
from kseg.errors import KsegError
from kseg.processes import end_if_failed, find_cluster, join

SUMMARY = "Train a segmentation model, and see every epoch how good its masks are."


@dataclass(frozen=True)
class Origin:
    """Where the settings come from before the flags."""

    config: Path | None = None
    """A YAML file of settings, by the names of these flags; or the name of a recipe of kseg, such as nuclei."""
    checkpoint: Path | None = None
    """A run's last.keras or best.keras to resume from, with its settings."""
    resume: bool = False
    """Resume the run in --run-dir, or start it there; without --run-dir, resume the newest run in runs/."""


@dataclass(frozen=True)
class _OriginAndPlaces(Origin):
    run_dir: Path | None = None
    dataset: str | None = None
    model: str | None = None
    encoder: str | None = None


@dataclass(frozen=True)
class Processes:
    """Several processes, on one machine or on many, train one model: each is started with the same command."""

    coordinator: str | None = None
    """HOST:PORT of the first process. Under torchrun, Slurm, Kubernetes and Cloud TPU none of these is needed."""
    process: int | None = None
    """The number of this process, from 0."""
    processes: int | None = None
    """How many there are; 1: each trains a model of its own, whatever started them."""


@dataclass(frozen=True)
class Console:
    """How much is printed."""

    verbose: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(aliases=["-v"])] = False
    """Also the best F1 over all thresholds and the gap, in every epoch."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff, tyro.conf.arg(aliases=["-q"])] = False
    """One line an epoch, warnings, and the result. history.csv has all scores."""

    @property
    def detail(self) -> Literal["quiet", "normal", "verbose"]:
        """The two flags as one value.

        Raises:
            KsegError: both are given.
        """
        if self.verbose and self.quiet:
            raise KsegError("-v prints more and -q less; pass one of them.")
        return "verbose" if self.verbose else "quiet" if self.quiet else "normal"


@dataclass(frozen=True)
class Arguments:
    """Train a segmentation model, and see every epoch how good its masks are.

    Settings come from --checkpoint or --resume, then --config, then flags; the later ones win. SIGTERM and Ctrl-C
    finish the batch and write a checkpoint. Exit status: 0 if it worked, 2 if something has to be put right, 3 if the
    run collapsed, 4 if another process of the run has ended, 130 after Ctrl-C, 143 after SIGTERM.
    """

    origin: Origin
    data: DataOptions
    model: ModelOptions
    optimizer: OptimizerOptions
    run: RunOptions
    processes: Processes = Processes()
    console: Console = Console()

    @property
    def settings(self) -> TrainConfig:
        """All settings together.

        Raises:
            KsegError: they do not fit each other.
        """
        parts = (self.data, self.model, self.optimizer, self.run)
        return TrainConfig(**{name: getattr(part, name) for part in parts for name in type(part).model_fields})


_FIRST = (
    *("dataset", "image_size", "augment", "dev_mode", "batch_size"),
    *("model", "encoder", "loss", "threshold"),
    *("epochs", "lr"),
    *("run_dir",),
)
"""The settings that `--help` shows: what people need first."""


def main(arguments: Sequence[str] | None = None, prog: str = "python -m kseg.train") -> int:
    """Train as the arguments say.

    Returns:
        0 if it worked, 2 if something has to be put right, 3 if the run collapsed, 4 if another process of the run has
        ended, 130 after Ctrl-C.

    Raises:
        SystemExit: 143, after SIGTERM.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    return end_if_failed(lambda: guard(lambda: _train(parse(arguments, prog))))


def _train(given: Arguments) -> int:
    prepare_for_keras()
    if cluster := find_cluster(given.processes.coordinator, given.processes.process, given.processes.processes):
        join(cluster)
    from kseg.keras_private import leave_tensorflow_to_others
    from kseg.runs import train

    leave_tensorflow_to_others()
    train(given.settings, given.origin.checkpoint, resume=given.origin.resume, detail=given.console.detail)
    return 0


def parse(arguments: Sequence[str], prog: str = "python -m kseg.train") -> Arguments:
    """Return what the arguments say, with the settings of the files that they name.

    Raises:
        KsegError: such a file cannot be read, or a setting in it is not allowed.
        SystemExit: after `--help`, or a flag that is not allowed.
    """
    if {"-h", "--help"} & set(arguments):
        tyro.cli(_first_arguments(), args=["--help"], prog=prog, **_STYLE)
    # The files have to be read first: they decide the defaults of all other flags.
    named, _ = tyro.cli(_OriginAndPlaces, args=arguments, prog=prog, return_unknown_args=True, add_help=False, **_STYLE)
    origin = Origin(named.config, named.checkpoint, named.resume)
    config = TrainConfig(**_settings_before_flags(named))
    defaults = Arguments(
        origin,
        DataOptions.of(config),
        ModelOptions.of(config),
        OptimizerOptions.of(config),
        RunOptions.of(config),
    )
    with_help = ["--help" if argument == "--help-all" else argument for argument in arguments]
    return tyro.cli(Arguments, args=with_help, prog=prog, default=defaults, **_STYLE)


def _first_arguments() -> type:
    """Return a class like `Arguments` with the settings alone that people need first, for its help."""
    sections: dict[str, Any] = {}
    for section in fields(Arguments):
        part: Any = section.type
        if part is Processes:
            continue
        if issubclass(part, Settings):
            shown: dict[str, Any] = {
                name: (field.annotation, field) for name, field in part.model_fields.items() if name in _FIRST
            }
            part = create_model(part.__name__, __doc__=part.__doc__, **shown)
        sections[section.name] = part
    first = make_dataclass("Arguments", sections.items())
    first.__doc__ = (
        f"{cleandoc(Arguments.__doc__ or '')}\n\nThese are what people need first; --help-all lists all settings."
    )
    return first


_STYLE: dict[str, Any] = {"config": (tyro.conf.OmitArgPrefixes,)}


def _settings_before_flags(named: _OriginAndPlaces) -> dict[str, Any]:
    """Return the settings of the run to resume, and over them those of the YAML file, not yet checked.

    Raises:
        KsegError: a file cannot be read, `--resume` and `--checkpoint` are both given, there is no run to resume, or
            its data set, its model or its encoder has to be named.
    """
    settings = read_yaml(find_recipe(named.config)) if named.config else {}
    flags = settings.keys() & Origin.__dataclass_fields__.keys()
    if flags:
        raise KsegError(
            f"{named.config} has {', '.join(sorted(flags))}, which no YAML file may set. Pass --{min(flags)} to the "
            "command instead."
        )
    if named.resume and named.checkpoint:
        raise KsegError("--resume finds the checkpoint itself; pass either --resume or --checkpoint.")
    if named.resume:
        from kseg.runs.directory import newest_run, settings_in

        run_dir = Path(named.run_dir or settings.get("run_dir") or newest_run())
        return _resumed(settings_in(run_dir), settings, run_dir, run_dir, named) | {"run_dir": run_dir}
    if named.checkpoint:
        from kseg.checkpoints import read_state

        before = read_state(named.checkpoint).settings
        return _resumed(before, settings, named.checkpoint.parent, named.checkpoint, named)
    return settings


def _resumed(
    before: dict[str, Any], settings: dict[str, Any], run_dir: Path, source: Path, named: _OriginAndPlaces
) -> dict[str, Any]:
    """Return the settings of a run, and over them those of the YAML file; no file of the run decides on a place."""
    from kseg.runs.places import recall_places, refuse_own_network, without_places

    own = {name: getattr(named, name) or settings.get(name) for name in ("model", "encoder")}
    refuse_own_network(before, source, own["model"], own["encoder"])
    places = {} if named.dataset or "dataset" in settings or not before else recall_places(run_dir, before, source)
    return without_places(before) | places | settings
