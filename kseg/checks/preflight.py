"""The check of data, model and loss before the first step."""

import itertools
import logging
import weakref
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from kseg.backend import check_backend
from kseg.checks.batches import Batch, batches_of, has_foreground, masks_of
from kseg.checks.compiled import Measure, check_names
from kseg.checks.gradient import check_gradient
from kseg.checks.images import check_images
from kseg.checks.logits import check_activation
from kseg.checks.masks import check_masks
from kseg.checks.models import Values, build, output_shapes, preserve_torch_state
from kseg.distribution import check_model
from kseg.errors import KsegError
from kseg.findings import Finding
from kseg.keras_private import compiled_loss, compiled_metrics

_log = logging.getLogger("kseg")

# The models that were examined, each with what its `compile` had made.
_examined: weakref.WeakKeyDictionary[keras.Model, Any] = weakref.WeakKeyDictionary()

_MORE = 9  # times as many batches are searched for foreground if the first have none


def preflight(
    model: keras.Model, x: Any, y: Any = None, sample_weight: Any = None, *, batches: int = 4
) -> list[Finding]:
    """Check a few batches and one gradient before any time is spent on training.

    Errors are raised. Warnings are logged to the logger `kseg`, and returned. The causes; those with a star can be
    errors:

    ========================= =================================================================================
    images_not_finite *       an image holds NaN or infinity
    constant_images *         images whose pixels are all equal; refused if all are
    scaled_twice *            the images are scaled, and the model scales too; refused if it takes integers
    not_scaled                the images reach far over 1, and the model neither scales nor normalises them
    mask_values *             no class indices: 255 in place of 1, fractions over 1, negative values, NaN
    soft_masks *              fractions of foreground; refused if they are the edges of an interpolated 0..255 mask
    empty_masks               no mask has foreground
    inverted_masks            a few masks, or nearly all, are mostly foreground
    several_classes           masks of several classes, and a model with one output, which tells foreground alone
    one_hot_masks *           one-hot masks with their background, where a loss or metric reads each channel by itself
    mask_shape *              size or channels of the masks are not those of the model's output
    sigmoid_twice *           the model ends in a sigmoid or softmax and the loss takes logits; a metric: warned about
    logits_as_probabilities * the reverse
    same_names                two metrics of one kind, of which one hides the other in the logs
    no_gradient *             parameters get no gradient; refused if none gets any
    loss_not_finite *         the loss of the first batch is NaN or infinite
    gradient_not_finite *     a gradient of the first batch is NaN or infinite
    ========================= =================================================================================

    The model is unchanged afterwards, to the bit, except that it is built. The gradient is taken only if there is no
    error before it. If the model has several outputs, only images, names, loss and gradient are checked. A loss of your
    own may read masks in another way, so masks are never an error with it. Preflight cannot see whether images and
    masks belong together.

    Args:
        model: compiled.
        x: what `fit` takes: images; or batches `(images, masks)` or `(images, masks, sample_weights)`: a
            tf.data.Dataset, a PyDataset, a DataLoader, any other iterable. Also a tuple of such arrays. From a
            generator the checked batches are missing afterwards.
        y: the masks, if `x` is images.
        sample_weight: the weights, if `x` is images.
        batches: number of batches to check, at least 1. If none of them has foreground, the masks of up to nine
            times as many more are checked.

    Returns:
        The warnings.

    Raises:
        KsegError: training cannot work; names every error, one a line. Or the model is not compiled, the data set has
            no batch or no masks, or Keras runs on another backend than jax or torch.
        ValueError: `batches` is below 1.

    >>> from kseg.losses import DiceLoss
    >>> model = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    >>> model.compile("adam", loss=DiceLoss())
    >>> images, masks = np.random.default_rng(0).random((8, 16, 16, 1)), np.zeros((8, 16, 16, 1))
    >>> [finding.cause for finding in preflight(model, (images, masks))]
    ['empty_masks']
    >>> preflight(model, images, masks + 255)
    Traceback (most recent call last):
    kseg.errors.KsegError: Training cannot work.
    mask_values: all 8 masks hold nothing but 255, which means ignored. Divide the masks by 255.
    """
    if batches < 1:
        raise ValueError(f"preflight checks {batches} batches; expected 1 or more.")
    check_backend()
    dataset = x if y is None else (x, y, sample_weight)
    rest = map(Batch.of, batches_of(dataset))
    first = list(itertools.islice(rest, batches))
    masks = masks_of(first, itertools.islice(rest, _MORE * batches))
    return report(examine(model, None, first, masks))


def was_examined(model: keras.Model) -> bool:
    """Return whether a model was examined since it was last compiled."""
    return model.compiled and _examined.get(model, model) is compiled_loss(model)


def report(findings: Sequence[Finding]) -> list[Finding]:
    """Log the warnings and return them.

    Raises:
        KsegError: there are errors; names them all.
    """
    errors = [finding for finding in findings if finding.severity == "error"]
    warnings = [finding for finding in findings if finding.severity != "error"]
    for finding in warnings:
        _log.warning(f"⚠️  {finding}")
    if errors:
        raise KsegError("\n".join(["Training cannot work.", *map(str, errors)]))
    return warnings


def examine(model: keras.Model, values: Values | None, batches: Sequence[Batch], masks: Sequence[Any]) -> list[Finding]:
    """Return what is wrong with a model, with batches, and with masks.

    Args:
        model: compiled.
        values: the values of the model's variables; None: those that it has.
        batches: what the model is given.
        masks: those of the batches, and perhaps more.

    Raises:
        KsegError: the model is not compiled, or not on all devices; or there is no batch.
    """
    if not model.compiled:
        raise KsegError("The model is not compiled; expected model.compile(optimizer, loss) before the check.")
    if not batches:
        raise KsegError("The data set is empty; expected at least one batch.")
    check_model(model)
    _examined[model] = compiled_loss(model)
    with preserve_torch_state(model):
        if not model.built:
            build(model, batches[0].x)
        values = values or Values.of(model)
        outputs = output_shapes(model, values, batches[0].x)
        losses = [Measure.of(loss) for loss in keras.tree.flatten(model.loss) if loss is not None]
        findings = [*check_images([batch.images for batch in batches], model), check_names(compiled_metrics(model))]
        if isinstance(masks[0], np.ndarray) and len(outputs) == len(losses) == 1:
            metrics = [Measure.of(metric) for metric in compiled_metrics(model) if metric is not None]
            findings += check_masks(masks, batches[0], outputs[0], losses[0], metrics)
            findings += check_activation(model, losses[0])
        if not model.trainable_variables:
            findings.append(
                Finding("no_gradient", "error", "no parameter is trainable", "Set trainable = True, and compile.")
            )
        # An error so far would show again in the gradient.
        if not any(finding and finding.severity == "error" for finding in findings):
            findings += check_gradient(model, values, batches, losses, any(map(has_foreground, masks)))
    return [finding for finding in findings if finding]
