"""Rules that name the one thing that is wrong with a run, or nothing.

F1 at threshold 0.5 and the mean prediction do not tell the causes apart: a healthy run may predict no foreground for
epochs. The rules use *skill*, how much better the best threshold is than predicting foreground everywhere,

    skill = (best F1 - blind F1) / (1 - blind F1),    blind F1 = 2 p / (1 + p) for a share p of foreground

(0 is no better, 1 is perfect), the gap between the logits of foreground and background, and whether the gap grows.

Each rule takes observations, oldest first, and returns evidence, a clause without a full stop, or None.
`benchmarks/collapse.py` measures the rules; the numbers in capitals come from it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kseg.diagnosis.windows import Window

# Below the first, a model has no skill; above the second, it clearly separates foreground from background.
NO_SKILL, SKILL = 0.1, 0.2
# A gap, in standard deviations, that separates them even where foreground is too rare for a good F1.
APART = 1.0
# The share of images that must have a constant prediction.
NEARLY_ALL = 0.98
# A model learns if its gap grew by this many standard deviations over the observations in question.
GROWTH = 0.12
# Validation has collapsed if its F1 is below these shares of the training F1, the first at the monitor's threshold, the
# second at the best one. A model that only overfits stays above the first.
FAR_BELOW, BELOW = 0.3, 0.85
# Observations, of ten batches or more each, that must agree: on a collapse, and on not learning or a wrong threshold.
TO_COLLAPSE, TO_NOT_LEARN = 3, 6
# Batches before a model can be called collapsed that was never healthy.
MIN_BATCHES = 50
# Predictions are settled if the median logit of foreground stays within this range.
SETTLED = 0.4
# Logits beyond the first explode. Those beyond the second do if they grew by the third, as a factor.
FAR, LARGE, RUNAWAY = 1000.0, 50.0, 4.0


@dataclass(frozen=True)
class Observation:
    """Some batches of training, and the validation after them, if there was one."""

    training: Window
    validation: Window | None = None

    def to_plain(self) -> dict[str, Any]:
        """Return plain data and arrays."""
        return {"training": self.training.to_plain(), "validation": self.validation and self.validation.to_plain()}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Observation":
        """Make an observation from what `to_plain` returned."""
        training, validation = plain["training"], plain["validation"]
        return cls(Window.from_plain(training), validation and Window.from_plain(validation))

    @property
    def evidence(self) -> Window:
        """The validation, else the training: the model changes during training."""
        return self.validation or self.training

    @property
    def skill(self) -> float:
        """The skill of the best evidence; at most 1."""
        return self.evidence.skill

    @property
    def blind(self) -> bool:
        """Whether foreground is separated from background neither in training nor in validation."""
        return all(window.skill < NO_SKILL and window.gap < APART for window in (self.training, self.evidence))

    @property
    def healthy(self) -> bool:
        """Whether foreground is clearly separated from background."""
        return self.skill > SKILL


Observations = Sequence[Observation]


def not_finite(observations: Observations) -> str | None:
    """The loss or a prediction is NaN or infinite."""
    now = observations[-1].training
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


def exploding(observations: Observations) -> str | None:
    """Logits grow without bound and are still finite."""
    now, before = observations[-1].training, [one.training.extreme for one in observations[:-1]]
    grown = before and now.extreme > max(LARGE, RUNAWAY * min(before))
    if now.extreme > FAR or (grown and now.extreme > before[-1]):
        since = f", up from {min(before):.3g}" if before else ""
        return f"1% of the logits are beyond {now.extreme:.4g} in size{since}; the loss is {now.loss:.4g}"
    return None


def constant_output(observations: Observations) -> str | None:
    """The prediction is the same everywhere, whatever the image."""
    counts = observations[-1].training.counts
    if counts.images and counts.constant >= NEARLY_ALL * counts.images:
        return (
            f"{counts.constant} of {counts.images} images got the same prediction in every pixel, "
            f"{counts.pred_mean:.4g} on average (the masks' mean is {counts.target_mean:.4g})"
        )
    return None


def validation_only(observations: Observations) -> str | None:
    """Training is healthy and validation has collapsed, twice in a row."""
    recent = [(one.training, one.validation) for one in observations[-2:] if one.validation]
    if len(recent) < 2 or not all(_is_healthy(training) for training, _ in recent):
        return None
    if not all(_is_far_below(validation, training) for training, validation in recent):
        return None
    training, validation = recent[-1]
    return (
        f"F1 is {training.f1:.3f} in training and {validation.f1:.3f} in validation (the best threshold gives "
        f"{validation.best_f1:.3f}); the mean prediction is {training.counts.pred_mean:.4g} and "
        f"{validation.counts.pred_mean:.4g}"
    )


def under_confident(observations: Observations) -> str | None:
    """Pixels are ranked well, but nearly none is above the threshold."""
    return _never_crosses(observations, "background")


def over_confident(observations: Observations) -> str | None:
    """Pixels are ranked well, but nearly all are above the threshold."""
    return _never_crosses(observations, "foreground")


def all_background(observations: Observations) -> str | None:
    """Nearly nothing is predicted foreground, and the gap does not grow."""
    return _one_sided(observations, "background")


def all_foreground(observations: Observations) -> str | None:
    """Nearly everything is predicted foreground, and the gap does not grow."""
    return _one_sided(observations, "foreground")


def not_learning(observations: Observations) -> str | None:
    """After many batches the best threshold is no better than predicting foreground everywhere."""
    recent = observations[-TO_NOT_LEARN:]
    if len(recent) < TO_NOT_LEARN or _batches(observations) < 2 * MIN_BATCHES or _is_growing(recent):
        return None
    if not all(one.blind for one in recent) or any(one.healthy for one in observations):
        return None
    now, batch = observations[-1].evidence, observations[-1].training.batch
    return (
        f"after {batch} batches the best threshold gives F1 {now.best_f1:.3f}, and predicting everything, without "
        f"looking at the image, {now.blind_f1:.3f}; the gap is {now.gap:.2f} standard deviations"
    )


def _is_healthy(window: Window) -> bool:
    return window.skill > SKILL and not window.one_sided


def _is_far_below(validation: Window, training: Window) -> bool:
    return validation.f1 < FAR_BELOW * training.f1 and validation.best_f1 < BELOW * training.best_f1


def _batches(observations: Observations) -> int:
    return sum(one.training.batches for one in observations)


def _is_growing(observations: Observations) -> bool:
    """Whether the gap grows."""
    gaps = [one.evidence.gap for one in observations]
    return max(gaps[-2:]) - min(gaps[:2]) > GROWTH and gaps[-1] > 0


def _is_settled(observations: Observations) -> bool:
    """Whether predictions stay about the same, like those of a model that found the best constant."""
    evidence = [one.evidence.foreground_logit for one in observations]
    training = [one.training.foreground_logit for one in observations]
    return (max(evidence) - min(evidence) + max(training) - min(training)) / 2 < SETTLED


def _never_crosses(observations: Observations, side: str) -> str | None:
    recent = observations[-TO_NOT_LEARN:]
    if len(recent) < TO_NOT_LEARN or not all(one.evidence.one_sided == side and one.healthy for one in recent):
        return None
    now = recent[-1].evidence
    return (
        f"at the threshold F1 is {now.f1:.3f}, at {now.best_threshold:.2g} it is {now.best_f1:.3f}; "
        f"foreground and background are {now.gap:.1f} standard deviations apart"
    )


def _one_sided(observations: Observations, side: str) -> str | None:
    now, recent = observations[-1], observations[-TO_COLLAPSE:]
    if not (now.training.one_sided == side and now.evidence.one_sided == side and now.blind):
        return None
    fell = any(one.healthy for one in observations)
    if not fell:
        stays = len(recent) == TO_COLLAPSE and all(one.evidence.one_sided == side and one.blind for one in recent)
        if not stays or _batches(observations) < MIN_BATCHES:
            return None
        if _is_growing(observations[-TO_COLLAPSE - 1 :]) or _is_settled(recent):
            return None
    counts = now.training.counts
    other, predicted = "foreground", counts.predicted
    if side == "foreground":
        other, predicted = "background", counts.pixels - counts.predicted
    return (
        f"{predicted} of {counts.pixels} pixels were predicted {other} in the last {now.training.batches} batches: "
        f"pred_mean={counts.pred_mean:.6f}, target_mean={counts.target_mean:.4f}; the gap is {now.evidence.gap:.2f} "
        f"standard deviations{', after it had been larger' if fell else ' and not growing'}"
    )


@dataclass(frozen=True)
class Rule:
    """How to find one cause, and what to do about it."""

    find_evidence: Callable[[Observations], str | None]
    remedy: str
    recoverable: bool = False
    """Whether a healthy state and a lower learning rate can repair the run."""
    harmful: bool = True
    """Whether to stop the run."""

    @property
    def cause(self) -> str:
        """The documented name of the cause."""
        return self.find_evidence.__name__


_SIDE = (
    "Lower the learning rate, start with the output bias at the share of foreground (kseg.models.set_output_bias), and "
    "keep CombinedSegmentationLoss. "
)

# In the order in which they are tried: the first that finds evidence names the cause.
RULES = (
    Rule(
        not_finite,
        "If the input was not finite, repair the file; kseg.preflight checks the first batches. Otherwise lower the "
        "learning rate, clip the gradient (global_clipnorm=1.0), and in float16 use a loss of kseg, whose sums are "
        "float32.",
        recoverable=True,
    ),
    Rule(
        exploding,
        "Lower the learning rate, clip the gradient (global_clipnorm=1.0), and check that images are scaled.",
        recoverable=True,
    ),
    Rule(
        constant_output,
        "Activations are dead, or the model's input is not used: lower the learning rate, check the "
        "initialisation, the biases and the scale of the images.",
        recoverable=True,
    ),
    Rule(
        validation_only,
        "Validation images are prepared differently from training images: compare their scaling, their channel "
        "order and their mean; with BatchNormalization use GroupNormalization, or a lower momentum.",
    ),
    Rule(
        under_confident,
        "The model has learned: evaluate at that threshold (--threshold auto), or train longer, or with "
        "CombinedSegmentationLoss instead of BCE.",
        harmful=False,
    ),
    Rule(
        over_confident,
        "The model has learned: evaluate at that threshold (--threshold auto), or train longer, or weigh false "
        "positives more.",
        harmful=False,
    ),
    Rule(
        all_background,
        _SIDE + "If most masks are empty, sample around foreground (--foreground-crops).",
        recoverable=True,
    ),
    Rule(all_foreground, _SIDE + "Check that the masks are not inverted.", recoverable=True),
    Rule(
        not_learning,
        "Check that each image has its own mask (a shuffled file list looks like this), that weights are trainable, "
        "and that the learning rate is not far too small or too large.",
    ),
)


def code_of(cause: str | None) -> float:
    """Return the number of a cause for Keras's logs, which take no words; 0 for none."""
    causes = [None, *(rule.cause for rule in RULES)]
    return float(causes.index(cause))


def cause_of(code: float) -> str:
    """Return the cause with this number; empty for 0.

    >>> cause_of(code_of("all_background"))
    'all_background'
    """
    return RULES[int(code) - 1].cause if code else ""
