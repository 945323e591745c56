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
