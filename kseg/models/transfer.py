"""Start a model with the weights of another one, as far as they fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Transfer:
    """Which layers took weights."""

    taken: list[str]
    """The names of the layers that took all of their weights."""
    left: list[str]
    """A line for each layer that did not: its name, and both shapes; or the classes that it took, and that it lacks."""


def transfer_weights(
    source: keras.Model, target: keras.Model, classes: tuple[Sequence[str], Sequence[str]] | None = None
) -> Transfer:
    """Copy weights from one model into another, layer by layer, where the name and all shapes are the same.

    Args:
        source: the model to copy from.
        target: the model to copy to.
        classes: the names of the channels of both outputs. If they differ, the last layer takes the weights of the
            classes that both have, whatever their order; None: of all channels, in their order.

    >>> import kseg.models
    >>> one, other = kseg.models.unet(filters=8), kseg.models.unet(filters=8, outputs=4)
    >>> transfer_weights(one, other).left
    ['logits: (1, 1, 8, 1) and (1,), expected (1, 1, 8, 4) and (4,)']
    """
    found, layers = dict(_weighted_layers(source)), _weighted_layers(target)
    taken, left = [], []
    for name, layer in layers:
        is_last = (name, layer) == layers[-1] and [name] == [*found][-1:]
        if classes and classes[0] != classes[1] and is_last and _fit_but_for_classes(found[name], layer, *classes):
            shared = _take_classes(found[name], layer, *classes)
            new = [one for one in classes[1] if one not in shared]
            taken += [] if new else [name]
            left += [f"{name}: {_listed_names(shared)} taken; there is no {', '.join(new)}"] if new else []
            continue
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


def _fit_but_for_classes(
    source: keras.layers.Layer, target: keras.layers.Layer, given: Sequence[str], wanted: Sequence[str]
) -> bool:
    """Return whether the last axis of all weights is that of the classes, and all other axes are the same."""
    shapes, expected = ([tuple(variable.shape) for variable in layer.weights] for layer in (source, target))
    return all(shape[-1] == len(given) for shape in shapes) and expected == [
        (*shape[:-1], len(wanted)) for shape in shapes
    ]


def _take_classes(
    source: keras.layers.Layer, target: keras.layers.Layer, given: Sequence[str], wanted: Sequence[str]
) -> list[str]:
    """Copy the weights of the classes that both layers have; return their names.

    Background alone is none: it is what is not one of the other classes.
    """
    shared = [name for name in wanted if name in given]
    if not set(shared) - {"background"}:
        return []
    weights = target.get_weights()
    for own, other in zip(weights, source.get_weights(), strict=True):
        own[..., [wanted.index(name) for name in shared]] = other[..., [given.index(name) for name in shared]]
    target.set_weights(weights)
    return shared


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


def _listed_names(names: list[str]) -> str:
    return f"{', '.join(names) or 'nothing'} {'are' if len(names) > 1 else 'is'}"


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return " and ".join(map(str, shapes))
