"""Where the data of a run lies, remembered outside of its directory.

A run directory, and each checkpoint in it, may have come from anyone. What they name as the data set could be code (a
TFDS builder), a download, or a folder that is none of the run's business. So the data set of a run that is resumed is
the one that the command names, or the one with which kseg started the run in this directory on this machine.
"""

import hashlib
import json
import logging
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kseg.checkpoints import read_state
from kseg.config.base import PLACE, is_marked
from kseg.config.train import TrainConfig, is_own_model, is_preset
from kseg.data.sources.shapes import BUILT_IN
from kseg.errors import KsegError

_log = logging.getLogger("kseg")


def without_places(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings from a file of a run without those that say where something lies."""
    fields = TrainConfig.model_fields
    return {name: value for name, value in settings.items() if name not in fields or not is_marked(fields[name], PLACE)}


def own_network(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return those of the settings `model` and `encoder` that name code, a file or a download.

    >>> own_network({"model": "networks:make", "encoder": "none"})
    {'model': 'networks:make'}
    """
    kinds = (("model", is_own_model), ("encoder", is_preset))
    return {name: own for name, is_own in kinds if isinstance(own := settings.get(name), str) and is_own(own)}


def refuse_own_network(settings: Mapping[str, Any], source: Path, model: str | None, encoder: str | None) -> None:
    """Refuse the settings of a run whose model is code or a file, or its encoder a preset, that the command lacks.

    Args:
        settings: from a file of the run.
        source: that file or directory, for the message.
        model: what the command names.
        encoder: what the command names.

    Raises:
        KsegError: it does not name what the settings name.
    """
    given = {"model": model, "encoder": encoder}
    for name, own in own_network(settings).items():
        if given[name] is None:
            raise KsegError(
                f"{source} names the {name} {own!r:.200}. A file of a run does not decide what code is run, which file "
                f"is opened or what is downloaded: add --{name} {shlex.quote(own)} if you trust it."
            )


def remember_places(run_dir: Path, config: TrainConfig) -> None:
    """Remember for `recall_places` with which data set a run was started; forget runs that are no longer there."""
    record = _record_of(run_dir)
    data_dir = str(config.data_dir) if config.data_dir else None
    places = {"run_dir": str(run_dir.resolve()), "dataset": config.dataset, "data_dir": data_dir}
    try:
        record.parent.mkdir(parents=True, exist_ok=True)
        for other in record.parent.glob("*.json"):
            if not Path(json.loads(other.read_text())["run_dir"]).exists():
                other.unlink()
        record.write_text(json.dumps(places))
    except (OSError, ValueError, LookupError, TypeError) as error:
        _log.warning(f"⚠️  {record} cannot be written ({error}): to resume this run, name its --dataset.")


def recall_places(run_dir: Path, settings: Mapping[str, Any], source: Path) -> dict[str, Any]:
    """Return the data set with which the run in a directory was started here.

    Args:
        run_dir: the directory.
        settings: what a file of the run says.
        source: that file or directory, for the message.

    Raises:
        KsegError: it was not started here, and its settings name a data set that is not built in.
    """
    try:
        places = json.loads(_record_of(run_dir).read_text())
        return {"dataset": str(places["dataset"]), "data_dir": places["data_dir"]}
    except (OSError, ValueError, LookupError, TypeError):
        named, data_dir = settings.get("dataset", "shapes"), settings.get("data_dir")
    if named in BUILT_IN and not Path(named).exists():
        return {"dataset": named, "data_dir": None}
    more = f" --data-dir {data_dir}" if data_dir else ""
    raise KsegError(
        f"{source} names the data set {named}, and the run in {run_dir} was not started here by kseg. A file that came "
        f"from elsewhere does not decide what is read, run or downloaded: add --dataset {named}{more} if you trust it, "
        "or the place of your data."
    )


def data_of_model(model: Path) -> dict[str, Any]:
    """Return the data set of the run that made a model, its splits and how its masks are turned, by the names of the
    settings.

    Raises:
        KsegError: it comes from no run, or from one that was not started here.
    """
    settings = read_state(model).settings
    if not settings:
        raise KsegError(f"{model} comes from no run of kseg train. Name a --dataset.")
    names = ("train_split", "val_split", "val_fraction", "seed", "mask_exif")
    return recall_places(model.parent, settings, model) | {name: settings.get(name) for name in names}


def _record_of(run_dir: Path) -> Path:
    name = hashlib.sha256(str(run_dir.resolve()).encode(errors="surrogateescape")).hexdigest()[:32]
    return Path.home() / ".cache/kseg/runs" / f"{name}.json"
