"""What a loss or metric expects: logits or probabilities, indices or channels, which value it ignores."""

import contextlib
import inspect
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras

from kseg.findings import Finding
from kseg.losses import BCELoss, bce

_STANDARD_PACKAGES = ("keras", "kseg")


class Measure(NamedTuple):
    """What a loss or metric says about itself."""

    name: str
    origin: str
    """The package that defines it."""
    from_logits: bool | None
    """Whether it expects logits; None if it does not say."""
    ignored: int | None
    """The class index that it ignores."""
    activation: str | None = None
    """How it makes probabilities of logits, "sigmoid" or "softmax", if it was told."""

    @classmethod
    def of(cls, given: Any) -> "Measure":
        """Describe what was given to `compile`: an object, a function or a name."""
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
            activation=_activation(given),
        )

    @property
    def sparse(self) -> bool:
        """Whether it expects class indices, where the output has several channels, and nothing else."""
        return "sparse" in self.name.lower()

    @property
    def takes_indices(self) -> bool:
        """Whether it may expect class indices, where the output has several channels."""
        return self.sparse or not self.is_standard or (self.origin == "kseg" and self.activation != "sigmoid")

    @property
    def is_standard(self) -> bool:
        """Whether Keras or kseg defines it, so that we know how it reads masks."""
        return self.origin in _STANDARD_PACKAGES

    @property
    def expects_classes(self) -> bool:
        """Whether it surely expects masks of classes, and nothing else."""
        return self.from_logits is not None and self.is_standard


def check_names(metrics: Sequence[Any]) -> Finding | None:
    """Return a warning if a metric overwrites the results of another one in the logs, as those of two outputs do."""
    with_results = [metric for metric in metrics if hasattr(metric, "output_name")]
    counts = Counter((type(metric).__name__, metric.output_name) for metric in with_results)
    (kind, _), number = max(counts.items(), key=lambda item: item[1], default=(("", None), 0))
    if number < 2:
        return None
    evidence = f"{number} metrics {kind} have the same names in the logs, so that one hides the others"
    return Finding("same_names", "warning", evidence, f"Pass {kind}(output_name=…) for each output, or keep one.")


def _activation(given: Any) -> str | None:
    if isinstance(given, BCELoss) or given is bce:
        return "sigmoid"
    if hasattr(given, "activation"):
        return given.activation
    if isinstance(given, keras.losses.Loss) and type(given).__module__.startswith("kseg."):
        return given.get_config().get("activation")
    return None


_TAKE_PROBABILITIES = (keras.losses.dice, keras.losses.tversky, keras.losses.Dice, keras.losses.Tversky)


def _from_logits(given: Any) -> bool | None:
    """Return whether a loss or metric expects logits; None if it does not say."""
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
