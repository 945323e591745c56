"""A checkpoint: a plain `.keras` file, complete or absent, with the state that Keras does not save.

Besides Keras's own entries it holds `kseg.json` (the state of the run, what callbacks remember) and, as
`kseg/*.npy`, the state of seed generators and metrics and the arrays of callbacks. No entry is compressed, so none is
larger than the file.
"""

import io
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
from pydantic import TypeAdapter, ValidationError

from kseg.checkpoints.extras import Extras, read_extras
from kseg.checkpoints.memory import decode, encode
from kseg.checkpoints.state import TrainingState
from kseg.errors import KsegError
from kseg.optimizers import stored_variables
from kseg.storage.atomic import write_atomically

_FORMAT = 2
_STATE = "kseg.json"
_WEIGHTS = "model.weights.h5"
_ARRAY = "kseg/{:05}.npy"
_NAMES = re.compile(r"metadata\.json|config\.json|model\.weights\.h5|kseg\.json|kseg/\d{5}\.npy")
_EXPECTED = "Expected the last.keras or best.keras of a run."


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds."""

    path: Path
    state: TrainingState
    weights: bytes = field(repr=False)
    """The HDF5 file of the weights of model and optimizer: the bytes that were checked, whatever becomes of `path`."""
    extras: Extras = field(default_factory=dict)
    memories: list[dict[str, Any]] = field(default_factory=list)
    """What callbacks remember; see `Memory`."""


def write_checkpoint(
    model: keras.Model,
    path: Path,
    state: TrainingState,
    extras: Extras | None = None,
    memories: Sequence[dict[str, Any]] = (),
) -> None:
    """Write a checkpoint, without waiting until it is on the disk.

    Args:
        model: its weights and its optimizer are written.
        path: ends in `.keras`.
        state: of the run.
        extras: what Keras does not save of the model; by default its current values.
        memories: what callbacks remember.

    Raises:
        OSError: it cannot be written; no part of it is left.
    """
    if extras is None:
        extras = read_extras(model)
    arrays: list[np.ndarray] = []
    content = {"format": _FORMAT, "state": vars(state), "extras": extras, "memories": list(memories)}
    content = encode(content, arrays)
    try:
        model.save(path)
        with zipfile.ZipFile(path, "a") as archive:
            for index, array in enumerate(arrays):
                with archive.open(_ARRAY.format(index), "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, _as_storable(array), allow_pickle=False)
            content["entries"] = {entry.filename: entry.CRC for entry in archive.infolist()}
            archive.writestr(_STATE, json.dumps(content))
    except OSError:
        path.unlink(missing_ok=True)
        raise


def save_checkpoint(model: keras.Model, path: str | os.PathLike[str], state: TrainingState) -> None:
    """Write model, optimizer and state as one file, atomically: a crash leaves the former file unchanged.

    Raises:
        OSError: it cannot be written; the former file is unchanged.
    """
    write_atomically(Path(path), lambda temporary: write_checkpoint(model, temporary, state))


def read_state(path: str | os.PathLike[str]) -> TrainingState:
    """Return the state in a checkpoint, without reading the rest of the file.

    Raises:
        KsegError: there is no such file, or it is no checkpoint of kseg.
    """
    return _open(Path(path), lambda archive: _state(path, _content(path, archive)))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, and check that the file is undamaged.

    No code in the file is run, and nothing is unpacked to disk. The checks cover the names, sizes and checksums of all
    entries, the format, the types of all values, and the size of every array before it is allocated.

    Raises:
        KsegError: there is no such file, it is damaged, or it is no checkpoint of kseg; says what is wrong.
    """

    def read(archive: zipfile.ZipFile) -> Checkpoint:
        _check_entries(archive, path.stat().st_size)
        weights = archive.read(_WEIGHTS)
        _check_weights(weights)
        content = _content(path, archive)
        arrays = [_array(archive, name) for name in sorted(archive.namelist()) if name.endswith(".npy")]
        try:
            extras, memories = decode(content["extras"], arrays), decode(content["memories"], arrays)
            _EXTRAS.validate_python(extras)
            _MEMORIES.validate_python(memories)
        except (LookupError, TypeError) as error:
            raise ValueError(f"{_STATE} does not fit the arrays: {error!r}") from error
        _check_binding(archive, content)
        return Checkpoint(path, _state(path, content), weights, extras, memories)

    return _open(path, read)


def load_weights(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Load the weights of a checkpoint into a model and its optimizer.

    Raises:
        KsegError: they do not fit.
    """
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    before = [tuple(variable.shape) for variable in stored_variables(model.optimizer)]
    with h5py.File(io.BytesIO(checkpoint.weights)) as file:
        saved = _optimizer_shapes(file)
    if saved is not None and sorted(saved) != sorted(before):
        raise KsegError(
            f"{checkpoint.path} does not fit the optimizer: it has {len(saved)} optimizer variables, the optimizer has "
            f"{len(before)}, or their shapes differ. Compile the model with the optimizer of the checkpoint."
        )
    # A file of its own: the one at `path` may have been replaced since it was checked.
    with tempfile.TemporaryDirectory(prefix="kseg-") as folder:
        copy = Path(folder) / _WEIGHTS
        copy.write_bytes(checkpoint.weights)
        try:
            model.load_weights(copy)
        except ValueError as error:
            raise KsegError(f"{checkpoint.path} does not fit the model: {str(error).splitlines()[0]}") from error


def _optimizer_shapes(file: h5py.File) -> list[tuple[int, ...]] | None:
    """Return the shapes of the optimizer's variables; None if it has several parts, which are stored elsewhere."""
    group = file.get("optimizer/vars")
    return None if group is None else [dataset.shape for dataset in group.values()]


_EXTRAS = TypeAdapter(dict[str, list[Any]])
_MEMORIES = TypeAdapter(list[dict[str, Any]])
_ROWS = TypeAdapter(list[dict[str, float | int | str | None]])
_TRAINING_STATE = TypeAdapter(TrainingState)


def _open(path: str | os.PathLike[str], read: Callable[[zipfile.ZipFile], Any]) -> Any:
    if Path(path).exists() and not (Path(path).is_file() or Path(path).is_dir()):
        raise KsegError(f"{path} is a pipe or a device, not a checkpoint. {_EXPECTED}")
    try:
        with zipfile.ZipFile(path) as archive:
            return read(archive)
    except FileNotFoundError:
        raise KsegError(f"There is no checkpoint {path}. {_EXPECTED}") from None
    except IsADirectoryError:
        raise KsegError(f"{path} is a folder, not a checkpoint. {_EXPECTED}") from None
    except KsegError:
        raise
    except Exception as error:  # a damaged file can raise anything in a parser
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise KsegError(f"{path} is damaged, or no checkpoint of kseg ({reason}). {_EXPECTED}") from error


def _content(path: str | os.PathLike[str], archive: zipfile.ZipFile) -> dict[str, Any]:
    if archive.getinfo(_STATE).file_size > Path(path).stat().st_size:
        raise ValueError(f"{_STATE} says it is larger than the file")
    content = json.loads(archive.read(_STATE))
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        version = content.get("format") if isinstance(content, dict) else None
        raise KsegError(f"{path} has kseg's checkpoint format {version}; this version reads {_FORMAT}. {_EXPECTED}")
    return content


def _state(path: str | os.PathLike[str], content: dict[str, Any]) -> TrainingState:
    try:
        state = _TRAINING_STATE.validate_python(content["state"])
        for count, row in enumerate(_ROWS.validate_python(state.history), start=1):
            if row.get("epoch") != count:
                raise ValueError(f"row {count} of the history is not of epoch {count}")
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise ValueError(f"{_STATE}: {'.'.join(map(str, fault['loc']))}: {fault['msg']}") from error
    return state


def _check_entries(archive: zipfile.ZipFile, size: int) -> None:
    """Check the names, sizes and checksums of all entries, in a file of so many bytes."""
    names = archive.namelist()
    for entry in archive.infolist():
        if not _NAMES.fullmatch(entry.filename) or names.count(entry.filename) > 1:
            raise ValueError(f"entry {entry.filename!r} does not belong in a checkpoint")
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise ValueError(f"entry {entry.filename!r} is compressed")
        if entry.file_size > size:
            raise ValueError(f"entry {entry.filename!r} says it is larger than the file")
    broken = archive.testzip()
    if broken:
        raise ValueError(f"entry {broken!r} has a wrong checksum")


def _check_binding(archive: zipfile.ZipFile, content: dict[str, Any]) -> None:
    """Check that the entries were written together. Files of older versions do not say."""
    if "entries" not in content:
        return
    written = {entry.filename: entry.CRC for entry in archive.infolist() if entry.filename != _STATE}
    if content["entries"] != written:
        other = sorted(name for name in written if content["entries"].get(name) != written[name])
        raise ValueError(f"entries of another file: {', '.join(other) or 'some are missing'}")


def _check_weights(weights: bytes) -> None:
    """Check that the weights are plain arrays in this file, not larger than it."""
    with h5py.File(io.BytesIO(weights)) as file:
        total, groups, seen = 0, [file], set()
        while groups:
            group = groups.pop()
            for name in group:
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    raise ValueError(f"{_WEIGHTS}: {name} is a link")
                item = group[name]
                address = h5py.h5o.get_info(item.id).addr
                if address in seen:
                    raise ValueError(f"{_WEIGHTS}: {item.name} is in it twice")
                seen.add(address)
                if isinstance(item, h5py.Group):
                    groups.append(item)
                    continue
                if not isinstance(item, h5py.Dataset):
                    raise ValueError(f"{_WEIGHTS}: {item.name} is no array")
                if item.external or item.is_virtual or item.chunks:
                    raise ValueError(f"{_WEIGHTS}: {item.name} is not stored as a plain array")
                total += item.nbytes
                if total > len(weights):
                    raise ValueError(f"{_WEIGHTS}: {item.name} says it is larger than the file")


def _array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name) as stream:
        version = np.lib.format.read_magic(stream)
        if version != (1, 0):
            raise ValueError(f"entry {name!r} is no plain array")
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
        body = stream.read()
    if dtype.hasobject or np.prod(shape, dtype=object) * dtype.itemsize != len(body):
        raise ValueError(f"entry {name!r} does not have the size that its header says")
    return np.frombuffer(body, dtype).reshape(shape, order="F" if fortran else "C").copy()


def _as_storable(array: np.ndarray) -> np.ndarray:
    """Return the array in a type that NumPy's files have: bfloat16 and the like as integers of their bytes."""
    return array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
