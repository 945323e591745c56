"""Rules that name the one thing that is wrong with a run, or nothing.

F1 at threshold 0.5 and the mean prediction do not tell the causes apart: a healthy run may predict no foreground for
epochs. The rules use *skill*, how much better the best threshold is than predicting foreground everywhere,

    skill = (best F1 - blind F1) / (1 - blind F1),    blind F1 = 2 p / (1 + p) for a share p of foreground

(0 is no better, 1 is perfect), the gap between the logits of foreground and background, whether gap or loss get better,
and the size of an update relative to the weights, |Δw| / |w|, which is about 1e-3 a batch where a model learns.

Each rule takes observations, oldest first, and returns evidence or None. `benchmarks/collapse.py` measures the rules;
the numbers in capitals come from it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from kseg.diagnosis.observations import SKILL, Evidence, Observation, Observations
from kseg.diagnosis.windows import Window

# The share of images that must have a constant prediction.
NEARLY_ALL = 0.98
# A model learns if its gap grew by this many standard deviations, or its loss fell by this share, from the first half
# of the observations in question to the second.
GROWTH, FALL = 0.12, 0.02
# It learns on the training images if their skill grew by this.
SKILL_GROWTH = 0.05
# Validation has collapsed if its F1 is below these shares of the training F1, the first at the monitor's threshold, the
# second at the best one. A model that only overfits stays above the first.
FAR_BELOW, BELOW = 0.3, 0.85
# The masks of the validation are inverted if its gap is below this.
INVERTED = -0.5
# Observations, of ten batches or more each, that must agree: on a collapse, and on not learning or a wrong threshold.
TO_COLLAPSE, TO_NOT_LEARN = 3, 6
# Batches, or epochs, before a model can be called collapsed, or not learning, that was never healthy.
MIN_BATCHES, MIN_EPOCHS = 50, 10
# A healthy model has collapsed at once if less than this share of its best gap is left.
LEFT = 0.25
# The mean prediction of a model that starts sinks to the share of foreground. Until it is near that share or this one,
# a falling loss shows that it is on its way.
SUNK = 0.05
# Predictions are settled if the median logit of foreground stays within the first, over so many observations.
SETTLED, TO_SETTLE = 0.4, 2
# Logits beyond the first explode. Those beyond the second do if they grew by the third, as a factor.
FAR, LARGE, RUNAWAY = 1000.0, 50.0, 4.0
# Updates, relative to the weights, with which no model learns: they leave it where it is, or somewhere else each batch.
TOO_SMALL, TOO_LARGE = 1e-5, 0.1
# A model whose gap was larger than this has seen something, however rare foreground is.
SOME_GAP = 0.5
# A class is missing if it is predicted on less than this share of its pixels, while the others have this F1.
NEVER, LEARNED = 0.02, 0.5
# Classes are swapped if more than this share of the pixels of each is predicted as the other, or as its neighbour.
SWAPPED = 0.5
# A model with a smaller share of trainable parameters is nearly frozen.
FROZEN = 0.05


def not_finite(observations: Observations) -> Evidence | None:
    """The loss or a prediction is NaN or infinite."""
    now = observations[-1].training
    if now.finite:
        return None
    if now.bad_input and now.bad_input <= (now.bad_prediction or now.batch):
        return Evidence(f"the images or masks of batch {now.bad_input} held NaN or infinity")
    if now.bad_prediction:
        return Evidence(
            f"predictions are not finite from batch {now.bad_prediction} on, though its input was: the update before "
            "it broke the weights, or values overflow in the model"
        )
    first = now.batch - now.batches + 1
    return Evidence(f"the loss is not finite in batches {first} to {now.batch}, though input and predictions are")


def exploding(observations: Observations) -> Evidence | None:
    """Logits grow without bound and are still finite."""
    now, before = observations[-1].training, [one.training.extreme for one in observations[:-1]]
    grown = before and now.extreme > max(LARGE, RUNAWAY * min(before))
    if now.extreme > FAR or (grown and now.extreme > before[-1]):
        since = f", up from {min(before):.3g}" if before else ""
        return Evidence(f"1% of the logits are beyond {now.extreme:.4g} in size{since}; the loss is {now.loss:.4g}")
    return None


def constant_output(observations: Observations) -> Evidence | None:
    """The prediction is the same everywhere, whatever the image; twice in a row, if the run was never healthy."""
    times = 1 if any(one.healthy for one in observations) else 2
    recent = [one.training.counts for one in observations[-times:]]
    if len(recent) < times:
        return None
    if not all(counts.images and counts.constant >= NEARLY_ALL * counts.images for counts in recent):
        return None
    counts = recent[-1]
    return Evidence(
        f"{counts.constant} of {counts.images} images got the same prediction in every pixel, "
        f"{counts.pred_mean:.4g} on average (the masks' mean is {counts.target_mean:.4g})"
        f"{_size_of_updates(observations)}",
        rate=_rate_is_too_large(observations),
    )


def validation_only(observations: Observations) -> Evidence | None:
    """Training is healthy, and validation has collapsed twice in a row, or its masks are inverted."""
    recent = [(one.training, one.validation) for one in observations[-2:] if one.validation]
    if not recent:
        return None
    training, validation = recent[-1]
    text = (
        f"F1 is {training.f1:.3f} in training and {validation.f1:.3f} in validation (the best threshold gives "
        f"{validation.best_f1:.3f}); the mean prediction is {training.counts.pred_mean:.4g} and "
        f"{validation.counts.pred_mean:.4g}"
    )
    if training.skill > SKILL and validation.gap < INVERTED:
        return Evidence(
            f"{text}; in validation the background gets the higher logits, by {-validation.gap:.1f} standard "
            "deviations",
            remedy="The masks of the validation are inverted: foreground and background are swapped in them"
            + (", or the indices of all classes are shifted." if validation.classes else "."),
        )
    if len(recent) == 2 and all(
        _is_healthy(training) and _is_far_below(validation, training) for training, validation in recent
    ):
        return Evidence(text)
    return None


def under_confident(observations: Observations) -> Evidence | None:
    """Pixels are ranked well, but nearly none is above the threshold."""
    return _never_crosses(observations, "background")


def over_confident(observations: Observations) -> Evidence | None:
    """Pixels are ranked well, but nearly all are above the threshold."""
    return _never_crosses(observations, "foreground")


def all_background(observations: Observations) -> Evidence | None:
    """Nearly nothing is predicted foreground, and the model gets no better."""
    return _one_sided(observations, "background")


def all_foreground(observations: Observations) -> Evidence | None:
    """Nearly everything is predicted foreground, and the model gets no better."""
    return _one_sided(observations, "foreground")


def not_learning(observations: Observations) -> Evidence | None:
    """The best threshold is no better than predicting foreground everywhere, and the model gets no better."""
    if not observations[-1].blind or any(one.healthy for one in observations):
        return None
    now = observations[-1]
    text = (
        f"after {now.training.batch} batches the best threshold gives F1 {now.evidence.best_f1:.3f}, and predicting "
        f"everything, without looking at the image, {now.evidence.blind_f1:.3f}; the gap is {now.evidence.gap:.2f} "
        f"standard deviations{_size_of_updates(observations)}"
    )
    if len(observations) >= 2 and _rate_is_too_large(observations):
        return Evidence(text, remedy="The learning rate is far too large: lower it.", rate=True)
    recent = observations[-TO_NOT_LEARN:]
    if _rate_is_too_small(recent) and not _improves(recent):
        return Evidence(text, remedy="The learning rate is far too small: raise it.")
    looks, batches = len(recent), _batches(observations)
    if (
        looks < TO_COLLAPSE
        or not all(one.blind and one.evidence.gap < SOME_GAP for one in recent)
        or _gap_grows(recent)
    ):
        return None
    if now.training.trainable < FROZEN and batches >= MIN_BATCHES:
        return Evidence(
            f"{text}, and {now.training.trainable:.2%} of the parameters are trainable",
            remedy="Nearly the whole model is frozen: set trainable = True, and compile.",
        )
    is_long = batches >= 2 * MIN_BATCHES or now.training.epoch > MIN_EPOCHS
    if looks >= TO_NOT_LEARN and is_long and not _loss_falls(recent):
        return Evidence(text)
    return None


def empty_masks(observations: Observations) -> Evidence | None:
    """No training mask of two epochs has foreground."""
    counts = observations[-1].training.counts
    if counts.pixels and not counts.foreground:
        return Evidence(f"none of the last {counts.images} training masks has foreground")
    return None


def full_masks(observations: Observations) -> Evidence | None:
    """No training mask of two epochs has background."""
    counts = observations[-1].training.counts
    if counts.pixels and counts.foreground == counts.pixels:
        return Evidence(f"none of the last {counts.images} training masks has background")
    return None


def class_missing(observations: Observations) -> Evidence | None:
    """A class that the masks contain is never predicted, while the others are learned."""
    recent = observations[-TO_NOT_LEARN:]
    if len(recent) < TO_NOT_LEARN or recent[-1].training.epoch - recent[0].training.epoch < TO_COLLAPSE:
        return None
    missing = set.intersection(*(_missing_classes(window) for one in recent for window in _windows(one)))
    now = recent[-1].evidence
    # The largest first: it is the least likely to be just rare.
    for index in sorted(missing, key=lambda index: -now.classes[index].pixels):
        counts = now.classes[index]
        total = sum(each.pixels for each in now.classes)
        others = [each.f1 for k, each in enumerate(now.classes) if k not in (0, index) and each.pixels]
        return Evidence(
            f"{now.name_of(index)} is {counts.pixels / total:.2%} of the pixels, and was predicted on "
            f"{counts.predicted} of {total} at the end of {len(recent)} looks, while the other classes have a mean "
            f"F1 of {sum(others) / len(others):.3f}; {counts.taken / counts.pixels:.0%} of it is taken for "
            f"{now.name_of(counts.taken_for)}"
        )
    return None


def classes_swapped(observations: Observations) -> Evidence | None:
    """Training tells the classes apart, and in validation they are exchanged, or shifted by one for all."""
    training, validation = observations[-1].training.classes, observations[-1].validation
    if validation is None or not validation.classes or len(training) != len(validation.classes):
        return None
    learned = [index for index, each in enumerate(training) if each.hits > SWAPPED * each.pixels > 0]
    moved = {
        index: each.taken_for
        for index, each in enumerate(validation.classes)
        if index in learned and each.taken_for != index and each.taken > SWAPPED * each.pixels
    }
    seen = [index for index in learned if validation.classes[index].pixels]
    for by in (1, -1):
        if len(moved) >= 2 and len(moved) >= len(seen) - 1 and all(moved[k] == k + by for k in moved):
            return Evidence(
                f"in validation {len(moved)} of {len(seen)} classes are predicted as the class whose index is "
                f"{abs(by)} {'higher' if by > 0 else 'lower'}, and in training they are not",
                remedy="The indices of the validation masks are shifted by one: look for reduce_zero_label, or a "
                "background that one split counts as a class and the other does not.",
            )
    for one, other in moved.items():
        if moved.get(other) == one:
            return Evidence(
                f"in validation {validation.classes[one].taken / validation.classes[one].pixels:.0%} of "
                f"{validation.name_of(one)} is predicted as {validation.name_of(other)}, and "
                f"{validation.classes[other].taken / validation.classes[other].pixels:.0%} the other way round; in "
                "training they are not"
            )
    return None


def _windows(observation: Observation) -> list[Window]:
    """Return the training, and the validation if there was one."""
    return [window for window in (observation.training, observation.validation) if window]


def _missing_classes(window: Window) -> set[int]:
    """Return the foreground classes that are in the masks and nearly never predicted, if the others are learned."""
    classes = list(enumerate(window.classes))[1:]
    missing = {index for index, each in classes if each.pixels and each.predicted < NEVER * each.pixels}
    others = [each.f1 for index, each in classes if each.pixels and index not in missing]
    return missing if others and sum(others) / len(others) > LEARNED else set()


def _is_healthy(window: Window) -> bool:
    return window.skill > SKILL and not window.one_sided


def _is_far_below(validation: Window, training: Window) -> bool:
    return validation.f1 < FAR_BELOW * training.f1 and validation.best_f1 < BELOW * training.best_f1


def _batches(observations: Observations) -> int:
    return sum(one.training.batches for one in observations)


def _halves(observations: Observations) -> tuple[list[Observation], list[Observation]]:
    """Return the first and the second half of two observations or more, by batches; each half has at least one."""
    total, first = _batches(observations), 1
    while first < len(observations) - 1 and 2 * _batches(observations[: first + 1]) <= total:
        first += 1
    return list(observations[:first]), list(observations[first:])


def _gap_grows(observations: Observations) -> bool:
    """Whether the best gap of the second half is larger than that of the first, or the best skill in training."""
    first, second = _halves(observations)
    gaps = [max(one.evidence.gap for one in half) for half in (first, second)]
    skills = [max(one.training.skill for one in half) for half in (first, second)]
    return gaps[1] > gaps[0] + GROWTH or skills[1] > skills[0] + SKILL_GROWTH


def _loss_falls(observations: Observations) -> bool:
    """Whether the mean loss of training in the second half is lower than in the first."""
    first, second = (
        sum(one.training.loss * one.training.batches for one in half) / _batches(half) for half in _halves(observations)
    )
    return second < first - FALL * abs(first)


def _improves(observations: Observations) -> bool:
    return _gap_grows(observations) or _loss_falls(observations)


def _rate_is_too_large(observations: Observations) -> bool:
    """Whether updates were so large that nothing was left of the weights before, and the gap does not grow since."""
    return any(one.training.update > TOO_LARGE for one in observations) and not (
        len(observations) >= TO_NOT_LEARN and _gap_grows(observations[-TO_NOT_LEARN:])
    )


def _rate_is_too_small(observations: Observations) -> bool:
    """Whether no update was large enough, and the rate does not rise (a warm-up)."""
    sizes = [one.training.update for one in observations]
    return len(sizes) >= 2 and max(sizes) < TOO_SMALL and sizes[-1] <= 2 * sizes[-2]


def _size_of_updates(observations: Observations) -> str:
    sizes = [one.training.update for one in observations if not math.isnan(one.training.update)]
    if not sizes:
        return ""
    size = max(sizes) if max(sizes) > TOO_LARGE else sizes[-1]
    return f"; an update changes the weights by {size:.1e} of their size, where about 1e-3 is usual"


def _is_settled(observations: Observations) -> bool:
    """Whether predictions stay about the same, like those of a model that found the best constant."""
    evidence = [one.evidence.foreground_logit for one in observations]
    training = [one.training.foreground_logit for one in observations]
    return (max(evidence) - min(evidence) + max(training) - min(training)) / 2 < SETTLED


def _never_crosses(observations: Observations, side: str) -> Evidence | None:
    recent = observations[-TO_NOT_LEARN:]
    if len(recent) < TO_NOT_LEARN or not all(one.evidence.one_sided == side and one.healthy for one in recent):
        return None
    now = recent[-1].evidence
    return Evidence(
        f"at the threshold F1 is {now.f1:.3f}, at {now.best_threshold:.2g} it is {now.best_f1:.3f}; "
        f"foreground and background are {now.gap:.1f} standard deviations apart"
    )


def _one_sided(observations: Observations, side: str) -> Evidence | None:
    now = observations[-1]
    if not (now.evidence.one_sided == side and now.blind):
        return None
    fell = any(one.healthy for one in observations)
    too_fast = _rate_is_too_large(observations)
    if not too_fast and not (now.training.one_sided == side and _stays_one_sided(observations, side, fell)):
        return None
    counts = now.training.counts
    other, predicted = "foreground", counts.predicted
    if side == "foreground":
        other, predicted = "background", counts.pixels - counts.predicted
    return Evidence(
        f"{predicted} of {counts.pixels} pixels were predicted {other} in the last {now.training.batches} batches: "
        f"pred_mean={counts.pred_mean:.6f}, target_mean={counts.target_mean:.4f}; the gap is {now.evidence.gap:.2f} "
        f"standard deviations{', after it had been larger' if fell else ' and not growing'}"
        f"{_size_of_updates(observations) if too_fast else ''}",
        rate=too_fast,
    )


def _stays_one_sided(observations: Observations, side: str, fell: bool) -> bool:
    """Whether a model has been on one side for long, and gets no better; `fell`: whether it was healthy before."""
    tail: list[Observation] = []
    for one in reversed(observations):
        if not (one.evidence.one_sided == side and one.blind):
            break
        tail.insert(0, one)
    if fell:
        left = tail[-1].evidence.gap < LEFT * max(one.evidence.gap for one in observations)
        return left or (len(tail) >= 2 and not _gap_grows(tail))
    if len(tail) < TO_COLLAPSE or _gap_grows(tail):
        return False
    counts = tail[-1].training.counts
    prediction, target = counts.pred_mean, counts.target_mean
    if side == "foreground":
        prediction, target = 1 - prediction, 1 - target
    is_best_constant = target / 2 < prediction < 2 * target and _is_settled(tail[-TO_SETTLE:])
    is_on_its_way = prediction > max(2 * target, SUNK) and _loss_falls(tail)
    return _batches(tail) >= MIN_BATCHES and not is_best_constant and not is_on_its_way


@dataclass(frozen=True)
class Rule:
    """How to find one cause, and what to do about it."""

    find_evidence: Callable[[Observations], Evidence | None]
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
        classes_swapped,
        "The masks of one split have the indices of these classes exchanged: look at how each split lists its classes.",
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
    # Judged on observations without foreground, or without background, on which no rule above finds anything.
    Rule(empty_masks, "Look at the masks: from here on nothing can be learned but an empty one."),
    Rule(full_masks, "Look at the masks: from here on nothing can be learned but a full one."),
    Rule(
        class_missing,
        "Weigh rare classes more (--class-weight balanced, or class_weight of the loss), train longer, or look whether "
        "its masks are right.",
        harmful=False,
    ),
)


# In the order in which the rules were written: the histories of runs hold these numbers.
_CODES = (
    None,
    "not_finite",
    "exploding",
    "constant_output",
    "validation_only",
    "under_confident",
    "over_confident",
    "all_background",
    "all_foreground",
    "not_learning",
    "empty_masks",
    "full_masks",
    "class_missing",
    "classes_swapped",
)


def code_of(cause: str | None) -> float:
    """Return the number of a cause for Keras's logs, which take no words; 0 for none."""
    return float(_CODES.index(cause))


def cause_of(code: float) -> str:
    """Return the cause with this number; empty for 0.

    >>> cause_of(code_of("all_background"))
    'all_background'
    """
    return _CODES[int(code)] or ""


def is_harmful(cause: str) -> bool:
    """Return whether a cause makes a run fail; False for an empty one.

    >>> is_harmful("all_background"), is_harmful("under_confident"), is_harmful("")
    (True, False, False)
    """
    return any(rule.cause == cause and rule.harmful for rule in RULES)
