import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from keras import layers

from kseg.models import fast_layers, unet
from tests.gradients import gradient


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(keras.ops.stop_gradient(tensor))


INPUTS = (2, 6, 10, 8)


def copied(ours, theirs, x):
    """Both layers, built, with the same random weights."""
    pair = ours, theirs
    for layer in pair:
        layer.build(x.shape)
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=weight.shape).astype("float32") for weight in theirs.get_weights()]
    for layer in pair:
        layer.set_weights(weights)
    return pair


CASES = [
    (fast_layers.GroupNormalization, layers.GroupNormalization, {"groups": 2}),
    (fast_layers.GroupNormalization, layers.GroupNormalization, {"groups": 8, "epsilon": 0.1}),
    (fast_layers.GroupNormalization, layers.GroupNormalization, {"groups": 4, "scale": False}),
    (fast_layers.GroupNormalization, layers.GroupNormalization, {"groups": 4, "center": False}),
    (fast_layers.MaxPooling2D, layers.MaxPooling2D, {}),
    (fast_layers.MaxPooling2D, layers.MaxPooling2D, {"pool_size": 3}),
    (fast_layers.MaxPooling2D, layers.MaxPooling2D, {"pool_size": 3, "strides": 2}),
    (fast_layers.MaxPooling2D, layers.MaxPooling2D, {"pool_size": (2, 3), "padding": "same"}),
]


@pytest.mark.parametrize(("own", "keras_layer", "arguments"), CASES)
def test_values_and_gradients_are_those_of_keras(own, keras_layer, arguments, rng):
    x = rng.normal(size=INPUTS).astype("float32")
    ours, theirs = copied(own(**arguments), keras_layer(**arguments), x)
    np.testing.assert_allclose(to_numpy(ours(x)), to_numpy(theirs(x)), rtol=1e-5, atol=1e-5)
    weight = keras.ops.convert_to_tensor(rng.normal(size=tuple(ours(x).shape)).astype("float32"))

    def loss(layer):
        return lambda inputs: keras.ops.sum(layer(inputs) * weight)

    np.testing.assert_allclose(gradient(loss(ours), x), gradient(loss(theirs), x), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["mixed_bfloat16", "mixed_float16"])
def test_groups_are_normalised_in_float32(dtype, rng):
    # Their sums are beyond float16.
    x = rng.normal(300, 1, (1, 64, 64, 8)).astype("float32")
    ours, theirs = copied(fast_layers.GroupNormalization(1, dtype=dtype), layers.GroupNormalization(1, dtype=dtype), x)
    half = keras.ops.cast(x, dtype.removeprefix("mixed_"))
    found, expected = (to_numpy(keras.ops.cast(layer(half), "float32")) for layer in (ours, theirs))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=0.02, atol=0.02)
    values = to_numpy(keras.ops.cast(half, "float32")).astype(np.float64)
    exact = (values - values.mean()) / np.sqrt(values.var() + 1e-3) * ours.get_weights()[0] + ours.get_weights()[1]
    np.testing.assert_allclose(found, exact, rtol=0.01, atol=0.01)
    assert keras.backend.standardize_dtype(ours(half).dtype) == dtype.removeprefix("mixed_")


@pytest.mark.slow
def test_a_saved_model_opens_where_kseg_is_not_imported(tmp_path, rng):
    model = unet(filters=8)
    model.save(tmp_path / "model.keras")
    image = rng.integers(0, 256, (1, 16, 24, 3)).astype(np.uint8)
    np.save(tmp_path / "image.npy", image)
    script = """if True:
        import sys, keras, numpy as np
        model = keras.models.load_model("model.keras")
        norm = model.get_layer("bottoma_norm")
        assert type(norm).__module__.startswith("keras.src"), type(norm)
        assert "kseg" not in sys.modules
        np.save("logits.npy", keras.ops.convert_to_numpy(model(np.load("image.npy"))))
    """
    environment = os.environ | {"PYTHONPATH": ""}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    logits = to_numpy(model(image))
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), logits, rtol=1e-3, atol=1e-3)
