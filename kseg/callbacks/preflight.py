"""The check before the first step: what cannot work is refused, what is doubtful is warned about."""

import contextlib
import functools
import inspect
import itertools
import logging
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from kseg import IGNORE
from kseg.errors import KsegError
from kseg.findings import Finding

_log = logging.getLogger("kseg")

_MORE = 9  # times as many batches are looked through for foreground, where the first have none
_ENOUGH = 4  # images; fewer are no proof
_ARRAY_BATCH = 8


class Refusal(Finding):
    """A finding with which training cannot work."""


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
    >>> model = keras.Sequential([keras.Input((16, 16, 1)), layers.Conv2D(1, 3, padding="same")])
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
    drawn = map(_Batch.of, _batches(dataset))
    seen = list(itertools.islice(drawn, batches))
    masks = _masks(seen, itertools.islice(drawn, _MORE * batches))
    return _report(_examine(model, None, seen, masks))


class Preflight(keras.callbacks.Callback):
    """`preflight` in anyone's `fit`, on the first batch, before the first step.

    One batch shows less than `preflight` sees. Where 255 means ignored and foreground is rare, a first batch without
    any looks like masks of 0 and 255, and is refused: there, call `preflight` on the data set.

    Raises:
        KsegError: out of `fit`; see `preflight`.
    """

    def on_train_begin(self, logs: Any = None) -> None:
        """Get between `fit` and the function that it calls for each step."""
        # Asked for here only: on JAX, `self.model` puts a former state back into the model.
        self._fitted = self.model
        self._train_function = self._fitted.train_function
        self._fitted.train_function = self._check_and_train

    def on_train_end(self, logs: Any = None) -> None:
        """Get out of the way, if there was no step."""
        self._fitted.train_function = self._train_function

    def _check_and_train(self, *arguments: Any) -> Any:
        """The first step. JAX calls it as `(state, iterator)`, torch as `(batches,)`."""
        self._fitted.train_function = self._train_function
        *state, batches = arguments
        seen = list(itertools.islice(batches, self._fitted.steps_per_execution))
        if state:
            batches = itertools.chain(seen, batches)
        if seen:
            self._check([_Batch.of(batch) for batch in seen], *state)
        return self._train_function(*state, batches)

    def _check(self, batches: list["_Batch"], state: Sequence[Any] | None = None) -> None:
        try:
            _report(_examine(self._fitted, _Values.of(self._fitted, state), batches, _masks(batches)))
        except Exception:
            if state:
                _reattach(self._fitted, state)
            raise


def _reattach(model: keras.Model, state: Sequence[Sequence[Any]]) -> None:
    """Give the variables their values, which `fit` on JAX takes from them and, without a step, does not give back."""
    variables = (
        model.trainable_variables,
        model.non_trainable_variables,
        model.optimizer.variables,
        model.metrics_variables,
    )
    for variable, value in zip(itertools.chain(*variables), itertools.chain(*state), strict=True):
        variable.assign(value)
    model._jax_state_synced = True  # or `fit`, on its way out, puts in what it may have of an earlier call


def _report(findings: Sequence[Finding]) -> list[Finding]:
    """Log what is doubtful and return it; raise what cannot work."""
    refusals = [finding for finding in findings if isinstance(finding, Refusal)]
    warnings = [finding for finding in findings if finding not in refusals]
    for finding in warnings:
        _log.warning(f"⚠️  {finding}")
    if refusals:
        raise KsegError("\n".join(["Training cannot work.", *map(str, refusals)]))
    return warnings


# What is looked at


class _Batch(NamedTuple):
    """A batch in NumPy."""

    x: Any
    """Images `(B, ..., C)`; a structure whose first array they are, if the model takes more."""
    y: Any
    """Masks `(B, ...)` or `(B, ..., C)`; a structure of them, if the model has several outputs."""
    sample_weight: Any

    @classmethod
    def of(cls, batch: Any) -> "_Batch":
        """A batch as `fit` takes it."""
        found = cls(*keras.tree.map_structure(_to_numpy, keras.utils.unpack_x_y_sample_weight(batch)))
        if found.y is None:
            raise KsegError("The data set has no masks; expected batches (images, masks).")
        return found


def _to_numpy(value: Any) -> np.ndarray | None:
    if value is not None and not isinstance(value, np.ndarray):
        value = keras.ops.convert_to_numpy(value)
    return value.astype(keras.config.floatx()) if value is not None and value.dtype == np.float64 else value


def _batches(dataset: Any) -> Iterable[Any]:
    """The batches of whatever `fit` takes; of arrays, batches from all over them, since they may be sorted."""
    if not isinstance(dataset, tuple):
        return dataset
    arrays = [keras.tree.map_structure(_to_numpy, array) for array in dataset if array is not None]
    order = np.random.default_rng(0).permutation(len(keras.tree.flatten(arrays)[0]))
    parts = (order[start : start + _ARRAY_BATCH] for start in range(0, len(order), _ARRAY_BATCH))
    return (tuple(keras.tree.map_structure(operator.itemgetter(part), array) for array in arrays) for part in parts)


def _masks(seen: Sequence[_Batch], more: Iterable[_Batch] = ()) -> list[Any]:
    """The masks of the batches, and of more batches until one has foreground."""
    masks = [batch.y for batch in seen]
    if not any(map(_has_foreground, masks)):
        for batch in more:
            masks.append(batch.y)
            if _has_foreground(batch.y):
                break
    return masks


def _has_foreground(masks: Any) -> bool:
    return not isinstance(masks, np.ndarray) or bool(((masks != 0) & (masks != IGNORE)).any())


class _Values(NamedTuple):
    """The values of a model's variables, with which it is called without being changed."""

    trainable: list[Any]
    others: list[Any]

    @classmethod
    def of(cls, model: keras.Model, state: Sequence[Any] | None = None) -> "_Values":
        """Those of the model, or those in the state that `fit` on JAX has taken from it."""
        if state:
            trainable, non_trainable, _, metrics = state
            return cls(trainable, [*non_trainable, *metrics])
        others = [*model.non_trainable_variables, *model.metrics_variables]
        return cls([variable.value for variable in model.trainable_variables], [variable.value for variable in others])

    def scope(self, model: keras.Model) -> keras.StatelessScope:
        """In it the model has these values, and what it updates (statistics, seeds, metrics) ends with it."""
        variables = [*model.trainable_variables, *model.non_trainable_variables, *model.metrics_variables]
        state = zip(variables, [*self.trainable, *self.others], strict=True)
        return keras.StatelessScope(state, collect_losses=True)


_KNOWN = ("keras", "kseg")


class _Measure(NamedTuple):
    """What a loss or metric says of itself."""

    name: str
    origin: str
    """The package it comes from."""
    from_logits: bool | None
    """None if it does not say."""
    ignored: int | None
    """A class index that it leaves out."""

    @classmethod
    def of(cls, given: Any) -> "_Measure":
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
    def takes_classes(self) -> bool:
        """Whether it is known to take masks of classes and nothing else."""
        return self.from_logits is not None and self.origin in _KNOWN


_TAKE_PROBABILITIES = (keras.losses.dice, keras.losses.tversky, keras.losses.Dice, keras.losses.Tversky)


def _from_logits(given: Any) -> bool | None:
    """Whether a loss or metric takes logits, None if it does not say."""
    if given in _TAKE_PROBABILITIES or type(given) in _TAKE_PROBABILITIES:
        return False
    if hasattr(given, "from_logits"):
        return given.from_logits
    if inspect.isfunction(given):
        parameter = inspect.signature(given).parameters.get("from_logits")
        return parameter and parameter.default
    if isinstance(given, keras.losses.Loss) and not hasattr(given, "fn"):
        return given.get_config().get("from_logits")
    return None


def _operations(model: keras.Model) -> list[Any]:
    """Layers and operations from input to output, nested models unfolded; none if the model's `call` is its own."""
    own = model.layers if isinstance(model, keras.Sequential) else getattr(model, "operations", [])
    unfolded = ((isinstance(operation, keras.Model) and _operations(operation)) or [operation] for operation in own)
    return list(itertools.chain.from_iterable(unfolded))


# What is found


def _examine(
    model: keras.Model, values: _Values | None, batches: Sequence[_Batch], masks: Sequence[Any]
) -> list[Finding]:
    """What is found in the model, in batches, and in masks: those of the batches, and maybe more.

    The values of the model's variables are its own, or those given.
    """
    if not model.compiled:
        raise KsegError("The model is not compiled; expected model.compile(optimizer, loss) before the check.")
    if not batches:
        raise KsegError("The data set is empty; expected at least one batch.")
    with _native_state_kept(model):
        if not model.built:
            _build(model, batches[0].x)
        values = values or _Values.of(model)
        outputs = _outputs(model, values, batches[0].x)
        losses = [_Measure.of(loss) for loss in keras.tree.flatten(model.loss) if loss is not None]
        findings = _of_images([_images(batch) for batch in batches], model)
        if isinstance(masks[0], np.ndarray) and len(outputs) == len(losses) == 1:
            findings += _of_masks(masks, batches[0], outputs[0], losses[0])
            findings += _of_activation(model, losses[0])
        if not model.trainable_variables:
            findings.append(Refusal("no_gradient", "no parameter is trainable", "Set trainable = True, and compile."))
        # What is refused by now would be found again in the gradient.
        if not any(isinstance(finding, Refusal) for finding in findings):
            findings += _of_gradient(model, values, batches, losses, any(map(_has_foreground, masks)))
    return [finding for finding in findings if finding]


def _images(batch: _Batch) -> np.ndarray:
    return keras.tree.flatten(batch.x)[0]


def _build(model: keras.Model, x: Any) -> None:
    """Build the model as `fit` would."""
    model(keras.tree.map_structure(lambda array: keras.KerasTensor(array.shape, array.dtype.name), x))


def _outputs(model: keras.Model, values: _Values, x: Any) -> list[tuple[int, ...]]:
    """The shapes of the model's outputs."""

    def forward(x: Any) -> Any:
        with values.scope(model):
            return model(x, training=True)

    if keras.config.backend() == "jax" and not model.run_eagerly:
        import jax

        forward = functools.partial(jax.eval_shape, forward)
    return [tuple(output.shape) for output in keras.tree.flatten(forward(x))]


@contextlib.contextmanager
def _native_state_kept(model: keras.Model) -> Iterator[None]:
    """Put back what a call changes outside of Keras: torch's random numbers, the state of its own modules."""
    if keras.config.backend() != "torch":
        yield
        return
    import torch

    wrappers = [layer for layer in model._flatten_layers() if isinstance(layer, layers.TorchModuleWrapper)]
    modes = [(module, module.training) for wrapper in wrappers for module in wrapper.module.modules()]
    buffers = [(buffer, buffer.clone()) for wrapper in wrappers for buffer in wrapper.module.buffers()]
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for buffer, value in buffers:
            buffer.copy_(value)
        for module, mode in modes:
            module.training = mode


# Images, a batch an array, `(B, ..., C)`


def _of_images(images: Sequence[np.ndarray], model: keras.Model) -> list[Finding | None]:
    """What the images show, and what the model does to them first."""
    if refusal := images_not_finite(images):
        return [refusal]
    takes_integers = any("int" in symbol.dtype for symbol in getattr(model, "inputs", None) or ())
    return [
        constant_images(images),
        scaled_twice(images, _first_scale(model), takes_integers),
        not_scaled(images, _takes_any_scale(model)),
    ]


def images_not_finite(images: Sequence[np.ndarray]) -> Finding | None:
    """Refuse NaN and infinity."""
    for number, batch in enumerate(images, 1):
        for place, image in enumerate(batch, 1):
            if bad := int((~np.isfinite(image)).sum()):
                evidence = f"batch {number}, image {place}: {bad} of {image.size} values are NaN or infinite"
                return Refusal("images_not_finite", evidence, "Look at that image, and at what it was divided by.")
    return None


def constant_images(images: Sequence[np.ndarray]) -> Finding | None:
    """Refuse images without any content, warn about some."""
    flat = [batch.reshape(len(batch), -1, batch.shape[-1] if batch.ndim > 3 else 1) for batch in images]
    constant = np.concatenate([(pixels == pixels[:, :1]).all((1, 2)) for pixels in flat])
    if not constant.any():
        return None
    kind = Refusal if constant.all() and len(constant) >= _ENOUGH else Finding
    evidence = f"{constant.sum()} of {len(constant)} images have one colour all over"
    return kind("constant_images", evidence, "Look at how images are read, scaled and cast.")


def scaled_twice(images: Sequence[np.ndarray], scale: float | None, takes_integers: bool) -> Finding | None:
    """Warn if little is left of the images after the model's own `scale`, refuse if it rounds them to nothing."""
    reach = max(float(np.abs(batch.astype("float32")).max()) for batch in images)
    if takes_integers and reach <= 1 and np.issubdtype(images[0].dtype, np.floating):
        evidence = f"the images are fractions up to {reach:.3g}, and the model takes integers, which cuts them to 0"
        return Refusal("scaled_twice", evidence, "Give it the images as they are, 0 to 255.")
    if scale is not None and 0 < reach * scale < 0.02:
        evidence = f"the images reach {reach:.3g}, and the model multiplies them by {scale:.3g}"
        return Finding(
            "scaled_twice", evidence, "Give it the images as they are, 0 to 255, or leave out its Rescaling."
        )
    return None


def not_scaled(images: Sequence[np.ndarray], takes_any_scale: bool) -> Finding | None:
    """Warn if values spread far over 1 and nothing brings them down."""
    # By their spread, since an outlier among standardised values reaches as far as a dark picture of 0 to 255.
    spread = float(np.std(np.concatenate([batch.ravel() for batch in images]), dtype="float64"))
    if takes_any_scale or not spread > 5:
        return None
    evidence = f"the images have a standard deviation of {spread:.3g}, and no layer scales or normalises them"
    return Finding("not_scaled", evidence, "Begin the model with keras.layers.Rescaling(1 / 255).")


def _first_scale(model: keras.Model) -> float | None:
    """What a Rescaling multiplies by before anything is learned, None if there is none."""
    for operation in _operations(model):
        if isinstance(operation, layers.Rescaling):
            return float(np.max(np.abs(operation.scale)))
        if getattr(operation, "weights", ()):
            break
    return None


_NORMALISE = (
    layers.Rescaling,
    layers.Normalization,
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


def _takes_any_scale(model: keras.Model) -> bool:
    """Whether images are scaled or normalised up to behind the first learned layer, or it cannot be told."""
    learned = 0
    for operation in _operations(model):
        known = isinstance(operation, layers.Layer) and type(operation).__module__.startswith("keras.")
        if isinstance(operation, _NORMALISE) or not known or isinstance(operation, layers.Lambda):
            return True
        learned += bool(operation.weights)
        if learned == 2:
            return False
    return learned == 0


# Masks, a batch an array, `(B, ...)` or `(B, ..., C)`


def _of_masks(
    masks: Sequence[np.ndarray], first: _Batch, output: tuple[int, ...], loss: _Measure
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
        mask_shape(first.y.shape, output, _images(first).shape, loss.sparse or loss.origin not in _KNOWN),
    ]
    return findings if loss.takes_classes else [_doubt(finding) for finding in findings]


def _doubt(finding: Finding | None) -> Finding | None:
    """The finding as a warning."""
    return finding and Finding(finding.cause, finding.evidence, finding.remedy)


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
    kind = Refusal if number >= _ENOUGH else Finding
    return kind("mask_values", evidence, "Divide the masks by 255.")


def other_classes(values: np.ndarray, channels: int, loss: _Measure) -> Finding | None:
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
    if len(shares) >= _ENOUGH and np.median(shares) > 0.9:
        evidence = f"half of the {len(shares)} masks are foreground on more than {np.median(shares):.0%}"
        return Finding("inverted_masks", evidence, "If background and foreground are swapped, use 1 - mask.")
    # A mask that is all foreground is no sign: there are tiles in the middle of a lake.
    high = (shares > 0.8) & (shares < 1)
    if 0 < high.sum() <= len(shares) / 4 and len(shares) >= 2 * _ENOUGH and shares[~high].max() < 0.3:
        evidence = (
            f"{high.sum()} of {len(shares)} masks are foreground on more than 80%, and no other on more than "
            f"{shares[~high].max():.0%}"
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


# What the model ends in


def _of_activation(model: keras.Model, loss: _Measure) -> list[Finding | None]:
    """Whether loss and metrics take the output for what it is."""
    metrics = keras.tree.flatten(getattr(model._compile_metrics, "_user_metrics", None))
    gives_logits = _gives_logits(model)
    findings = [wrong_logits(gives_logits, loss.name, loss.from_logits)]
    # Where the model does not tell, a metric can still differ from the loss.
    gives_logits = loss.from_logits if gives_logits is None else gives_logits
    for metric in metrics:
        from_logits = getattr(metric, "from_logits", None)
        findings.append(_doubt(wrong_logits(gives_logits, type(metric).__name__, from_logits)))
    return findings


def wrong_logits(gives_logits: bool | None, name: str, from_logits: bool | None) -> Finding | None:
    """Refuse a loss that takes logits for probabilities, or the reverse; None is not known."""
    if None in (gives_logits, from_logits) or gives_logits == from_logits:
        return None
    if from_logits:
        evidence = f"the model gives probabilities, and {name} has from_logits=True"
        return Refusal("sigmoid_twice", evidence, "Leave out the last activation, or set from_logits=False.")
    evidence = f"the model gives logits, and {name} has from_logits=False"
    return Refusal("logits_as_probabilities", evidence, "Set from_logits=True, or end the model in a sigmoid.")


_KEEP_VALUES = (
    layers.Reshape,
    layers.Permute,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling2D,
    layers.UpSampling3D,
)


def _gives_logits(model: keras.Model) -> bool | None:
    """Whether the model ends in a learned layer without activation; None if its structure does not tell."""
    for operation in reversed(_operations(model)):
        function = getattr(operation, "activation", type(operation))
        activation = getattr(function, "__name__", "").lower().replace("_", "")
        if activation in ("sigmoid", "softmax", "hardsigmoid"):
            return False
        if activation == "linear" and operation.weights:
            return True
        if activation != "linear" and not isinstance(operation, _KEEP_VALUES):
            break
    return None


# One gradient


def _of_gradient(
    model: keras.Model, values: _Values, batches: Sequence[_Batch], losses: Sequence[_Measure], foreground: bool
) -> list[Finding | None]:
    """What the first batch gives; the others too, where a parameter gets no gradient."""
    loss, predictions, gradients = _gradient(model, training=True)(values, batches[0])
    paths = [variable.path for variable in model.trainable_variables]
    if refusal := loss_not_finite(loss) or gradient_not_finite(paths, gradients):
        return [refusal]
    alive = _alive(gradients)
    if without_gradient(paths, alive):
        alive |= _alive_elsewhere(model, values, batches)
    findings = [no_gradient(paths, alive, foreground)]
    if isinstance(predictions, np.ndarray) and [loss.from_logits for loss in losses] == [False]:
        findings.append(no_probabilities(predictions, losses[0].name))
    return findings


def _gradient(model: keras.Model, training: bool) -> Callable[[_Values, _Batch], tuple[float, Any, list[Any]]]:
    """A function to the loss, the predictions and the gradients of the trainable variables, all in NumPy."""

    def loss_of(trainable: list[Any], others: list[Any], batch: _Batch) -> tuple[Any, Any]:
        with _Values(trainable, others).scope(model):
            y_pred = model(batch.x, training=training)
            return model.compute_loss(x=batch.x, y=batch.y, y_pred=y_pred, sample_weight=batch.sample_weight), y_pred

    if keras.config.backend() == "jax":
        import jax

        differentiate = jax.value_and_grad(loss_of, has_aux=True)
        if model.jit_compile and not model.run_eagerly:
            differentiate = jax.jit(differentiate)
    else:
        import torch

        def differentiate(trainable: list[Any], others: list[Any], batch: _Batch) -> tuple[Any, Any]:
            with torch.enable_grad():
                loss, predictions = loss_of(trainable, others, batch)
                return (loss, predictions), torch.autograd.grad(loss, trainable, allow_unused=True)

    def gradient(values: _Values, batch: _Batch) -> tuple[float, Any, list[Any]]:
        (loss, predictions), gradients = differentiate(*values, batch)
        predictions, gradients = keras.tree.map_structure(_to_numpy, (predictions, list(gradients)))
        return float(_to_numpy(loss)), predictions, gradients

    return gradient


def _alive(gradients: Sequence[np.ndarray | None]) -> np.ndarray:
    """Which gradients are not zero all over, `(N,)`."""
    return np.array([gradient is not None and bool((gradient != 0).any()) for gradient in gradients])


def _alive_elsewhere(model: keras.Model, values: _Values, batches: Sequence[_Batch]) -> np.ndarray:
    """Which gradients are not zero in some batch, without dropout, and with no weights of zero; `(N,)`.

    Weights that begin at zero let nothing through to what lies before them, until the first step.
    """
    values = _Values([_without_zeros(value) for value in values.trainable], values.others)
    gradient = _gradient(model, training=False)
    alive = np.zeros(len(values.trainable), bool)
    for batch in batches:
        alive |= _alive(gradient(values, batch)[-1])
        if alive.all():
            break
    return alive


def _without_zeros(value: Any) -> Any:
    """The weights, or small ones if all are zero."""
    if _to_numpy(value).any():
        return value
    small = np.random.default_rng(0).normal(scale=1e-3, size=tuple(value.shape))
    small = keras.ops.convert_to_tensor(small, dtype=keras.backend.standardize_dtype(value.dtype))
    return small.requires_grad_() if keras.config.backend() == "torch" else small


def loss_not_finite(loss: float) -> Finding | None:
    """Refuse NaN and infinity."""
    if np.isfinite(loss):
        return None
    return Refusal("loss_not_finite", f"the loss of the first batch is {loss}", "Look for log(0) or 0 / 0 in the loss.")


def gradient_not_finite(paths: Sequence[str], gradients: Sequence[np.ndarray | None]) -> Finding | None:
    """Refuse NaN and infinity."""
    pairs = zip(paths, gradients, strict=True)
    bad = [path for path, gradient in pairs if gradient is not None and not np.isfinite(gradient).all()]
    if not bad:
        return None
    evidence = f"the gradient is NaN or infinite in {_some(bad)}"
    return Refusal("gradient_not_finite", evidence, "Look for sqrt, log or a division at 0 in the model and the loss.")


def without_gradient(paths: Sequence[str], alive: np.ndarray) -> list[str]:
    """The parameters that are not alive, but for a bias beside one that is: a normalisation takes it away."""
    layers_alive = {path.rpartition("/")[0] for path, lives in zip(paths, alive, strict=True) if lives}
    return [
        path
        for path, lives in zip(paths, alive, strict=True)
        if not lives and not (path.endswith("/bias") and path.rpartition("/")[0] in layers_alive)
    ]


def no_gradient(paths: Sequence[str], alive: np.ndarray, foreground: bool) -> Finding | None:
    """Warn about parameters without a gradient; refuse, where there was foreground to learn, if none has one."""
    if foreground and not alive.any():
        remedy = "Look for a softmax over one channel, a stop_gradient, or a loss that does not use the prediction."
        return Refusal("no_gradient", f"none of the {len(paths)} parameters gets a gradient", remedy)
    dead = without_gradient(paths, alive)
    if not dead:
        return None
    evidence = f"{len(dead)} of {len(paths)} parameters get no gradient: {_some(dead)}"
    return Finding("no_gradient", evidence, "They will not be learned: look for a layer without use, or a dead ReLU.")


def no_probabilities(predictions: np.ndarray, name: str) -> Finding | None:
    """Refuse predictions that a loss with from_logits=False cannot take."""
    low, high = float(predictions.min()), float(predictions.max())
    if low >= -1e-3 and high <= 1 + 1e-3:
        return None
    evidence = f"the model predicts {low:.3g} to {high:.3g}, and {name} has from_logits=False"
    return Refusal("logits_as_probabilities", evidence, "Set from_logits=True, or end the model in a sigmoid.")


def _some(names: Sequence[str]) -> str:
    """The first few of them."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
