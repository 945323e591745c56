"""The check of data, model and loss before the first step."""

import itertools
import logging
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kseg.checks.batches import Batch, batches_of, has_foreground, masks_of
from kseg.checks.compiled import Measure
from kseg.checks.gradient import check_gradient
from kseg.checks.images import check_images
from kseg.checks.logits import check_activation
from kseg.checks.masks import check_masks
from kseg.checks.models import Values, build, native_state_kept, output_shapes
from kseg.checks.verdicts import Refusal
from kseg.errors import KsegError
from kseg.findings import Finding

_log = logging.getLogger("kseg")

_MORE = 9  # times as many batches are looked through for foreground, where the first have none


def preflight(model: keras.Model, dataset: Any, batches: int = 4) -> list[Finding]:
    """Look at a few batches and one gradient before any time is spent on training.

    What cannot work is refused. What is doubtful is logged as a warning, to the logger `kseg`, and returned. The
    causes, of which those with a star can be refusals:

    ========================= =================================================================================
    images_not_finite *       an image holds NaN or infinity
    constant_images *         images whose pixels are all equal; refused if all are
    scaled_twice *            the images are scaled, and the model scales too; refused if it takes integers
    not_scaled                the images reach far over 1, and the model neither scales nor normalises them
    mask_values *             no class indices: 255 in place of 1, fractions over 1, negative values, NaN
    soft_masks *              fractions of foreground; refused if they are the edges of an interpolated 0..255 mask
    empty_masks               no mask has foreground
    inverted_masks            a few masks, or nearly all, are mostly foreground
    mask_shape *              size or channels of the masks are not those of the model's output
    sigmoid_twice *           the model ends in a sigmoid or softmax and the loss takes logits; a metric: warned about
    logits_as_probabilities * the reverse
    no_gradient *             parameters get no gradient; refused if none gets any
    loss_not_finite *         the loss of the first batch is NaN or infinite
    gradient_not_finite *     a gradient of the first batch is NaN or infinite
    ========================= =================================================================================

    The model stays as it was, to the bit, but is built if it was not. The gradient is taken only if nothing else is
    refused. Of a model with several outputs only images, loss and gradient are looked at. What a loss of your own
    makes of the masks is not known, so it is never a reason to refuse them. That images and masks do not belong
    together cannot be seen.

    Args:
        model: compiled.
        dataset: batches `(images, masks)` or `(images, masks, sample_weights)`: a tf.data.Dataset, a PyDataset, a
            DataLoader, any other iterable; or a tuple of arrays. A generator loses what is looked at.
        batches: how many to look at, at least 1. If none of them has foreground, the masks of up to nine times as
            many more are looked through.

    Returns:
        What is doubtful.

    Raises:
        KsegError: training cannot work; every refusal is named, one a line. Or the model is not compiled, or the data
            set has no batch, or no masks.
        ValueError: `batches` is below 1.

    >>> from kseg.losses import DiceLoss
    >>> model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    >>> model.compile("adam", loss=DiceLoss())
    >>> images, masks = np.random.default_rng(0).random((8, 16, 16, 1)), np.zeros((8, 16, 16, 1))
    >>> [finding.cause for finding in preflight(model, (images, masks))]
    ['empty_masks']
    >>> preflight(model, (images, masks + 255))
    Traceback (most recent call last):
    kseg.errors.KsegError: Training cannot work.
    mask_values: all 8 masks hold nothing but 255, which means ignored. Divide the masks by 255.
    """
    if batches < 1:
        raise ValueError(f"preflight looks at {batches} batches; expected 1 or more.")
    drawn = map(Batch.of, batches_of(dataset))
    seen = list(itertools.islice(drawn, batches))
    masks = masks_of(seen, itertools.islice(drawn, _MORE * batches))
    return _report(_examine(model, None, seen, masks))


def _report(findings: Sequence[Finding]) -> list[Finding]:
    """Log what is doubtful and return it; raise what cannot work."""
    refusals = [finding for finding in findings if isinstance(finding, Refusal)]
    warnings = [finding for finding in findings if finding not in refusals]
    for finding in warnings:
        _log.warning(f"⚠️  {finding}")
    if refusals:
        raise KsegError("\n".join(["Training cannot work.", *map(str, refusals)]))
    return warnings


def _examine(
    model: keras.Model, values: Values | None, batches: Sequence[Batch], masks: Sequence[Any]
) -> list[Finding]:
    """What is found in the model, in batches, and in masks: those of the batches, and maybe more.

    The values of the model's variables are its own, or those given.
    """
    if not model.compiled:
        raise KsegError("The model is not compiled; expected model.compile(optimizer, loss) before the check.")
    if not batches:
        raise KsegError("The data set is empty; expected at least one batch.")
    with native_state_kept(model):
        if not model.built:
            build(model, batches[0].x)
        values = values or Values.of(model)
        outputs = output_shapes(model, values, batches[0].x)
        losses = [Measure.of(loss) for loss in keras.tree.flatten(model.loss) if loss is not None]
        findings = check_images([batch.images for batch in batches], model)
        if isinstance(masks[0], np.ndarray) and len(outputs) == len(losses) == 1:
            findings += check_masks(masks, batches[0], outputs[0], losses[0])
            findings += check_activation(model, losses[0])
        if not model.trainable_variables:
            findings.append(Refusal("no_gradient", "no parameter is trainable", "Set trainable = True, and compile."))
        # What is refused by now would be found again in the gradient.
        if not any(isinstance(finding, Refusal) for finding in findings):
            findings += check_gradient(model, values, batches, losses, any(map(has_foreground, masks)))
    return [finding for finding in findings if finding]
