"""Charts as SVG, in the colours of a page: lines over epochs, and points."""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 640, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 66, 10, 42, 30
_TICKS = 4


def line_chart(
    title: str,
    series: Mapping[str, Sequence[float | None]],
    marks: Sequence[tuple[int, str]] = (),
    *,
    top: float | None = None,
) -> Markup:
    """Return a chart of values over epochs, as SVG.

    Args:
        title: said above it.
        series: the values of each line, one an epoch; None or NaN where there is none.
        marks: epochs, from 1 on, at which something is to be seen, and its name.
        top: the largest value of the axis; None: that of the values.
    """
    known: dict[str, list[tuple[int, float]]] = {}
    for name, values in series.items():
        points = [(epoch, value) for epoch, value in enumerate(values, 1) if value is not None and math.isfinite(value)]
        if points:
            known[name] = points
    epochs = max((len(values) for values in series.values()), default=1)
    heights = [value for points in known.values() for _, value in points]
    x = _Axis(1, epochs, _LEFT, _WIDTH - _RIGHT)
    y = _Axis(min([0.0, *heights]), top or max(heights, default=1.0), _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(title, x, y, "epoch")]
    for number, (name, points) in enumerate(known.items()):
        path = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in points)
        parts.append(f'<polyline class="line{number}" points="{path}"/>')
        if len(points) == 1:
            parts.append(f'<circle class="dot{number}" cx="{x(points[0][0]):.1f}" cy="{y(points[0][1]):.1f}" r="3"/>')
        parts.append(f'<text class="name{number}" x="{_LEFT + 118 * number}" y="32">{escape(name)}</text>')
    for epoch, text in marks:
        parts.append(
            f'<line class="mark" x1="{x(epoch):.1f}" x2="{x(epoch):.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}">'
            f"<title>epoch {epoch}: {escape(text)}</title></line>"
        )
    return _svg(title, parts)


def scatter_chart(title: str, across: str, points: Sequence[tuple[float, float, str]], *, log: bool = False) -> Markup:
    """Return points with a height of 0 to 1, as SVG.

    Args:
        title: said above it.
        across: what the horizontal axis is.
        points: across, height, and a name that is shown where the pointer is.
        log: whether the horizontal axis is logarithmic.
    """
    places = [math.log10(max(one, 1e-9)) if log else one for one, _, _ in points]
    x = _Axis(min(places, default=0.0), max(places, default=1.0), _LEFT, _WIDTH - _RIGHT)
    y = _Axis(0, 1, _HEIGHT - _BOTTOM, _TOP)
    parts = [_frame(title, x, y, f"{across}, powers of 10" if log else across)]
    for place, (_, value, name) in zip(places, points, strict=True):
        if math.isfinite(value):
            said = f"<title>{escape(name)}: {value:.3f}</title>"
            parts.append(f'<circle class="dot0" cx="{x(place):.1f}" cy="{y(value):.1f}" r="3">{said}</circle>')
    return _svg(title, parts)


class _Axis:
    """From values to places in the picture."""

    def __init__(self, low: float, high: float, first: float, last: float) -> None:
        self.low, self.high = low, high if high > low else low + 1
        self._first, self._last = first, last

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self._first + share * (self._last - self._first)


def _frame(title: str, x: _Axis, y: _Axis, label: str) -> str:
    lines = [f'<text x="{_LEFT}" y="16">{escape(title)}</text>']
    for step in range(_TICKS + 1):
        value = y.low + (y.high - y.low) * step / _TICKS
        ends = f'x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
        lines.append(f'<line class="grid" {ends}/>')
        lines.append(f'<text x="{_LEFT - 5}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for value, anchor in ((x.low, "start"), (x.high, "end")):
        lines.append(f'<text x="{x(value):.1f}" y="{_HEIGHT - 12}" text-anchor="{anchor}">{value:.3g}</text>')
    lines.append(f'<text x="{(_WIDTH + _LEFT) / 2}" y="{_HEIGHT - 12}" text-anchor="middle">{escape(label)}</text>')
    return "".join(lines)


def _svg(title: str, parts: Sequence[str]) -> Markup:
    head = f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">'
    return Markup(head + "".join(parts) + "</svg>")
