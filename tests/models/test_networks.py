"""Encoders from presets of KerasHub, saved into folders: no preset can be downloaded in a test."""

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec

import keras
import numpy as np
import pytest

from kseg.errors import KsegError
from kseg.keras_private import all_layers, quick_initializers
from kseg.models import encoded
from kseg.models.encoders import encode
from kseg.models.networks import find_encoder

# KerasHub is imported by the tests that run: it imports TensorFlow, which takes seconds.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("keras_hub") is None, reason="needs the package keras-hub"),
]

SCALE, OFFSET = [0.017, 0.018, 0.019], [-2.1, -2.0, -1.8]


def keras_hub():
    return importlib.import_module("keras_hub")


@quick_initializers()
def densenet(repeats=(1, 1, 1, 1), image_shape=(64, 64, 3)):
    return keras_hub().models.DenseNetBackbone(repeats, compression_ratio=0.5, growth_rate=8, image_shape=image_shape)


@quick_initializers()
def efficientnet():
    stages = {"kernel_sizes": [3] * 5, "num_repeats": [1] * 5, "input_filters": [8, 8, 16, 16, 24]}
    stages |= {"output_filters": [8, 16, 16, 24, 32], "expansion_ratios": [1, 4, 4, 4, 4], "strides": [1, 2, 2, 2, 2]}
    stages |= {"squeeze_and_excite_ratios": [0.0, 0.25, 0.25, 0.25, 0.25], "block_types": ["fused"] + ["unfused"] * 4}
    stages |= {"width_coefficients": [1.0] * 5, "depth_coefficients": [1.0] * 5}
    return keras_hub().models.EfficientNetBackbone(**{f"stackwise_{name}": value for name, value in stages.items()})


def save(network, folder, kind="DenseNet", scale=SCALE, offset=OFFSET):
    """Save a network with statistics of its own, as a preset."""
    rng = np.random.default_rng(1)
    for layer in all_layers(network):
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean + rng.normal(0, 0.1, mean.shape), variance * 1.1])
    network.save_to_preset(str(folder))
    converter = getattr(keras_hub().layers, f"{kind}ImageConverter")
    converter(image_size=(64, 64), scale=scale, offset=offset).save_to_preset(str(folder))
    return str(folder)


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save(densenet(), tmp_path_factory.mktemp("densenet"))


@pytest.fixture(scope="module")
def nested(tmp_path_factory):
    """A preset whose BatchNorm lies in layers of KerasHub's own."""
    folder = tmp_path_factory.mktemp("efficientnet")
    return save(efficientnet(), folder, "EfficientNet")


@quick_initializers()
def features(preset, channels=3, weights="preset"):
    image = keras.Input((None, None, channels), dtype="uint8")
    found = encode(image, preset, weights)
    return [stride for stride, _ in found], keras.Model(image, [feature for _, feature in found])


def images(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def test_the_features_are_those_of_kerashub_for_the_pixels_as_it_scales_them(preset, rng):
    batch = images(rng, 2, 96, 64, 3)
    strides, model = features(preset)
    assert strides == [2, 4, 8, 16, 32]
    theirs = keras_hub().models.Backbone.from_preset(preset, image_shape=(None, None, 3))
    scaled = batch.astype(np.float32) * np.float32(SCALE) + np.float32(OFFSET)
    expected = theirs.predict_on_batch(scaled)
    assert expected.std() > 0.02
    np.testing.assert_allclose(model.predict_on_batch(batch)[-1], expected, atol=1e-4)
    # Random weights, another size of the network and no scaling are told apart by this.
    assert abs(theirs.predict_on_batch(batch / np.float32(255)) - expected).max() > 0.01


def test_a_preset_without_scale_takes_pixels_as_they_are(tmp_path):
    encoder = find_encoder(save(densenet(), tmp_path, scale=None, offset=None))
    np.testing.assert_allclose(encoder.mean, 0)
    np.testing.assert_allclose(255 * np.array(encoder.deviation), 1)


def test_three_equal_channels_give_what_any_number_of_equal_channels_gives(preset, rng):
    grey = images(rng, 1, 64, 64, 1)
    expected = features(preset)[1].predict_on_batch(np.repeat(grey, 3, axis=-1))
    for channels in (1, 2, 4):
        found = features(preset, channels)[1].predict_on_batch(np.repeat(grey, channels, axis=-1))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4 * abs(other).max())


def test_statistics_within_layers_of_kerashub_stay_too(nested, rng):
    for weights, moves in (("preset", False), (None, True)):
        _, model = features(nested, weights=weights)
        norms = [layer for layer in all_layers(model) if isinstance(layer, keras.layers.BatchNormalization)]
        assert len(norms) > sum(isinstance(layer, keras.layers.BatchNormalization) for layer in model.layers[2].layers)
        before = [keras.ops.convert_to_numpy(norm.moving_mean) for norm in norms]
        model(images(rng, 2, 64, 64, 3), training=True)
        moved = [(keras.ops.convert_to_numpy(n.moving_mean) != old).any() for n, old in zip(norms, before, strict=True)]
        assert all(moved) if moves else not any(moved)


def test_a_dtype_policy_reaches_the_layers(preset):
    model = encoded(4, 2, decoder="mlp", encoder=preset, encoder_weights="preset", dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    assert any(layer.compute_dtype == "bfloat16" for layer in all_layers(model.get_layer("encoder")))
    assert (model.output.shape, model.output.dtype) == ((None, None, None, 2), "float32")


def test_a_fresh_process_without_kseg_opens_a_saved_model(nested, tmp_path):
    _, model = features(nested)
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras, numpy as np; model = keras.models.load_model('model.keras'); "
        "np.savez('weights.npz', *model.get_weights()); sys.exit('kseg' in sys.modules)"
    )
    # Keras's weights, which the file replaces, are drawn sooner without it.
    environment = os.environ | {"KERAS_BACKEND": keras.config.backend(), "JAX_THREEFRY_PARTITIONABLE": "0"}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    with np.load(tmp_path / "weights.npz") as found:
        for one, other in zip(found.values(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)


def test_what_cannot_be_an_encoder_is_refused(preset, tmp_path, monkeypatch):
    with pytest.raises(
        KsegError, match=r"encoder: there is no folder ./nowhere; expected one with the files of a preset"
    ):
        encoded(encoder="./nowhere")
    densenet().save_to_preset(str(tmp_path / "bare"))
    with pytest.raises(
        KsegError, match=r"bare cannot be had: .*`image_converter.json` doesn't exist.*how images are s"
    ):
        encoded(encoder=str(tmp_path / "bare"))
    vit = keras_hub().models.ViTBackbone((64, 64, 3), 16, num_layers=1, num_heads=2, hidden_dim=32, mlp_dim=32)
    vit = save(vit, tmp_path / "vit", "ViT")
    with pytest.raises(
        KsegError, match="ViTBackbone of .*cannot be made for images of any size and 3 channels: .*DenseN"
    ):
        encoded(encoder=vit)
    shallow = save(densenet([1, 1]), tmp_path / "shallow")
    with pytest.raises(KsegError, match="has features of 2, 4, 8 strides; .* there is none of 16, 32"):
        encoded(encoder=shallow)
    (tmp_path / "densenet").mkdir()
    torn = save(densenet(), tmp_path / "densenet")
    (tmp_path / "densenet/model.weights.h5").write_bytes(b"torn")
    with pytest.raises(
        KsegError, match="the weights preset of .* cannot be had: .* name a folder with the files of the"
    ):
        encoded(encoder=torn, encoder_weights="preset")
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(KsegError, match=r"needs keras_hub, which cannot be imported .*: pip install 'kseg\[hub\]'"):
        encoded(encoder=preset)
