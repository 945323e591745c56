"""Masks with a channel for each label: labels may overlap, and each is read by itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kseg import IGNORE
from kseg.data.labels import Foreground, decide_foreground, foreground_as_set
from kseg.data.survey import MaskValues, describe_soft_edges, list_values, values_in
from kseg.errors import KsegError
from kseg.task import Task

MAX_LABELS = 100  # OpenCV takes up to 127 channels at once


@dataclass(frozen=True)
class Labels:
    """The rule that turns masks with a channel for each label into 0, 1 and 255 (ignored) of each.

    Args:
        names: the names of the labels to tell apart.
        channels: the channel of each in the stored masks.
        foreground: the meaning of the values in a channel.
        shares: the share of each label among the pixels of the training masks, as far as known; of one label alone that
            of background first.

    >>> rule = Labels(names=("nucleus", "cell"), channels=(1, 0), foreground=Foreground(values=(255,), ignored=()))
    >>> rule.task.kind, rule.table()[[0, 255]].tolist()
    ('multilabel', [0, 1])
    """

    names: tuple[str, ...]
    channels: tuple[int, ...]
    foreground: Foreground
    shares: tuple[float, ...] = field(default=(), compare=False)

    @property
    def task(self) -> Task:
        """What a model of these labels tells apart; one label alone is foreground."""
        return Task("multilabel" if len(self.names) > 1 else "binary", self.names)

    @property
    def foreground_shares(self) -> tuple[float, ...]:
        """The share of each label."""
        return self.shares[-len(self.names) :]

    @property
    def only(self) -> tuple[int, ...] | None:
        """The values that the rule covers; None: all."""
        return self.foreground.only

    def __str__(self) -> str:
        return f"{self.foreground}, in each of {len(self.names)} channels"

    def settings(self) -> dict[str, Any]:
        """Return the settings that give this rule for the same masks."""
        return {"task": "multilabel", "foreground": self.foreground.setting, "classes": self.names}

    def table(self) -> np.ndarray:
        """Return the new value of each stored value, uint8 `(65536,)`."""
        return self.foreground.table()


def find_labels(
    name: str, found: Sequence[str], classes: Sequence[str] | None, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the names of the labels to tell apart, and the channel of each.

    Args:
        name: the data set, for messages.
        found: the name of each channel.
        classes: the labels to take, by name; None: all.
        class_names: other names for the channels; None: those that were found.

    Raises:
        KsegError: another number of names; there is no such label, a label twice, or too many.
    """
    known = tuple(class_names or found)
    if len(known) != len(found):
        raise KsegError(
            f"class_names: {', '.join(known)} are {len(known)} names, and the masks of {name} have {len(found)} "
            f"channels: {list_values(found)}. Expected one for each."
        )
    chosen = known if classes is None else tuple(classes)
    unknown = [label for label in chosen if label not in known]
    if unknown:
        raise KsegError(f"classes: {name} has no {', '.join(unknown)}; its masks hold {list_values(known)}.")
    if len(set(chosen)) < len(chosen):
        raise KsegError(f"classes: {', '.join(chosen)} name a label twice; expected each once.")
    if len(chosen) > MAX_LABELS:
        raise KsegError(f"{name} has {len(chosen)} labels; expected at most {MAX_LABELS}. Select some with --classes.")
    return chosen, tuple(known.index(label) for label in chosen)


def read_label_values(survey: Sequence[MaskValues], name: str, setting: Any, *, named: bool) -> Foreground:
    """Return what the values in the channels of labels mean.

    Args:
        survey: each channel of each mask.
        name: the data set, for messages.
        setting: as in `kseg.data.find_foreground`.
        named: whether the masks are drawn from annotations, as 0, 1 and 255 for ignored pixels.

    Raises:
        KsegError: with `auto`, a channel has soft edges, or holds more than 0 and 1, or 0 and 255, and pixels to
            ignore.
    """
    if setting != "auto":
        return foreground_as_set(setting)
    soft = describe_soft_edges(name, survey)
    if soft and not named:
        raise KsegError(f"{soft} --foreground white takes 128 and above as foreground.")
    found = values_in(survey)
    if not set(found) <= {0, 1, IGNORE}:
        raise KsegError(
            f"The masks of {name} hold {list_values(found)}; expected 0 and 1, or 0 and 255, in the mask of each "
            "label. Set the foreground values with --foreground (values, or any), or correct the masks."
        )
    return Foreground(None, because="drawn from annotations") if named else decide_foreground(survey, name, named=False)
