"""A large image by tiles: as much memory as a row of tiles needs, and no seams."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from kseg.data.files.rows import Rows
from kseg.errors import KsegError

Bands = Iterator[np.ndarray]
"""The probabilities of an image from top to bottom: float32 `(height of the band, W, outputs)`."""

_SIGMA = 1 / 8  # of the weights, in sides of a tile; as in nnU-Net


@dataclass(frozen=True)
class Tiling:
    """How an image is cut into tiles, and how their predictions are joined.

    Tiles overlap. Where they do, predictions are averaged with Gaussian weights, and the outer quarter of the overlap
    has no weight: the network sees a rim of zeros there. So a model that looks no further than a quarter of the
    overlap predicts the same by tiles as in one piece.

    Args:
        tile: height and width of a tile, in pixels.
        overlap: share of a tile, 0 to below 1, that the next tile covers too.
    """

    tile: tuple[int, int]
    overlap: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise KsegError(f"overlap: {self.overlap} is not allowed; expected 0 or more, and less than 1.")

    def bands(
        self,
        rows: Rows,
        predict_each: Callable[[Iterable[np.ndarray]], Iterator[np.ndarray]],
        progress: Callable[[int], object] = lambda tiles: None,
    ) -> Bands:
        """Yield the probabilities of an image, from top to bottom.

        Args:
            rows: the image.
            predict_each: yields for each tile, uint8 `(H, W, C)`, its probabilities, float32 `(H, W, outputs)`. It may
                read some tiles ahead.
            progress: called with the number of tiles that were done.
        """
        height, width = rows.shape[:2]
        (down, across), (tile_height, tile_width) = self.positions((height, width)), self.tile
        weights = [_weights(tile, self._rim(tile)) for tile in self.tile]
        total = [
            _sum_of_weights(starts, weight, size)
            for starts, weight, size in zip((down, across), weights, (height, width), strict=True)
        ]
        tile_weights = (weights[0][:, None] * weights[1])[..., None]
        found = predict_each(self._tiles(rows, down, across))
        sums = np.zeros(())
        for top, next_top in zip(down, [*down[1:], height], strict=True):
            for left in across:
                one = next(found)
                progress(1)
                if not sums.ndim:
                    sums = np.zeros((tile_height, width, one.shape[2]), np.float32)
                inside = slice(max(left, 0), min(left + tile_width, width))
                sums[:, inside] += (one * tile_weights)[:, inside.start - left : inside.stop - left]
            first, last = max(top, 0), max(min(next_top, height), 0)
            weight = total[0][first:last, None] * total[1]
            yield sums[first - top : last - top] / weight[..., None]
            done = next_top - top
            sums[:-done] = sums[done:]
            sums[-done:] = 0

    def _tiles(self, rows: Rows, down: list[int], across: list[int]) -> Iterator[np.ndarray]:
        """Yield the tiles of an image, row by row, each of which is read once."""
        height, width = self.tile
        for top in down:
            picture = _reflected_rows(rows, top, top + height)
            for left in across:
                yield picture[:, _reflect(left, left + width, rows.shape[1])]

    def positions(self, size: tuple[int, int]) -> tuple[list[int], list[int]]:
        """Return the first row, and the first column, of each tile; the first ones stand out by the rim."""
        down, across = (self._starts(length, tile) for length, tile in zip(size, self.tile, strict=True))
        return down, across

    def _starts(self, length: int, tile: int) -> list[int]:
        rim = self._rim(tile)
        step = max(round(tile * (1 - self.overlap)), 1)
        number = 1 + max(-(-(length - (tile - 2 * rim)) // step), 0)
        return [index * step - rim for index in range(number)]

    def _rim(self, tile: int) -> int:
        return int(tile * self.overlap / 4)


def _weights(tile: int, rim: int) -> np.ndarray:
    distance = np.abs(np.arange(tile) + 0.5 - tile / 2)
    weights = np.exp(-0.5 * (distance / (_SIGMA * tile)) ** 2)
    return np.where(distance < tile / 2 - rim, weights, 0).astype(np.float32)


def _sum_of_weights(starts: list[int], weights: np.ndarray, length: int) -> np.ndarray:
    total = np.zeros(length, np.float32)
    for start in starts:
        inside = slice(max(start, 0), min(start + len(weights), length))
        total[inside] += weights[inside.start - start : inside.stop - start]
    return total


def _reflect(start: int, stop: int, length: int) -> np.ndarray:
    """Return indices into an axis of this length, reflected at its ends: -1 is 1, and `length` is `length - 2`.

    >>> _reflect(-2, 5, 3)
    array([2, 1, 0, 1, 2, 1, 0])
    """
    period = max(2 * (length - 1), 1)
    indices = np.abs(np.arange(start, stop)) % period
    return np.minimum(indices, period - indices)


def _reflected_rows(rows: Rows, top: int, bottom: int) -> np.ndarray:
    wanted = _reflect(top, bottom, rows.shape[0])
    first, last = int(wanted.min()), int(wanted.max()) + 1
    picture = rows.read(first, last)
    is_plain = np.array_equal(wanted, np.arange(first, last))  # then a copy would only take memory
    return picture if is_plain else picture[wanted - first]
