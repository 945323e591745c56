"""The worst, the best, and some random images of an evaluation, drawn."""

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from kseg.data.files.bands import to_rgb
from kseg.reports.class_predictions import judge
from kseg.reports.page import Picture

_SHOWN = {"worst": 12, "best": 6, "random": 12}
_LONGEST = 640  # pixels of the longer side


@dataclass
class Gallery:
    """Keeps the pictures of a few images; the others are never drawn.

    Args:
        number: the number K of foreground classes.
    """

    number: int
    _kept: dict[str, list[tuple[float, Picture]]] = field(default_factory=lambda: {kind: [] for kind in _SHOWN})

    def add(
        self, name: str, image: np.ndarray, right: np.ndarray, found: np.ndarray, valid: np.ndarray, f1: float
    ) -> None:
        """Look at an image.

        Args:
            name: of the image.
            image: uint8 `(H, W, C)`.
            right, found, valid: as for `score_image`.
            f1: of the image, the mean over its classes.
        """
        # Random, and the same ones for another model.
        chance = float(int(hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8], 16))
        for kind, rank in (("worst", f1), ("best", -f1), ("random", chance)):
            self._keep(kind, rank, lambda: self._draw(name, image, right, found, valid))

    def _keep(self, kind: str, rank: float, draw: Callable[[], Picture]) -> None:
        kept = self._kept[kind]
        if len(kept) < _SHOWN[kind] or rank < kept[-1][0]:
            kept.append((rank, draw()))
            kept.sort(key=lambda pair: pair[0])
            del kept[_SHOWN[kind] :]

    def _draw(self, name: str, image: np.ndarray, right: np.ndarray, found: np.ndarray, valid: np.ndarray) -> Picture:
        height, width = right.shape[:2]
        scale = min(1, _LONGEST / max(height, width))
        if scale < 1:
            rows, columns = (_every(side, max(round(side * scale), 1)) for side in (height, width))
            image = cv2.resize(
                np.ascontiguousarray(to_rgb(image)), (len(columns), len(rows)), interpolation=cv2.INTER_AREA
            )
            right, found, valid = (layers[np.ix_(rows, columns)] for layers in (right, found, valid))
        picture, score = judge(image, right, found, valid)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=85)
        share = right.any(-1).sum() / max(valid.any(-1).sum(), 1)
        data = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        return Picture(data, name, f"{score}, {share:.1%} foreground")

    def sections(self) -> list[tuple[str, list[Picture]]]:
        """Return the pictures under their titles."""
        legend = "green: right, orange: false alarm, blue: missed" + (
            ", yellow: another class" if self.number > 1 else ""
        )
        titles = {"worst": f"The worst images ({legend})", "best": "The best images", "random": "Random images"}
        return [(title, [picture for _, picture in self._kept[kind]]) for kind, title in titles.items()]


def _every(side: int, number: int) -> np.ndarray:
    """Return `number` places, evenly spaced, of a side of that many pixels."""
    return (np.arange(number) * side) // number
