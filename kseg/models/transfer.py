"""Start a model with the weights of another one, as far as they fit."""

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Transfer:
    """Which layers took weights."""

    taken: list[str]
    """The names of the layers that took all of theirs."""
    left: list[str]
    """A line for each layer that did not: its name, and both shapes, or that the other model has no such layer."""


def transfer_weights(source: keras.Model, target: keras.Model) -> Transfer:
    """Copy weights from one model into another, layer by layer, where the name and all shapes are the same.

    >>> import kseg.models
    >>> one, other = kseg.models.unet(filters=8), kseg.models.unet(filters=8, outputs=4)
    >>> transfer_weights(one, other).left
    ['logits: (1, 1, 8, 1) and (1,), expected (1, 1, 8, 4) and (4,)']
    """
    found = dict(_weighted_layers(source))
    taken, left = [], []
    for name, layer in _weighted_layers(target):
        wanted = [tuple(variable.shape) for variable in layer.weights]
        given = [tuple(variable.shape) for variable in found[name].weights] if name in found else []
        if given == wanted:
            layer.set_weights(found[name].get_weights())
            taken.append(name)
        elif given:
            left.append(f"{name}: {_listed(given)}, expected {_listed(wanted)}")
        else:
            left.append(f"{name}: there is no such layer")
    return Transfer(taken, left)


def _weighted_layers(model: keras.Model, prefix: str = "") -> list[tuple[str, keras.layers.Layer]]:
    """Return the layers that have weights, those of models in a model too, and their names."""
    layers: list[tuple[str, keras.layers.Layer]] = []
    for layer in model.layers:
        name = f"{prefix}{layer.name}"
        if isinstance(layer, keras.Model):
            layers += _weighted_layers(layer, f"{name}/")
        elif layer.weights:
            layers.append((name, layer))
    return layers


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes))
