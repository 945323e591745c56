"""Rows of pictures with titles, captions and legends, as a PNG file."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

Colour = Sequence[int]
"""Red, green and blue, 0 to 255."""

_WIDTH = 8.0  # of the page, in inches, like all that follows
_LARGEST = 1.9, 1.78  # width and height of a picture
_NARROWEST = 0.9  # of a column, for its title
_GAP, _CAPTION = 0.1, 0.22  # beside a picture, and under it
_TITLES, _LEGEND_MARGIN, _LEGEND_LINE, _LEGEND_COLUMNS = 0.25, 0.19, 0.16, 6
_PIXELS = 80  # per inch


def save_grid(
    path: Path,
    titles: Sequence[str],
    rows: Sequence[tuple[Sequence[np.ndarray], str]],
    legend: Mapping[str, Colour],
    legend_above: Mapping[str, Colour] | None = None,
) -> None:
    """Draw rows of pictures.

    All are pasted into one before they are drawn: axes for each take several times as long.

    Args:
        path: the PNG file to write.
        titles: of the columns.
        rows: the pictures of each row, uint8 `(H, W, 3)`, all of one size, and what is said under the last of them.
        legend: names and colours to list under the rows.
        legend_above: names and colours to list above them.
    """
    rows = [([_shrink(picture) for picture in pictures], said) for pictures, said in rows]
    height, width = rows[0][0][0].shape[:2]
    inch = min(_LARGEST[0] / width, _LARGEST[1] / height)  # the side of a pixel
    gap, caption = round(_GAP / inch), round(_CAPTION / inch)
    cell = max(width, round(_NARROWEST / inch))
    sides = len(rows) * (height + caption), len(titles) * (cell + gap) - gap
    left, bottom = (_WIDTH - sides[1] * inch) / 2, _legend_height(legend)
    page = _WIDTH, bottom + sides[0] * inch + _TITLES + _legend_height(legend_above or {})
    figure = Figure(figsize=page)
    FigureCanvasAgg(figure)
    axes = figure.add_axes(
        (left / page[0], bottom / page[1], sides[1] * inch / page[0], sides[0] * inch / page[1]), frame_on=False
    )
    pasted = np.full((*sides, 3), 255, np.uint8)
    for row, (pictures, said) in enumerate(rows):
        y = row * (height + caption)
        for column, picture in enumerate(pictures):
            x = column * (cell + gap) + (cell - width) // 2
            pasted[y : y + height, x : x + width] = picture
            axes.add_patch(Rectangle((x - 0.5, y - 0.5), width, height, fill=False, edgecolor="grey", linewidth=0.5))
        axes.text(x + width / 2, y + height + caption / 2, said, fontsize=9, ha="center", va="center")
    for column, title in enumerate(titles):
        x = column * (cell + gap) + cell / 2
        axes.text(x, -_TITLES / 2 / inch, title, fontsize=10, ha="center", va="center")
    axes.imshow(pasted)
    axes.set(xticks=[], yticks=[])
    alike = {"ncols": _LEGEND_COLUMNS, "fontsize": 8, "frameon": False}
    figure.legend(handles=_patches(legend), loc="lower center", **alike)
    if legend_above:
        figure.legend(handles=_patches(legend_above), loc="upper center", **alike)
    figure.savefig(path, dpi=_PIXELS)


def _shrink(picture: np.ndarray) -> np.ndarray:
    """Return a picture of at most the pixels that are drawn of it; matplotlib takes long to shrink large ones."""
    height, width = picture.shape[:2]
    scale = min(1.0, _PIXELS * _LARGEST[0] / width, _PIXELS * _LARGEST[1] / height)
    size = max(1, round(scale * width)), max(1, round(scale * height))
    return picture if scale == 1 else cv2.resize(picture, size, interpolation=cv2.INTER_AREA)


def _legend_height(entries: Mapping[str, Colour]) -> float:
    return _LEGEND_MARGIN + _LEGEND_LINE * math.ceil(len(entries) / _LEGEND_COLUMNS) if entries else 0.0


def _patches(entries: Mapping[str, Colour]) -> list[Patch]:
    return [
        Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor="grey", linewidth=0.5, label=name)
        for name, (red, green, blue) in entries.items()
    ]
