"""The checkpoints of a run: `last.keras`, those before it (`last-1.keras`, …), and `best.keras`."""

import re
import shutil
from pathlib import Path

from kseg.checkpoints.file import Checkpoint, read_checkpoint
from kseg.errors import KsegError
from kseg.storage.whole import beside, put, sync

_NAME = re.compile(r"last(?:-(\d+))?\.keras")


def checkpoints_in(folder: Path) -> list[Path]:
    """What is called a checkpoint of a run, newest first."""
    found = {path: _NAME.fullmatch(path.name) for path in folder.glob("last*.keras")}
    return sorted((path for path, name in found.items() if name), key=lambda path: int(found[path][1] or 0))


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of a run, and what is wrong with those that are newer.

    Raises:
        KsegError: there are some, and none is whole.
    """
    faults: list[str] = []
    for path in checkpoints_in(folder):
        try:
            return read_checkpoint(path), faults
        except KsegError as error:
            faults.append(str(error))
    if faults:
        raise KsegError("\n".join([f"No checkpoint in {folder} is whole. Start anew in another --run-dir.", *faults]))
    return None, []


def set_aside_damaged(folder: Path, whole: Checkpoint) -> None:
    """Rename what is newer than the newest whole checkpoint, so that it is not taken for one, nor replaces one."""
    for path in checkpoints_in(folder):
        if path == whole.path:
            return
        aside = path.with_suffix(".damaged")
        if aside.is_dir():
            aside = path.with_suffix(f".damaged-{len(list(folder.iterdir()))}")
        path.replace(aside)


def publish(temporary: Path, keep: int, best: bool) -> None:
    """Make a checkpoint that was written the last one of its folder, and the best one if it is.

    At every moment there is a whole checkpoint: the best is in its place before the last that knows of it, and a former
    last is renamed, never written over.

    Args:
        temporary: the file, in the run directory.
        keep: how many to keep, this one included.
        best: whether it is the best so far, too.
    """
    folder = temporary.parent
    sync(temporary)
    if best:
        copy = beside(folder / "best.keras")
        shutil.copyfile(temporary, copy)
        put(copy, folder / "best.keras")
    last = folder / "last.keras"
    former = [folder / f"last-{age}.keras" for age in range(1, keep)]
    if last.exists():
        for newer, older in reversed(list(zip([last, *former], former, strict=False))):
            if newer.exists():
                newer.replace(older)
    put(temporary, last)
    for path in checkpoints_in(folder):
        if path not in (last, *former):
            path.unlink()
