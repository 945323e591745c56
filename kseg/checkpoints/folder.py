"""The checkpoints of a run: `last.keras`, those before it (`last-1.keras`, …), and `best.keras`."""

import re
import shutil
from pathlib import Path

from kseg.checkpoints.file import Checkpoint, read_checkpoint
from kseg.errors import KsegError
from kseg.storage.atomic import move_into_place, removed_on_error, sync, write_atomically

_NAME = re.compile(r"last(?:-(\d+))?\.keras")


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the paths named like the last checkpoints of a run, newest first."""
    matches = [(_NAME.fullmatch(path.name), path) for path in folder.glob("last*.keras")]
    ages = [(int(match[1] or 0), path) for match, path in matches if match]
    return [path for _, path in sorted(ages)]


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the newest intact checkpoint of a run, or None, and what is wrong with the newer ones.

    Raises:
        KsegError: there are checkpoints, and none is intact.
    """
    faults: list[str] = []
    for path in checkpoints_in(folder):
        try:
            return read_checkpoint(path), faults
        except KsegError as error:
            faults.append(str(error))
    if faults:
        raise KsegError("\n".join([f"No checkpoint in {folder} is intact. Start again in another --run-dir.", *faults]))
    return None, []


def set_aside_damaged(folder: Path, intact: Checkpoint) -> None:
    """Rename what is newer than the newest intact checkpoint, so that it does not count as a checkpoint any more."""
    for path in checkpoints_in(folder):
        if path == intact.path:
            return
        aside = path.with_suffix(".damaged")
        if aside.is_dir():
            aside = path.with_suffix(f".damaged-{len(list(folder.iterdir()))}")
        path.replace(aside)


def publish(temporary: Path, keep: int, best: bool) -> None:
    """Rename a complete file to `last.keras`, and copy it to `best.keras` if it is the best.

    There is an intact checkpoint at every moment: `best.keras` is written before the `last.keras` whose history names
    it, and a former `last.keras` is renamed, never overwritten.

    Args:
        temporary: the file, in the run directory; it does not exist afterwards.
        keep: the number of last checkpoints to keep, this one included.
        best: whether it is the best so far.
    """
    folder = temporary.parent
    last = folder / "last.keras"
    former = [folder / f"last-{age}.keras" for age in range(1, keep)]
    with removed_on_error(temporary):
        sync(temporary)
        if best:
            write_atomically(folder / "best.keras", lambda copy: shutil.copyfile(temporary, copy))
        if last.exists():
            for newer, older in reversed(list(zip([last, *former], former, strict=False))):
                if newer.exists():
                    newer.replace(older)
        move_into_place(temporary, last)
    for path in checkpoints_in(folder):
        if path not in (last, *former):
            path.unlink()
