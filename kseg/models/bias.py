"""The bias of the logits, set so that a fresh model predicts the share of foreground that there is."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor

from kseg.keras_private import has_sublayers, producer, sync_jax_state

# Layers and operations of Keras that hand values on as they came, or move them elsewhere.
_HAND_ON = (
    {"Activation", "Cast", "ConvertToTensor", "Dropout", "Identity", "Sigmoid", "SpatialDropout2D"}
    | {"DepthToSpace", "ExpandDims", "GetItem", "Permute", "Reshape", "Squeeze", "Transpose"}
    | {"CenterCrop", "Cropping2D", "Cropping3D", "Resize", "Resizing", "UpSampling2D", "UpSampling3D"}
)


def set_output_bias(model: keras.Model, foreground_share: float | Sequence[float]) -> None:
    """Set the bias of the layer that makes the logits to log(p / (1 - p)), so that sigmoid gives about p.

    The layer is the last with a bias on the way to the output, seen through sigmoid, casts, reshapes, resizing and
    dropout. Its kernel stays. Works before training and in the middle of it, on a functional or `Sequential` model,
    and on a subclassed one whose `call` is made of Keras layers and `keras.ops`.

    Whether it helps is to be measured, not a rule: where most masks are empty it did, where none was it did not.

    Args:
        model: a built model with one output, logits or probabilities of sigmoid.
        foreground_share: the share p of foreground pixels, above 0 and below 1; a sequence has one for each
            channel of the logits.

    Raises:
        ValueError: a share is not between 0 and 1; there are more or fewer shares than the bias has channels; the
            output does not come from a layer with a bias and at most a sigmoid; the model is not built, has several
            outputs, or cannot be traced.

    >>> model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(1, 1, kernel_initializer="zeros")])
    >>> set_output_bias(model, 0.1)
    >>> round(float(model.predict(np.zeros((1, 8, 8, 3)), verbose=0).mean()), 4)  # log(0.1 / 0.9)
    -2.1972
    """
    shares = np.asarray(foreground_share, np.float64)
    if not ((shares > 0) & (shares < 1)).all():
        raise ValueError(f"foreground_share is {foreground_share}; expected above 0 and below 1.")
    sync_jax_state(model)  # within fit the variables are empty, and filled from its state later
    layer = _with_bias(_output(model))
    if shares.ndim and shares.shape != layer.bias.shape[-1:]:
        raise ValueError(
            f"foreground_share has {len(shares)} shares and the bias of {_named(layer)} the shape "
            f"{tuple(layer.bias.shape)}; expected one share, or one for each channel."
        )
    layer.bias.assign(np.zeros(layer.bias.shape) + np.log(shares) - np.log1p(-shares))


def _output(model: keras.Model) -> KerasTensor:
    """The output of the model, as a symbol that knows where it comes from."""
    if hasattr(model, "outputs"):
        outputs = model.outputs
    else:
        shape = (model.get_build_config() or {}).get("input_shape")
        if shape is None:
            raise ValueError(f"{_named(model)} is not built for one input; call it on a batch of images first.")
        outputs = _traced(model, keras.Input(batch_shape=shape))
    if len(outputs) != 1:
        raise ValueError(f"{_named(model)} has {len(outputs)} outputs; expected one.")
    return outputs[0]


def _traced(layer: keras.Layer, *arguments: Any, **keywords: Any) -> list[KerasTensor]:
    """What the layers inside a layer make of symbols, each output knowing where it comes from."""
    try:
        return keras.tree.flatten(layer.call(*arguments, **keywords))
    except Exception as error:  # somebody's call may raise anything
        raise ValueError(
            f"{_named(layer)} cannot be traced: its call raised {error!r}. Expected one made of Keras layers and "
            "keras.ops; for any other, assign the bias of its last layer yourself."
        ) from error


def _with_bias(tensor: KerasTensor) -> keras.Layer:
    """The last layer with a bias on the way to a tensor."""
    source, arguments, position = producer(tensor)
    has_bias = isinstance(getattr(source, "bias", None), keras.Variable)
    if has_sublayers(source) and not has_bias:
        return _with_bias(_traced(source, *arguments.args, **arguments.kwargs)[position])

    activation = keras.activations.get(getattr(source, "activation", None))
    name = getattr(activation, "__name__", type(activation).__name__)
    if name not in ("linear", "sigmoid"):
        raise ValueError(f"The activation of {_named(source)} is {name}; expected sigmoid or none.")
    if has_bias:
        return source
    if type(source).__name__ in _HAND_ON:
        return _with_bias(arguments.keras_tensors[0])
    if hasattr(source, "use_bias"):
        raise ValueError(f"{_named(source)}, the last layer, has no bias; expected use_bias=True there.")
    raise ValueError(
        f"The output comes from {_named(source)}; expected a layer with use_bias=True, and after it a sigmoid or no "
        "activation."
    )


def _named(operation: keras.Operation) -> str:
    return f"{operation.name!r} ({type(operation).__name__})"
