import keras
import numpy as np

from kseg.models import transfer_weights, unet


def values(model):
    return {weight.path: keras.ops.convert_to_numpy(weight) for weight in model.weights}


def test_what_fits_is_taken_and_the_rest_is_listed_with_both_shapes():
    source, target = unet(channels=3, filters=8, levels=2), unet(channels=4, filters=8, levels=2, outputs=5)
    before, given = values(target), values(source)
    transfer = transfer_weights(source, target)
    assert transfer.left == [
        "down0a_conv: (3, 3, 3, 8), expected (3, 3, 4, 8)",
        "logits: (1, 1, 8, 1) and (1,), expected (1, 1, 8, 5) and (5,)",
    ]
    for path, value in values(target).items():
        layer = path.split("/")[0]
        expected = before[path] if layer in ("down0a_conv", "logits") else given[path]
        np.testing.assert_array_equal(value, expected)
    assert {path.split("/")[0] for path in before} == {*transfer.taken, "down0a_conv", "logits"}


def test_layers_of_models_in_models_are_found():
    def nested(outputs):
        inside = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="deep")], name="encoder")
        x = keras.Input((4,))
        return keras.Model(x, keras.layers.Dense(outputs, name="head")(inside(x)))

    source, target = nested(1), nested(2)
    transfer = transfer_weights(source, target)
    assert transfer.taken == ["encoder/deep"]
    np.testing.assert_array_equal(
        target.get_layer("encoder").get_weights()[0], source.get_layer("encoder").get_weights()[0]
    )


def test_nothing_in_common():
    source = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="other")])
    transfer = transfer_weights(source, unet(filters=8, levels=2))
    assert not transfer.taken
    assert "logits: there is no such layer" in transfer.left


def test_classes_are_taken_by_their_names_whatever_their_order():
    source, target = (unet(channels=3, filters=8, levels=2, outputs=outputs) for outputs in (3, 4))
    before = target.get_layer("logits").get_weights()
    given = source.get_layer("logits").get_weights()
    old, new = ("background", "cat", "dog"), ("background", "dog", "bird", "cat")
    transfer = transfer_weights(source, target, (old, new))
    assert transfer.left == ["logits: background, dog, cat are taken; there is no bird"]
    for taken, own, other in zip(target.get_layer("logits").get_weights(), before, given, strict=True):
        np.testing.assert_array_equal(taken[..., [0, 1, 3]], other[..., [0, 2, 1]])
        np.testing.assert_array_equal(taken[..., 2], own[..., 2])


def test_an_output_of_other_classes_is_not_taken():
    source, target = (unet(channels=3, filters=8, levels=2, outputs=2) for _ in range(2))
    before = target.get_layer("logits").get_weights()
    transfer = transfer_weights(source, target, (("background", "cat"), ("background", "car")))
    assert transfer.left == ["logits: nothing is taken; there is no background, car"]
    for taken, own in zip(target.get_layer("logits").get_weights(), before, strict=True):
        np.testing.assert_array_equal(taken, own)


def test_where_more_than_the_classes_differs_both_shapes_are_listed():
    source, target = (unet(channels=3, filters=filters, levels=2, outputs=2) for filters in (8, 16))
    transfer = transfer_weights(source, target, (("background", "cat"), ("background", "car")))
    assert "logits: (1, 1, 8, 2) and (2,), expected (1, 1, 16, 2) and (2,)" in transfer.left
