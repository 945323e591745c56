"""The content of a run's data files, recorded at its start, so that a resumed run notices that they changed."""

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from kseg.data.threads import map_in_threads
from kseg.errors import KsegError
from kseg.progress import progress
from kseg.storage.atomic import write_atomically

_log = logging.getLogger("kseg")

RECORD = "data.json"

# Of a larger file, such as a shard of records, only both ends are read.
_LARGE = 64 * 2**20
_END = 2**20


@dataclass(frozen=True)
class DataFile:
    """One file, as it was."""

    name: str
    """Its path from the folder that all files are in: the data set may be moved."""
    size: int
    changed: int
    """When it changed last, in nanoseconds."""
    digest: str


def check_data_files(paths: Sequence[Path], run_dir: Path, origin: Path | None) -> None:
    """Refuse data files whose content changed since the run began, and record what they hold now.

    A file of the same size and time is taken to be the same; others are read. Of a file of more than 64 MiB, only the
    first and the last MiB are compared.

    Args:
        paths: the data files, in an order that does not change; none of a built-in data set, which nobody changes.
        run_dir: where the record is written.
        origin: the checkpoint from which the run resumes; the record is beside it. None: the run begins.

    Raises:
        KsegError: files changed; says how many and names some. Or one cannot be read.
    """
    if not paths:
        return
    before = _read(origin.parent / RECORD) if origin else {}
    top = Path(os.path.commonpath([path.parent for path in paths]))
    names = [path.relative_to(top).as_posix() for path in paths]
    described = map_in_threads(
        lambda path, name: _describe(path, name, before.get(name)), zip(paths, names, strict=True)
    )
    now = list(progress(described, "Checking the content of the data", len(paths), unit="files"))
    different = [file.name for file in now if file.name in before and before[file.name].digest != file.digest]
    if different:
        some = ", ".join(different[:5]) + (f" and {len(different) - 5} more" if len(different) > 5 else "")
        raise KsegError(
            f"The data cannot be changed in mid-run: of {len(now)} files, {len(different)} have another content than "
            f"when the run began: {some}. Put them back, or start another run."
        )
    text = json.dumps([astuple(file) for file in now])
    write_atomically(run_dir / RECORD, lambda temporary: temporary.write_text(text))


def _read(record: Path) -> dict[str, DataFile]:
    """Return the files in a record by name; none if there is no record, as in runs of older versions."""
    try:
        files = [DataFile(*entry) for entry in json.loads(record.read_text())]
        return {file.name: file for file in files}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        _log.warning(f"⚠️  {record} cannot be read: whether the data is the same as before is not known.")
        return {}


def _describe(path: Path, name: str, before: DataFile | None) -> DataFile:
    try:
        status = path.stat()
        if before and (before.size, before.changed) == (status.st_size, status.st_mtime_ns):
            return before
        return DataFile(name, status.st_size, status.st_mtime_ns, _digest(path, status.st_size))
    except OSError as error:
        raise KsegError(f"{path} cannot be read: {error.strerror}. Check its permissions.") from error


def _digest(path: Path, size: int) -> str:
    with path.open("rb") as file:
        if size <= _LARGE:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
        digest = hashlib.blake2b(file.read(_END))
        file.seek(size - _END)
        digest.update(file.read(_END))
    return digest.hexdigest()[:32]
