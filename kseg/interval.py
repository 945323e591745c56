"""How often to do something: every `200 batches`, `60 seconds`, `1 epoch`, or `auto`."""

import re
from dataclasses import dataclass

_UNITS = {"batch": "batches", "second": "seconds", "s": "seconds", "minute": "minutes", "min": "minutes"}
_UNITS |= {"epoch": "epochs"} | {unit: unit for unit in ("batches", "seconds", "minutes", "epochs")}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_EXPECTED = "expected auto, or a number above 0 and a unit, such as '200 batches', '60 s', '5 minutes' or '1 epoch'"

# `auto` is at least so many seconds, and at least so many times as long as the work itself: 2% of the time.
_AUTO_SECONDS, _AUTO_TIMES = 60.0, 50.0


@dataclass(frozen=True)
class Interval:
    """An interval in batches, seconds or epochs.

    >>> Interval.parse("5 min")
    Interval(count=300.0, unit='seconds', auto=False)
    """

    count: float
    unit: str
    """`batches`, `seconds` or `epochs`."""
    auto: bool = False
    """Whether the interval grows, so that the work takes at most 2% of the time."""

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read an interval from text: `auto`, or a number and a unit.

        Raises:
            ValueError: the text is not an interval.
        """
        if text == "auto":
            return cls(_AUTO_SECONDS, "seconds", auto=True)
        match = _TEXT.fullmatch(text.strip().lower())
        count, unit = (float(match[1]), _UNITS.get(match[2])) if match else (0.0, None)
        if unit is None or not count or (unit in ("batches", "epochs") and not count.is_integer()):
            raise ValueError(f"{text!r} is not allowed; {_EXPECTED}.")
        if unit == "minutes":
            return cls(60 * count, "seconds")
        return cls(count, unit)

    def is_due(self, *, batches: int, seconds: float, epochs: int, cost: float) -> bool:
        """Whether the interval has passed since the last work, which took `cost` seconds."""
        if self.unit == "seconds":
            return seconds >= max(self.count, _AUTO_TIMES * cost if self.auto else 0)
        return (batches if self.unit == "batches" else epochs) >= self.count
