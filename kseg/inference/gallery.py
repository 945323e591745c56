"""The worst, the best, and some random images of an evaluation, drawn."""

import base64
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from PIL import Image

from kseg import IGNORE
from kseg.data.files.bands import to_rgb
from kseg.reports.class_predictions import judge_classes
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

    def add(self, name: str, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, f1: float) -> None:
        """Look at an image.

        Args:
            name: of the image.
            image: uint8 `(H, W, C)`.
            truth: class indices and 255, uint8 `(H, W)`.
            predicted: class indices, uint8 `(H, W)`.
            f1: of the image, the mean over its classes.
        """
        # Random, and the same ones for another model.
        chance = float(int(hashlib.sha256(name.encode(errors="replace")).hexdigest()[:8], 16))
        for kind, rank in (("worst", f1), ("best", -f1), ("random", chance)):
            self._keep(kind, rank, lambda: self._draw(name, image, truth, predicted))

    def _keep(self, kind: str, rank: float, draw: Callable[[], Picture]) -> None:
        kept = self._kept[kind]
        if len(kept) < _SHOWN[kind] or rank < kept[-1][0]:
            kept.append((rank, draw()))
            kept.sort(key=lambda pair: pair[0])
            del kept[_SHOWN[kind] :]

    def _draw(self, name: str, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> Picture:
        scale = min(1, _LONGEST / max(truth.shape))
        if scale < 1:
            size = [max(round(side * scale), 1) for side in truth.shape[::-1]]
            image = cv2.resize(np.ascontiguousarray(to_rgb(image)), size, interpolation=cv2.INTER_AREA)
            truth, predicted = (cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in (truth, predicted))
        picture, score = judge_classes(image, truth, predicted.astype(np.int64), self.number + 1)
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "JPEG", quality=85)
        share = np.isin(truth, range(1, self.number + 1)).sum() / max((truth != IGNORE).sum(), 1)
        data = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        return Picture(data, name, f"{score}, {share:.1%} foreground")

    def sections(self) -> list[tuple[str, list[Picture]]]:
        """Return the pictures under their titles."""
        legend = "green: right, orange: false alarm, blue: missed" + (
            ", yellow: another class" if self.number > 1 else ""
        )
        titles = {"worst": f"The worst images ({legend})", "best": "The best images", "random": "Random images"}
        return [(title, [picture for _, picture in self._kept[kind]]) for kind, title in titles.items()]
