"""What a loss or metric takes, as far as it says so."""

import contextlib
import inspect
from typing import Any, NamedTuple

import keras

_KNOWN = ("keras", "kseg")


class Measure(NamedTuple):
    """What a loss or metric says of itself."""

    name: str
    origin: str
    """The package it comes from."""
    from_logits: bool | None
    """None if it does not say."""
    ignored: int | None
    """A class index that it leaves out."""

    @classmethod
    def of(cls, given: Any) -> "Measure":
        """Of what `compile` takes: an object, a function, a name."""
        if isinstance(given, str):
            # Names such as "crossentropy" have no meaning before Keras sees shapes.
            with contextlib.suppress(ValueError):
                given = keras.losses.get(given)
        function = getattr(given, "fn", given)
        return cls(
            name=getattr(given, "__name__", type(given).__name__),
            origin=(function if inspect.isfunction(function) else type(function)).__module__.partition(".")[0],
            from_logits=_from_logits(given),
            ignored=getattr(given, "ignore_class", None),
        )

    @property
    def sparse(self) -> bool:
        """Whether it takes class indices for several channels."""
        return "sparse" in self.name.lower()

    @property
    def known(self) -> bool:
        """Whether it is one of Keras or of kseg."""
        return self.origin in _KNOWN

    @property
    def takes_classes(self) -> bool:
        """Whether it is known to take masks of classes and nothing else."""
        return self.from_logits is not None and self.known


_TAKE_PROBABILITIES = (keras.losses.dice, keras.losses.tversky, keras.losses.Dice, keras.losses.Tversky)


def _from_logits(given: Any) -> bool | None:
    """Whether a loss or metric takes logits, None if it does not say."""
    if given in _TAKE_PROBABILITIES or type(given) in _TAKE_PROBABILITIES:
        return False
    if hasattr(given, "from_logits"):
        return given.from_logits
    if inspect.isfunction(given):
        parameter = inspect.signature(given).parameters.get("from_logits")
        return parameter.default if parameter else None
    if isinstance(given, keras.losses.Loss) and not hasattr(given, "fn"):
        return given.get_config().get("from_logits")
    return None
