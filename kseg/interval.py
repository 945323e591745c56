"""How often something is done: `200 batches`, `60 seconds`, `1 epoch`, or `auto`."""

import re
from dataclasses import dataclass

_UNITS = {"batch": "batches", "second": "seconds", "s": "seconds", "minute": "minutes", "min": "minutes"}
_UNITS |= {"epoch": "epochs"} | {unit: unit for unit in ("batches", "seconds", "minutes", "epochs")}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)")
_EXPECTED = "expected auto, or a number above 0 and a unit, such as '200 batches', '60 s', '5 minutes' or '1 epoch'"

# Of `auto`: seconds between two, and how many times longer than the work itself the time between two has to be.
_SECONDS, _TIMES = 60.0, 50.0


@dataclass(frozen=True)
class Interval:
    """A number of batches, seconds or epochs.

    >>> Interval.parse("5 min")
    Interval(count=300.0, unit='seconds', auto=False)
    """

    count: float
    unit: str
    """`batches`, `seconds` or `epochs`."""
    auto: bool = False
    """Whether it may grow, so that the work takes no more than 2% of the time."""

    @classmethod
    def parse(cls, text: str) -> "Interval":
        """Read it.

        Raises:
            ValueError: it is no interval; says what would be.
        """
        if text == "auto":
            return cls(_SECONDS, "seconds", auto=True)
        found = _TEXT.fullmatch(text.strip().lower())
        unit = _UNITS.get(found[2]) if found else None
        if unit is None or not float(found[1]) or (unit in ("batches", "epochs") and not float(found[1]).is_integer()):
            raise ValueError(f"{text!r} is not allowed; {_EXPECTED}.")
        if unit == "minutes":
            return cls(60 * float(found[1]), "seconds")
        return cls(float(found[1]), unit)

    def over(self, *, batches: int, seconds: float, epochs: int, cost: float) -> bool:
        """Whether so much has passed. `cost` is how many seconds the work took the last time."""
        if self.unit == "seconds":
            return seconds >= max(self.count, _TIMES * cost if self.auto else 0)
        return (batches if self.unit == "batches" else epochs) >= self.count
