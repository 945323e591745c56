"""Set the output bias, so that a new model predicts the share of foreground of the data."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from kseg.keras_private import has_sublayers, producer, sync_jax_state
from kseg.targets import Activation

# Keras layers and operations that keep values, or only move them.
_KEEP_VALUES = (
    {"Activation", "Cast", "ConvertToTensor", "Dropout", "Identity", "SpatialDropout2D"}
    | {"DepthToSpace", "ExpandDims", "GetItem", "Permute", "Reshape", "Squeeze", "Transpose"}
    | {"CenterCrop", "Cropping2D", "Cropping3D", "Resize", "Resizing", "UpSampling2D", "UpSampling3D"}
)


def set_output_bias(
    model: keras.Model, foreground_share: float | Sequence[float], activation: Activation = "sigmoid"
) -> None:
    """Set the bias of the logits to log(p / (1 - p)), so that sigmoid gives about p, or to log(p) for softmax.

    The bias is that of the last layer with one before the output; sigmoid, casts, reshapes, resizing and dropout may
    follow it. The kernel does not change. Works before and during training, on functional, `Sequential` and subclassed
    models; the `call` of a subclassed model has to consist of Keras layers and `keras.ops`.

    Measure whether it helps: it did where most masks are empty, and did not where none is.

    Args:
        model: a built model with one output, logits or probabilities of sigmoid.
        foreground_share: the share p of foreground pixels, above 0 and below 1; or a sequence, one share per channel
            of the logits. For softmax a single share is spread evenly over all channels but the first.
        activation: "sigmoid", or "softmax", whose shares add up to 1 with that of background first.

    Raises:
        ValueError: a share is not above 0 and below 1, or those of softmax do not add up to 1; the number of shares is
            not that of the channels; the output does not come from a layer with a bias and at most that activation; the
            model is not built, has several outputs, or cannot be traced.

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1, kernel_initializer="zeros")])
    >>> set_output_bias(model, 0.1)
    >>> round(float(model.predict(np.zeros((1, 8, 8, 3)), verbose=0).mean()), 4)  # log(0.1 / 0.9)
    -2.1972
    """
    shares = np.asarray(foreground_share, np.float64)
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"foreground_share is {foreground_share}; expected above 0 and below 1.")
    sync_jax_state(model)  # inside fit the variables are empty until the state is synced
    layer = _layer_with_bias(_output(model), activation)
    if shares.ndim and shares.shape != layer.bias.shape[-1:]:
        raise ValueError(
            f"foreground_share has {len(shares)} shares and the bias of {_describe(layer)} the shape "
            f"{tuple(layer.bias.shape)}; expected one share, or one per channel."
        )
    if activation == "sigmoid":
        layer.bias.assign(np.zeros(layer.bias.shape) + np.log(shares) - np.log1p(-shares))
        return
    if not shares.ndim:
        others = layer.bias.shape[-1] - 1
        shares = np.array([1 - shares, *[shares / max(others, 1)] * others])
    if not np.isclose(shares.sum(), 1):
        raise ValueError(f"foreground_share is {foreground_share}; expected shares that add up to 1 for softmax.")
    layer.bias.assign(np.log(shares))


def _output(model: keras.Model) -> KerasTensor:
    """Return the symbolic output of the model, from which its layers can be found."""
    if hasattr(model, "outputs"):
        outputs = model.outputs
    else:
        shape = (model.get_build_config() or {}).get("input_shape")
        if shape is None:
            raise ValueError(f"{_describe(model)} is not built for one input; call it on a batch of images first.")
        outputs = _trace(model, keras.Input(batch_shape=shape))
    if len(outputs) != 1:
        raise ValueError(f"{_describe(model)} has {len(outputs)} outputs; expected one.")
    return outputs[0]


def _trace(layer: keras.Layer, *arguments: Any, **keywords: Any) -> list[KerasTensor]:
    """Call a layer on symbolic tensors; return its outputs, from which the layers inside can be found."""
    try:
        return keras.tree.flatten(layer.call(*arguments, **keywords))
    except Exception as error:  # the call of a user's layer may raise anything
        raise ValueError(
            f"{_describe(layer)} cannot be traced: its call raised {error!r}. Expected a call of Keras layers and "
            "keras.ops; otherwise assign the bias of the last layer yourself."
        ) from error


def _layer_with_bias(tensor: KerasTensor, expected: Activation) -> keras.Layer:
    """Return the last layer with a bias before a symbolic tensor, with at most this activation behind it."""
    source, arguments, position = producer(tensor)
    has_bias = isinstance(getattr(source, "bias", None), keras.Variable)
    if has_sublayers(source) and not has_bias:
        return _layer_with_bias(_trace(source, *arguments.args, **arguments.kwargs)[position], expected)

    activation = keras.activations.get(getattr(source, "activation", None))
    name = getattr(activation, "__name__", type(activation).__name__)
    if name not in ("linear", expected):
        raise ValueError(f"The activation of {_describe(source)} is {name}; expected {expected} or none.")
    if has_bias:
        return source
    if type(source).__name__ in _KEEP_VALUES | {expected.capitalize()}:
        return _layer_with_bias(arguments.keras_tensors[0], expected)
    if hasattr(source, "use_bias"):
        raise ValueError(f"{_describe(source)}, the last layer, has no bias; expected use_bias=True there.")
    raise ValueError(
        f"The output comes from {_describe(source)}; expected a layer with use_bias=True, followed by {expected} or no "
        "activation."
    )


def _describe(operation: keras.Operation) -> str:
    return f"{operation.name!r} ({type(operation).__name__})"
