"""From what was seen of a run to the one thing that is wrong with it, or to nothing.

What tells the cases apart is not F1 at 0.5, nor the mean prediction: a healthy run may predict nothing for epochs. It
is *skill*, how much better the best threshold is than predicting everything without looking at the image,

    skill = (best F1 - blind F1) / (1 - blind F1),    blind F1 = 2 p / (1 + p) for a share p of foreground

(0 knows nothing, 1 is perfect), together with the gap between the two kinds of pixels, and whether that grows.

Each rule takes looks, oldest first, and answers with a clause of evidence, or None. Where the numbers in capitals come
from, and how well they do, stands in `benchmarks/collapse.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kseg.diagnosis.windows import Window

# Skill below the first is none, above the second a model clearly tells foreground from background.
NO_SKILL, SKILL = 0.1, 0.2
# So far apart, in standard deviations, they are told apart even where rare foreground gives no F1 yet.
APART = 1.0
# The share of images that have to get one prediction.
NEARLY_ALL = 0.98
# A gap that grew by this many standard deviations over the looks in question is learning.
GROWTH = 0.12
# Validation is collapsed below these shares of training's F1, at the threshold and at the best one. A model that only
# overfits keeps above the first.
FAR_BELOW, BELOW = 0.3, 0.85
# Looks, of at least ten batches each, that have to agree: that a model died, and that it will not learn or not cross.
LOOKS, LOOKS_TO_LEARN = 3, 6
# Batches that a model is given before it is said to have learned nothing.
BATCHES = 50
# The median logit of foreground within this range is settled.
SETTLED = 0.4
# A logit that nothing sensible needs, and one that is worth a look when it has grown so much.
FAR, LARGE, RUNAWAY = 1000.0, 50.0, 4.0


@dataclass(frozen=True)
class Look:
    """A stretch of training, and the validation after it if there was one."""

    training: Window
    validation: Window | None = None

    def to_plain(self) -> dict[str, Any]:
        """As plain data and arrays."""
        return {"training": self.training.to_plain(), "validation": self.validation and self.validation.to_plain()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Look":
        """The reverse."""
        training, validation = plain["training"], plain["validation"]
        return cls(Window.from_plain(training), validation and Window.from_plain(validation))

    @property
    def seen(self) -> Window:
        """The better evidence: a validation sees one model, a stretch of training sees it change."""
        return self.validation or self.training

    @property
    def skill(self) -> float:
        """How much better than without looking at the image; at most 1."""
        return self.seen.skill

    @property
    def blind(self) -> bool:
        """Whether neither training nor validation tells foreground from background."""
        return all(window.skill < NO_SKILL and window.gap < APART for window in (self.training, self.seen))

    @property
    def healthy(self) -> bool:
        """Whether foreground and background are clearly told apart."""
        return self.skill > SKILL


Looks = Sequence[Look]


def not_finite(looks: Looks) -> str | None:
    """The loss or predictions are NaN or infinite."""
    now = looks[-1].training
    if now.finite:
        return None
    if now.bad_input and now.bad_input <= (now.bad_prediction or now.batch):
        return f"the images or masks of batch {now.bad_input} held NaN or infinity"
    if now.bad_prediction:
        return (
            f"predictions are not finite from batch {now.bad_prediction} on, though its input was: the update before "
            "it broke the weights, or values overflow in the model"
        )
    first = now.batch - now.batches + 1
    return f"the loss is not finite in batches {first} to {now.batch}, though input and predictions are"


def exploding(looks: Looks) -> str | None:
    """Logits that run away while they are finite."""
    now, before = looks[-1].training, [look.training.extreme for look in looks[:-1]]
    grown = before and now.extreme > max(LARGE, RUNAWAY * min(before))
    if now.extreme > FAR or (grown and now.extreme > before[-1]):
        since = f", up from {min(before):.3g}" if before else ""
        return f"1% of the logits are beyond {now.extreme:.4g} in size{since}; the loss is {now.loss:.4g}"
    return None


def constant_output(looks: Looks) -> str | None:
    """The same prediction everywhere, whatever the image."""
    counts = looks[-1].training.counts
    if counts.images and counts.constant >= NEARLY_ALL * counts.images:
        return (
            f"{counts.constant} of {counts.images} images got the same prediction in every pixel, "
            f"{counts.pred_mean:.4g} on average (the masks' mean is {counts.target_mean:.4g})"
        )
    return None


def validation_only(looks: Looks) -> str | None:
    """Training is healthy and validation collapsed, twice in a row."""
    recent = looks[-2:]
    if len(recent) < 2 or not all(look.validation and _healthy(look.training) for look in recent):
        return None
    if not all(_far_below(look.validation, look.training) for look in recent):
        return None
    now = recent[-1]
    return (
        f"F1 is {now.training.f1:.3f} in training and {now.validation.f1:.3f} in validation (the best threshold gives "
        f"{now.validation.best_f1:.3f}); the mean prediction is {now.training.counts.pred_mean:.4g} and "
        f"{now.validation.counts.pred_mean:.4g}"
    )


def under_confident(looks: Looks) -> str | None:
    """Pixels are ranked well, and none crosses the threshold."""
    return _never_crosses(looks, "background")


def over_confident(looks: Looks) -> str | None:
    """Pixels are ranked well, and all are over the threshold."""
    return _never_crosses(looks, "foreground")


def all_background(looks: Looks) -> str | None:
    """Next to nothing is predicted foreground, and foreground and background are not told apart more and more."""
    return _one_sided(looks, "background")


def all_foreground(looks: Looks) -> str | None:
    """Next to everything is predicted foreground, likewise."""
    return _one_sided(looks, "foreground")


def not_learning(looks: Looks) -> str | None:
    """After a fair time the best threshold is no better than predicting without looking at the image."""
    recent = looks[-LOOKS_TO_LEARN:]
    if len(recent) < LOOKS_TO_LEARN or _batches(looks) < LOOKS_TO_LEARN * BATCHES // LOOKS or _growing(recent):
        return None
    if not all(look.blind for look in recent) or max(look.skill for look in looks) > SKILL:
        return None
    now = looks[-1].seen
    return (
        f"after {looks[-1].training.batch} batches the best threshold gives F1 {now.best_f1:.3f}, and predicting "
        f"everything, without looking at the image, {now.blind_f1:.3f}; the gap is {now.gap:.2f} standard deviations"
    )


def _healthy(window: Window) -> bool:
    return window.skill > SKILL and not window.one_sided


def _far_below(validation: Window, training: Window) -> bool:
    return validation.f1 < FAR_BELOW * training.f1 and validation.best_f1 < BELOW * training.best_f1


def _batches(looks: Looks) -> int:
    return sum(look.training.batches for look in looks)


def _growing(looks: Looks) -> bool:
    """Whether foreground and background come apart."""
    gaps = [look.seen.gap for look in looks]
    return max(gaps[-2:]) - min(gaps[:2]) > GROWTH and gaps[-1] > 0


def _settled(looks: Looks) -> bool:
    """Whether predictions stay where they are, as those of a model that found the best constant do."""
    seen = [look.seen.foreground_logit for look in looks]
    training = [look.training.foreground_logit for look in looks]
    return (max(seen) - min(seen) + max(training) - min(training)) / 2 < SETTLED


def _never_crosses(looks: Looks, side: str) -> str | None:
    recent = looks[-LOOKS_TO_LEARN:]
    if len(recent) < LOOKS_TO_LEARN or not all(look.seen.one_sided == side and look.skill > SKILL for look in recent):
        return None
    now = recent[-1].seen
    return (
        f"at the threshold F1 is {now.f1:.3f}, at {now.best_threshold:.2g} it is {now.best_f1:.3f}; "
        f"foreground and background are {now.gap:.1f} standard deviations apart"
    )


def _one_sided(looks: Looks, side: str) -> str | None:
    now, recent = looks[-1], looks[-LOOKS:]
    if not (now.training.one_sided == side and now.seen.one_sided == side and now.blind):
        return None
    fell = max(look.skill for look in looks) > SKILL
    if not fell:
        stays = len(recent) == LOOKS and all(look.seen.one_sided == side and look.blind for look in recent)
        if not stays or _batches(looks) < BATCHES or _growing(looks[-LOOKS - 1 :]) or _settled(recent):
            return None
    counts = now.training.counts
    other, wrong = "foreground", counts.predicted
    if side == "foreground":
        other, wrong = "background", counts.pixels - counts.predicted
    return (
        f"{wrong} of {counts.pixels} pixels were predicted {other} in the last {now.training.batches} batches: "
        f"pred_mean={counts.pred_mean:.6f}, target_mean={counts.target_mean:.4f}; the gap is {now.seen.gap:.2f} "
        f"standard deviations{', after it had been larger' if fell else ' and not growing'}"
    )


@dataclass(frozen=True)
class Cause:
    """A rule, and what to do when it speaks."""

    rule: Callable[[Looks], str | None]
    remedy: str
    recoverable: bool = False
    """Whether going back, with a lower learning rate, can mend it."""
    harmful: bool = True
    """Whether the run is worth stopping for it."""

    @property
    def name(self) -> str:
        """Its documented name."""
        return self.rule.__name__


_SIDE = (
    "Lower the learning rate, start with the output bias at the share of foreground (kseg.models.set_output_bias), and "
    "keep CombinedSegmentationLoss. "
)

# In the order in which they are asked: the first that speaks names the cause.
CAUSES = (
    Cause(
        not_finite,
        "If the input was not finite, mend the file: kseg.preflight looks at the first batches. Otherwise lower the "
        "learning rate, clip the gradient (global_clipnorm=1.0), and in float16 use a loss of kseg, whose sums are "
        "float32.",
        recoverable=True,
    ),
    Cause(
        exploding,
        "Lower the learning rate, clip the gradient (global_clipnorm=1.0), and see that images are scaled.",
        recoverable=True,
    ),
    Cause(
        constant_output,
        "Activations are dead, or the model's input is not used: lower the learning rate, look at the "
        "initialisation, the biases and the scale of the images.",
        recoverable=True,
    ),
    Cause(
        validation_only,
        "Validation images come to the model otherwise than training images do: compare their scaling, their channel "
        "order and their mean; with BatchNormalization use GroupNormalization, or a lower momentum.",
    ),
    Cause(
        under_confident,
        "The model has learned: evaluate at that threshold (--threshold auto), or train longer, or with "
        "CombinedSegmentationLoss instead of BCE.",
        harmful=False,
    ),
    Cause(
        over_confident,
        "The model has learned: evaluate at that threshold (--threshold auto), or train longer, or weigh false "
        "positives more.",
        harmful=False,
    ),
    Cause(
        all_background,
        _SIDE + "If most masks are empty, sample around foreground (--foreground-crops).",
        recoverable=True,
    ),
    Cause(all_foreground, _SIDE + "See that the masks are not inverted.", recoverable=True),
    Cause(
        not_learning,
        "See that each image has its own mask (a shuffled file list looks like this), that weights are trainable, and "
        "that the learning rate is not far too small or too large.",
    ),
)


def code_of(cause: str | None) -> float:
    """The number that stands for a cause in logs, where Keras takes no words; 0 for none."""
    names = [None, *(known.name for known in CAUSES)]
    return float(names.index(cause))


def cause_of(code: float) -> str:
    """The name of a cause by its number; empty for none.

    >>> cause_of(code_of("all_background"))
    'all_background'
    """
    return CAUSES[int(code) - 1].name if code else ""
