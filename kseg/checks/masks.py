"""Checks of the masks: a list of batches `(B, ...)` or `(B, ..., C)`."""

from collections.abc import Sequence

import numpy as np

from kseg import IGNORE
from kseg.checks.batches import ENOUGH, Batch
from kseg.checks.compiled import Measure
from kseg.data.quality import (
    border_share,
    find_inverted,
    find_inverted_half,
    foreground_share,
    has_soft_edges,
    is_black_and_white,
)
from kseg.findings import Finding, Severity


def check_masks(
    masks: Sequence[np.ndarray], first: Batch, output: tuple[int, ...], loss: Measure, metrics: Sequence[Measure] = ()
) -> list[Finding | None]:
    """Check the masks alone, and against the model's output, the loss and the metrics."""
    if finding := channel_axis(first.y.shape, output, first.images.shape):
        return [finding]
    values, counts = np.unique(np.concatenate([batch.ravel() for batch in masks]), return_counts=True)
    values = values.astype("float64")
    number = sum(map(len, masks))
    channels = output[-1]
    binary = channels == 1 and not loss.sparse
    indices = loss.sparse or (channels > 1 and loss.takes_indices and _are_indices(first.y.shape, output))
    unlike_classes = no_classes(values) or white_masks(values, number)
    if unlike_classes is None and first.sample_weight is None:
        unlike_classes = other_classes(values, channels, loss, indices)
    findings = [
        unlike_classes,
        soft_masks(values, counts) if not indices else None,
        empty_masks(values, number) if unlike_classes is None else None,
        inverted_masks(*_shares_and_borders(masks)) if binary else None,
        several_classes(values) if binary and unlike_classes is None else None,
        mask_shape(first.y.shape, output, first.images.shape, loss.takes_indices),
    ]
    if not loss.expects_classes:
        findings = [finding and finding.as_warning() for finding in findings]
    by_channel = [
        measure.name for measure in (loss, *metrics) if measure.origin == "kseg" and measure.activation != "softmax"
    ]
    return [*findings, one_hot_masks(masks, channels, by_channel)]


def _shares_and_borders(masks: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return the share of foreground in each mask, and on its border; a mask that is no plane has no border."""
    kinds = [np.where(mask == IGNORE, IGNORE, mask > 0) for batch in masks for mask in batch]
    planes = [mask[..., 0] if mask.ndim == 3 and mask.shape[-1] == 1 else mask for mask in kinds]
    shares = np.array([foreground_share(mask) for mask in kinds])
    borders = [
        border_share(plane == 1) if plane.ndim == 2 else share for plane, share in zip(planes, shares, strict=True)
    ]
    return shares, np.array(borders)


def no_classes(values: np.ndarray) -> Finding | None:
    """Return an error if a value is no class index. `values` are ascending."""
    if not np.isfinite(values).all():
        return Finding(
            "mask_values", "error", "the masks hold NaN or infinity", "Look at how they are read and resized."
        )
    if values[0] < 0:
        evidence = f"the masks hold {values[0]:g}"
        return Finding(
            "mask_values", "error", evidence, "Use 0 for background, 1 for foreground, 255 for ignored pixels."
        )
    if values[-1] > 1 and (values % 1).any():
        evidence = f"the masks hold fractions and reach {values[-1]:g}"
        return Finding(
            "mask_values", "error", evidence, "Resize masks without interpolation (nearest), then divide by 255."
        )
    if 0 < values[-1] < 0.02:
        evidence = f"the masks reach {values[-1]:.3g}"
        return Finding("mask_values", "error", evidence, "Divide them by 255 once, not twice.")
    return None


def white_masks(values: np.ndarray, number: int) -> Finding | None:
    """Return an error if foreground seems to be 255, which means ignored."""
    if not is_black_and_white(values):
        return None
    present = "0 and 255" if 0 in values else "255"
    evidence = f"all {number} masks hold nothing but {present}, which means ignored"
    severity: Severity = "error" if number >= ENOUGH else "warning"
    return Finding("mask_values", severity, evidence, "Divide the masks by 255.")


def several_classes(values: np.ndarray) -> Finding | None:
    """Return a warning if masks hold several classes, and the model has one output; see `check_masks`."""
    classes = values[(values >= 1) & (values != IGNORE)]
    if len(classes) < 2:
        return None
    listed = ", ".join(f"{value:g}" for value in classes[:4]) + (" …" if len(classes) > 4 else "")
    evidence = f"the masks hold {listed}, and the model has one output, for which all of them are foreground"
    remedy = (
        f"To tell the classes apart, end the model in Conv2D({classes[-1] + 1:g}, 1); to find any of them, keep it so."
    )
    return Finding("several_classes", "warning", evidence, remedy)


def other_classes(values: np.ndarray, channels: int, loss: Measure, indices: bool) -> Finding | None:
    """Return an error if a value is no class of the model, or a loss of Keras misreads it.

    The losses of kseg read 255 as ignored, and with one output indices above 1 as foreground.
    """
    if loss.origin == "kseg" and indices:
        others = values[(values >= channels) & (values != IGNORE)]
        if not len(others):
            return None
        evidence = f"the masks hold {others[-1]:g}, and the model's {channels} outputs are for 0 to {channels - 1}"
        return Finding(
            "mask_values", "error", evidence, "Use 255 for pixels to ignore, or give the model more outputs."
        )
    if loss.origin != "keras" or loss.from_logits is None:
        return None
    highest = channels - 1 if loss.sparse else 1
    others = [value for value in values if value > highest and value != loss.ignored]
    if not others:
        return None
    evidence = f"the masks hold {others[-1]:g}, and {loss.name} with {channels} channels takes 0 to {highest}"
    return Finding("mask_values", "error", evidence, "Use a loss of kseg, which ignores 255, or change the masks.")


def soft_masks(values: np.ndarray, counts: np.ndarray) -> Finding | None:
    """Return a warning about fractions, an error about masks of 0 to 255 whose edges were interpolated."""
    fractions = (values > 0) & (values < 1)
    # Label smoothing gives two.
    if values[-1] <= 1 and fractions.sum() > 2:
        evidence = f"the masks hold {fractions.sum()} different fractions between 0 and 1"
        remedy = "If that is not intended, resize masks without interpolation (nearest)."
        return Finding("soft_masks", "warning", evidence, remedy)
    if has_soft_edges(values, counts):
        between = ((values > 0) & (values < IGNORE)).sum()
        evidence = f"the masks hold {between} values between 0 and 255, and light ones most often"
        remedy = "Resize masks without interpolation (nearest), then divide by 255."
        return Finding("soft_masks", "error", evidence, remedy)
    return None


def empty_masks(values: np.ndarray, number: int) -> Finding | None:
    """Return a warning if no mask has foreground."""
    if values[-1] > 0:
        return None
    remedy = "A model can only learn to predict nothing from such masks: look at them before anything else."
    return Finding("empty_masks", "warning", f"all {number} masks have no foreground", remedy)


def inverted_masks(shares: np.ndarray, borders: np.ndarray) -> Finding | None:
    """Return a warning if nearly everything is foreground, or if a few masks look inverted beside the others."""
    if len(shares) >= ENOUGH and np.median(shares) > 0.9:
        evidence = f"half of the {len(shares)} masks are foreground on more than {np.median(shares):.0%}"
        remedy = "If background and foreground are swapped, use 1 - mask."
        return Finding("inverted_masks", "warning", evidence, remedy)
    inverted = find_inverted(shares, borders)
    are_few = 0 < len(inverted) <= len(shares) / 4 and len(shares) >= 2 * ENOUGH
    if are_few or len(find_inverted_half(shares, borders)):
        evidence = (
            f"{len(inverted)} of {len(shares)} masks are foreground on at least {shares[inverted].min():.0%}, and on "
            "their border too, and the others are not"
        )
        remedy = "If background and foreground are swapped in those, use 1 - mask."
        return Finding("inverted_masks", "warning", evidence, remedy)
    return None


def channel_axis(mask: tuple[int, ...], output: tuple[int, ...], image: tuple[int, ...]) -> Finding | None:
    """Return an error if the output has no channel axis, or if channels come first in the output or the masks."""
    if len(output) == len(image) - 1 and output == image[:-1]:
        evidence = f"the model's output {output} has no channel axis; the images are {image}"
        remedy = (
            "End the model in keras.layers.Conv2D(1, 1), or add the axis: keras.layers.Reshape((height, width, 1))."
        )
        return Finding("mask_shape", "error", evidence, remedy)
    names = [name for name, shape in (("the output", output), ("the masks", mask)) if _channels_first(shape, image)]
    if not names:
        return None
    evidence = f"channels come first in {' and '.join(names)}: output {output}, masks {mask}, images {image}"
    remedy = (
        "Put them last, (batch, height, width, channels): masks with np.moveaxis(masks, 1, -1), the model with "
        "data_format='channels_last', or with keras.layers.Permute((2, 3, 1)) at its end."
    )
    return Finding("mask_shape", "error", evidence, remedy)


def _channels_first(shape: tuple[int, ...], image: tuple[int, ...]) -> bool:
    """Return whether a shape of four axes is `(B, C, H, W)`: one channel, or height and width at the end."""
    if len(shape) != 4 or len(image) != 4 or shape[-1] == 1:
        return False
    return shape[1] == 1 or (shape[1:3] != image[1:3] and shape[2:] in (image[1:3], image[2:]))


def one_hot_masks(masks: Sequence[np.ndarray], channels: int, by_channel: Sequence[str]) -> Finding | None:
    """Return an error if masks are one-hot, background included, and a loss or metric reads each channel by itself.

    Args:
        masks: the masks of each batch.
        channels: the channels of the model's output.
        by_channel: the names of those losses and metrics.
    """
    if channels < 2 or not by_channel or any(mask.shape[-1] != channels for mask in masks):
        return None
    if not all((mask[mask[..., 0] != IGNORE].sum(-1, dtype="float64") == 1).all() for mask in masks):
        return None
    evidence = (
        f"the {channels} channels of each mask add up to 1 at every pixel, so they are one-hot, and {by_channel[0]} "
        "reads each channel by itself: a model that predicts nothing but background would score well"
    )
    remedy = (
        "For softmax pass class indices, masks.argmax(-1), or activation='softmax' to the losses and metrics of kseg. "
        "For labels that overlap leave out the background: masks[..., 1:], and one output fewer."
    )
    return Finding("one_hot_masks", "error", evidence, remedy)


def mask_shape(
    mask: tuple[int, ...], output: tuple[int, ...], image: tuple[int, ...], takes_indices: bool
) -> Finding | None:
    """Return an error if the masks do not have the shape of the output; a channel axis of 1 may be missing."""
    if output in (mask, (*mask, 1)) or mask == (*output, 1):
        return None
    indices = _are_indices(mask, output)
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
    return Finding("mask_shape", "error", evidence, remedy)


def _are_indices(mask: tuple[int, ...], output: tuple[int, ...]) -> bool:
    """Return whether masks of one channel, which may be missing, fit the output."""
    return mask in (output[:-1], (*output[:-1], 1))


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
