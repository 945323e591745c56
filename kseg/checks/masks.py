"""Checks of the masks, a batch an array, `(B, ...)` or `(B, ..., C)`."""

from collections.abc import Sequence

import numpy as np

from kseg import IGNORE
from kseg.checks.batches import Batch
from kseg.checks.compiled import Measure
from kseg.checks.verdicts import ENOUGH, Refusal, doubt
from kseg.findings import Finding


def check_masks(
    masks: Sequence[np.ndarray], first: Batch, output: tuple[int, ...], loss: Measure
) -> list[Finding | None]:
    """What the masks show, by themselves and beside the model's output and loss."""
    values, counts = np.unique(np.concatenate([batch.ravel() for batch in masks]), return_counts=True)
    values = values.astype("float64")
    number = sum(map(len, masks))
    shares = np.concatenate([_shares(batch) for batch in masks])
    channels = output[-1]
    binary = channels == 1 and not loss.sparse
    unlike_classes = no_classes(values) or white_masks(values, number)
    if unlike_classes is None and first.sample_weight is None:
        unlike_classes = other_classes(values, channels, loss)
    findings = [
        unlike_classes,
        soft_masks(values, counts) if not loss.sparse else None,
        empty_masks(values, number) if unlike_classes is None else None,
        inverted_masks(shares) if binary else None,
        mask_shape(first.y.shape, output, first.images.shape, loss.sparse or not loss.known),
    ]
    return findings if loss.takes_classes else [doubt(finding) for finding in findings]


def _shares(masks: np.ndarray) -> np.ndarray:
    """The share of foreground in each mask, of what is not ignored; `(B,)`."""
    flat = masks.reshape(len(masks), -1)
    known = flat != IGNORE
    return ((flat > 0) & known).sum(1) / np.maximum(known.sum(1), 1)


def no_classes(values: np.ndarray) -> Finding | None:
    """Refuse what is no class index. `values` are those in the masks, ascending."""
    if not np.isfinite(values).all():
        return Refusal("mask_values", "the masks hold NaN or infinity", "Look at how they are read and resized.")
    if values[0] < 0:
        evidence = f"the masks hold {values[0]:g}"
        return Refusal("mask_values", evidence, "Use 0 for background, 1 for foreground, 255 for what is ignored.")
    if values[-1] > 1 and (values % 1).any():
        evidence = f"the masks hold fractions and reach {values[-1]:g}"
        return Refusal("mask_values", evidence, "Resize masks without interpolation (nearest), then divide by 255.")
    if 0 < values[-1] < 0.02:
        evidence = f"the masks reach {values[-1]:.3g}"
        return Refusal("mask_values", evidence, "Divide them by 255 once, not twice.")
    return None


def white_masks(values: np.ndarray, number: int) -> Finding | None:
    """Refuse masks in which foreground seems to be 255: then nothing is foreground."""
    if IGNORE not in values or not set(values) <= {0, IGNORE}:
        return None
    held = "0 and 255" if 0 in values else "255"
    evidence = f"all {number} masks hold nothing but {held}, which means ignored"
    kind = Refusal if number >= ENOUGH else Finding
    return kind("mask_values", evidence, "Divide the masks by 255.")


def other_classes(values: np.ndarray, channels: int, loss: Measure) -> Finding | None:
    """Refuse class indices that a loss of Keras takes for something else; those of kseg read 255 and above 1."""
    if loss.origin != "keras" or loss.from_logits is None:
        return None
    highest = channels - 1 if loss.sparse else 1
    others = [value for value in values if value > highest and value != loss.ignored]
    if not others:
        return None
    evidence = f"the masks hold {others[-1]:g}, and {loss.name} with {channels} channels takes 0 to {highest}"
    return Refusal("mask_values", evidence, "Use a loss of kseg, which ignores 255, or change the masks.")


def soft_masks(values: np.ndarray, counts: np.ndarray) -> Finding | None:
    """Warn of fractions; refuse a mask of 0 to 255 whose edges were interpolated."""
    fractions = (values > 0) & (values < 1)
    # Two are a smoothing of labels.
    if values[-1] <= 1 and fractions.sum() > 2:
        evidence = f"the masks hold {fractions.sum()} different fractions between 0 and 1"
        return Finding("soft_masks", evidence, "If that is not meant, resize masks without interpolation (nearest).")
    # Class indices and instance numbers are many, too, but then white is not the most frequent of them.
    between = (values > 1) & (values < IGNORE)
    if between.sum() >= 8 and counts[values == IGNORE].sum() > counts[between].max():
        evidence = f"the masks hold {between.sum()} values between 1 and 255, and 255 most often"
        return Refusal("soft_masks", evidence, "Resize masks without interpolation (nearest), then divide by 255.")
    return None


def empty_masks(values: np.ndarray, number: int) -> Finding | None:
    """Warn if nothing is foreground."""
    if values[-1] > 0:
        return None
    remedy = "A model can only learn to predict nothing from such masks: look at them before anything else."
    return Finding("empty_masks", f"all {number} masks have no foreground", remedy)


def inverted_masks(shares: np.ndarray) -> Finding | None:
    """Warn if nearly everything is foreground, or if that is so in a few masks and far from it in all others."""
    if len(shares) >= ENOUGH and np.median(shares) > 0.9:
        evidence = f"half of the {len(shares)} masks are foreground on more than {np.median(shares):.0%}"
        return Finding("inverted_masks", evidence, "If background and foreground are swapped, use 1 - mask.")
    # A mask that is all foreground is no sign either way: there are tiles in the middle of a lake, and empty masks that
    # were inverted.
    high, low = (shares > 0.8) & (shares < 1), shares[shares <= 0.8]
    if 0 < high.sum() <= len(shares) / 4 and len(shares) >= 2 * ENOUGH and len(low) and low.max() < 0.3:
        evidence = (
            f"{high.sum()} of {len(shares)} masks are foreground on more than 80%, and no other, but full ones, on "
            f"more than {low.max():.0%}"
        )
        return Finding("inverted_masks", evidence, "If background and foreground are swapped in those, use 1 - mask.")
    return None


def mask_shape(
    mask: tuple[int, ...], output: tuple[int, ...], image: tuple[int, ...], takes_indices: bool
) -> Finding | None:
    """Refuse masks that are not of the output's shape, but for a channel axis of 1."""
    if output in (mask, (*mask, 1)) or mask == (*output, 1):
        return None
    indices = mask in (output[:-1], (*output[:-1], 1))
    if indices and takes_indices:
        return None
    size, expected = mask[1 : len(output) - 1], output[1:-1]
    if indices:
        evidence = f"the masks are class indices, and the model's output has {output[-1]} channels"
        remedy = f"Make the masks one-hot, {(*output[:1], *expected, output[-1])}, or use a loss that takes indices."
    elif len(mask) < len(output) - 1 or size == expected:
        evidence = f"the masks have shape {mask}, and the model's output {output}"
        remedy = "Both need the same channels, (batch, height, width, channels)."
    elif expected == image[1:-1]:
        evidence = f"the masks are {_by(size)}, and the images {_by(expected)}"
        remedy = "Resize the masks with the images, without interpolation (nearest)."
    else:
        evidence = f"the masks are {_by(size)}, and the model's output {_by(expected)} (from images {_by(image[1:-1])})"
        remedy = "Resize the masks to the output, without interpolation (nearest), or mend the model."
    return Refusal("mask_shape", evidence, remedy)


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
