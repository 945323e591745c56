"""The files of a prediction: masks, probabilities, overlays, and a table."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from kseg.data.files.bands import to_rgb
from kseg.data.files.masks import class_colours
from kseg.data.files.rows import Rows
from kseg.errors import KsegError
from kseg.inference.instances import count_instances
from kseg.metadata import Metadata
from kseg.reports.class_predictions import class_palette, flatten
from kseg.storage.atomic import write_atomically
from kseg.task import safe_names

_TABLE, _SETTINGS = "predictions.csv", "predict.json"
_LONGEST = 4096  # pixels of the longer side of an overlay
_TINT = 0.4
_FOREGROUND = (255, 150, 0)  # orange, a rare colour in tissue, skin and leaves


class Results:
    """The folder that predictions are written to.

    `masks/NAME.png`, or `masks/LABEL/NAME.png` for each label, is written last of each image, and complete or absent;
    so an image that has its masks is done, and the same command goes on where it was interrupted.

    Args:
        folder: the folder, made if needed.
        metadata: of the model.
        settings: all that decides the results, as plain values for JSON.
        overwrite: whether results may be replaced.

    Raises:
        KsegError: the folder holds results of other settings, or something else; or its settings cannot be read.
    """

    def __init__(self, folder: Path, metadata: Metadata, settings: dict[str, Any], *, overwrite: bool = False) -> None:
        self.folder, self._task = folder, metadata.task
        self._overwrite = overwrite
        self.palette = _palette(metadata)
        """The colour of each class index, uint8 `(N, 3)`."""
        file = folder / _SETTINGS
        if file.exists() and not overwrite:
            try:
                before = dict(json.loads(file.read_text()))
            except (ValueError, TypeError) as error:
                raise KsegError(f"{file} cannot be read: {error}. Give another --out, or --overwrite.") from error
            changed = [name for name in settings if before.get(name) != settings[name]]
            if changed:
                name = changed[0]
                raise KsegError(
                    f"{folder} holds results with another {name}: {before.get(name)}, now {settings[name]}. Give "
                    "another --out, or --overwrite."
                )
        elif not overwrite and folder.is_dir() and any(folder.iterdir()):
            raise KsegError(f"{folder} is not empty, and holds no results of kseg predict. Give another --out.")
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(file, lambda temporary: temporary.write_text(json.dumps(settings, indent=1)))
        self._rows = {} if overwrite else self._read_table()

    def mask_files(self, name: str) -> list[Path]:
        """Return the path of the mask of an image, or of the mask of each label."""
        folders = safe_names(self._task.classes) if self._task.kind == "multilabel" else [""]
        return [self.folder / "masks" / folder / f"{name}.png" for folder in folders]

    def is_done(self, name: str) -> bool:
        """Return whether the results of an image are there, and shall not be replaced."""
        return not self._overwrite and name in self._rows and all(file.exists() for file in self.mask_files(name))

    def save_probabilities(self, name: str, probabilities: np.ndarray, how: str) -> None:
        """Write probabilities, float32 `(H, W, outputs)`, as `npy`, or as `png` of 16 bits, a file a class."""
        base = self.folder / "probabilities" / name
        base.parent.mkdir(parents=True, exist_ok=True)
        if how == "npy":
            write_atomically(base.with_name(f"{base.name}.npy"), lambda path: np.save(path, probabilities))
            return
        single = probabilities.shape[2] == 1
        for index, label in enumerate(safe_names(self._task.classes)):
            values = np.rint(probabilities[..., index] * 65535).astype(np.uint16)
            _write_png(base.with_name(f"{base.name}.png" if single else f"{base.name}_{label}.png"), values)

    def save_overlay(self, name: str, rows: Rows, mask: np.ndarray) -> None:
        """Draw a mask over its image, at most 4096 pixels long; of labels the smallest is on top."""
        step = -(-max(rows.shape[:2]) // _LONGEST)
        image = rows.read(0, rows.shape[0]) if step == 1 else _every(rows, step)
        path = self.folder / "overlays" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = mask[::step, ::step]
        shown = flatten(self._task.layers(mask)) if self._task.kind == "multilabel" else mask
        picture = Image.fromarray(draw_overlay(to_rgb(image), shown, self.palette))
        write_atomically(path, lambda temporary: picture.save(temporary, "JPEG", quality=90))

    def save_mask(self, name: str, mask: np.ndarray) -> None:
        """Write a mask, uint8 `(H, W)`: 0 and 255, or class indices with a palette; and its line of the table.

        Labels, `(H, W, K)`, give a file of 0 and 255 each. Of one class, and of labels, `mask` itself becomes 0 and
        255: a large one is not copied.
        """
        self._rows[name] = self._row(name, mask)
        if self._task.kind == "multiclass":
            _write_png(self.mask_files(name)[0], mask, self.palette)
        else:
            mask *= 255
            for index, path in enumerate(self.mask_files(name)):
                _write_png(path, mask if mask.ndim == 2 else mask[..., index].copy())
        with (self.folder / _TABLE).open("a", newline="", encoding="utf-8", errors="backslashreplace") as file:
            writer = csv.DictWriter(file, list(self._rows[name]))
            if not file.tell():
                writer.writeheader()
            writer.writerow(self._rows[name])

    def _row(self, name: str, mask: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {"image": name, "height": mask.shape[0], "width": mask.shape[1]}
        for index, label in enumerate(safe_names(self._task.foreground_classes)):
            area = self._area(mask, index)
            pixels = int(area.sum())
            row[f"pixels_{label}"] = pixels
            row[f"share_{label}"] = f"{pixels / area.size:.6g}"
            row[f"instances_{label}"] = count_instances(area)
        return row

    def _area(self, mask: np.ndarray, index: int) -> np.ndarray:
        """Return where a foreground class is, bool `(H, W)`."""
        if self._task.kind == "multiclass":
            return mask == index + 1
        return mask.view(bool) if mask.ndim == 2 else mask[..., index].astype(bool)

    def finish(self, order: Sequence[str]) -> None:
        """Write the table once more, a line an image, in this order."""
        rows = [self._rows[name] for name in order if name in self._rows]
        if not rows:
            return

        def write(temporary: Path) -> None:
            with temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)

        write_atomically(self.folder / _TABLE, write)

    def _read_table(self) -> dict[str, dict[str, Any]]:
        file = self.folder / _TABLE
        if not file.exists():
            return {}
        with file.open(newline="", encoding="utf-8") as lines:
            # The last line may have been cut off; then its image is predicted again.
            return {row["image"]: row for row in csv.DictReader(lines) if None not in row.values()}


def _every(rows: Rows, step: int) -> np.ndarray:
    """Return each `step`-th pixel of an image, down and across."""
    return np.concatenate([rows.read(row, row + 1)[:, ::step] for row in range(0, rows.shape[0], step)])


def _palette(metadata: Metadata) -> np.ndarray:
    if metadata.task.kind == "binary":
        return np.array([(0, 0, 0), _FOREGROUND], np.uint8)
    return class_palette(len(metadata.task.foreground_classes) + 1, class_colours(metadata.colours))


def _write_png(path: Path, values: np.ndarray, palette: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values)
    if palette is not None:
        picture.putpalette(palette.tobytes())
    write_atomically(path, lambda temporary: picture.save(temporary, "PNG"))


def draw_overlay(image: np.ndarray, mask: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Return an image, uint8 `(H, W, 3)`, tinted where the mask has a class, which is outlined in its colour."""
    colour, area = palette[mask], mask != 0
    tinted = np.where(area[..., None], image * (1 - _TINT) + colour * _TINT, image).astype(np.uint8)
    inner = cv2.erode(mask, np.ones((3, 3), np.uint8)) == cv2.dilate(mask, np.ones((3, 3), np.uint8))
    return np.where((area & ~inner)[..., None], colour, tinted)
