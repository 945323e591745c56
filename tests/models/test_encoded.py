import subprocess
import sys

import keras
import numpy as np
import pytest

from kseg.config.train import EncoderName
from kseg.errors import KsegError
from kseg.keras_private import quick_initializers
from kseg.losses import CombinedSegmentationLoss
from kseg.models import DECODERS, ENCODERS, encoded, encoders, networks

SMALL = "mobilenetv3_small"


def images(rng, *shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def test_the_setting_names_the_encoders():
    assert list(EncoderName.__args__) == list(ENCODERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoder", "strides"), [*((name, (2, 4, 8, 16, 32)) for name in DECODERS), ("unet", (4, 8, 16, 32))]
)
def test_a_decoder_gives_the_size_of_the_image_and_every_weight_a_gradient(decoder, strides, rng):
    inputs = [keras.Input((None, None, 8)) for _ in strides]
    x = DECODERS[decoder](list(zip(strides, inputs, strict=True)), None)
    model = keras.Model(inputs, keras.layers.Conv2D(2, 1)(x))
    arrays = [rng.normal(size=(1, 64 // stride, 96 // stride, 8)).astype(np.float32) for stride in strides]
    assert model.predict_on_batch(arrays).shape == (1, 64, 96, 2)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), loss="mse")
    model.train_on_batch(arrays, rng.normal(size=(1, 64, 96, 2)).astype(np.float32))
    for weight, value in zip(model.trainable_weights, before, strict=True):
        assert (keras.ops.convert_to_numpy(weight) != value).any(), weight.path


@pytest.fixture(scope="module")
def model():
    """A model of four channels and five outputs."""
    return encoded(4, 5, decoder="fpn", encoder=SMALL)


@pytest.mark.slow
def test_any_channels_outputs_and_multiples_of_32(model, rng):
    logits = model.predict_on_batch(images(rng, 2, 64, 96, 4))
    assert logits.shape == (2, 64, 96, 5)
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["efficientnetv2_b0", "resnet50v2", "convnext_tiny"])
def test_each_family_of_encoders_has_features_of_all_strides(encoder):
    strides = [stride for stride, _ in encoders.encode(keras.Input((None, None, 3), dtype="uint8"), encoder)]
    assert strides == [stride for stride in encoders.STRIDES if (encoder, stride) != ("convnext_tiny", 2)]


@pytest.mark.slow
def test_a_step_lowers_the_loss_and_every_weight_has_a_gradient(rng):
    model = encoded(encoder=SMALL)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(0.01), loss=CombinedSegmentationLoss())
    batch, masks = images(rng, 4, 64, 64, 3), np.zeros((4, 64, 64, 1), np.uint8)
    masks[:, 16:48, 16:48] = 1
    losses = [float(model.train_on_batch(batch, masks)) for _ in range(6)]
    assert losses[-1] < losses[0]
    still = [
        weight.path
        for weight, value in zip(model.trainable_weights, before, strict=True)
        if (keras.ops.convert_to_numpy(weight) == value).all()
    ]
    # The shift of a hidden channel that ReLU6 or hard swish holds at 0 for this batch may stand still.
    assert len(still) < 0.05 * len(before), still


@pytest.mark.slow
def test_a_saved_model_is_the_same_in_a_fresh_process_without_kseg(model, rng, tmp_path):
    model.save(tmp_path / "model.keras")
    batch = images(rng, 2, 64, 96, 4)
    np.save(tmp_path / "batch.npy", batch)
    code = (
        "import keras, numpy as np; model = keras.models.load_model('model.keras'); "
        "np.save('logits.npy', model.predict_on_batch(np.load('batch.npy')))"
    )
    environment = {"KERAS_BACKEND": keras.config.backend(), "PATH": "", "HOME": str(tmp_path)}
    environment["JAX_THREEFRY_PARTITIONABLE"] = "0"  # Keras's weights, which the file replaces, are drawn sooner so
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), model.predict_on_batch(batch), atol=1e-4)
    with quick_initializers():
        again = keras.Model.from_config(model.get_config())
    assert [weight.shape for weight in again.weights] == [weight.shape for weight in model.weights]


@pytest.mark.slow
def test_mixed_precision_is_finite_and_leaves_the_policy_as_it_was(rng):
    model = encoded(encoder=SMALL, dtype="mixed_bfloat16")
    assert keras.config.dtype_policy().name == "float32"
    logits = model.predict_on_batch(images(rng, 1, 32, 32, 3))
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert any(layer.compute_dtype == "bfloat16" for layer in model.get_layer("encoder").layers)


@pytest.fixture
def weights(tmp_path):
    """A file of weights of the small encoder, with statistics of its own."""
    network = encoders._random(ENCODERS[SMALL], 3)
    values = np.random.default_rng(1)
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            layer.set_weights([gamma, beta, mean + values.normal(0, 0.1, mean.shape), variance * 1.1])
    network.save_weights(tmp_path / "own.weights.h5")
    return tmp_path / "own.weights.h5"


@quick_initializers()
def features(channels, weights, level=-1):
    image = keras.Input((None, None, channels), dtype="uint8")
    return keras.Model(image, encoders.encode(image, SMALL, weights)[level][1])


@pytest.mark.slow
def test_three_equal_channels_give_what_any_number_of_equal_channels_gives(weights, rng):
    grey = images(rng, 1, 64, 64, 1)
    expected = features(3, weights, level=0).predict_on_batch(np.repeat(grey, 3, axis=-1))
    assert expected.std() > 0.1 * abs(expected).max()  # it says something about the picture
    for channels in (1, 2, 4, 5, 6):
        found = features(channels, weights, level=0).predict_on_batch(np.repeat(grey, channels, axis=-1))
        np.testing.assert_allclose(found, expected, atol=1e-5 * abs(expected).max())


@pytest.mark.slow
def test_pretrained_statistics_stay_and_random_ones_move(weights, rng):
    batch = images(rng, 2, 32, 32, 3)
    for given, moves in ((weights, False), (None, True)):
        model = features(3, given)
        before = [keras.ops.convert_to_numpy(value) for value in model.non_trainable_weights]
        model(batch, training=True)
        statistics = [
            value
            for layer in model.get_layer("encoder").layers
            if isinstance(layer, keras.layers.BatchNormalization)
            for value in (layer.moving_mean, layer.moving_variance)
        ]
        after = {value.path: keras.ops.convert_to_numpy(value) for value in statistics}
        changed = [
            path
            for value, path in zip(before, [weight.path for weight in model.non_trainable_weights], strict=True)
            if path in after and (after[path] != value).any()
        ]
        assert bool(changed) == moves


def test_what_there_is_not_is_refused(tmp_path):
    with pytest.raises(ValueError, match="decoder is 'pspnet'; expected one of unet, fpn, deeplabv3plus, mlp"):
        encoded(decoder="pspnet")
    with pytest.raises(KsegError, match="encoder: 'vgg' is not allowed; expected one of mobilenetv3_small"):
        encoded(encoder="vgg")


@pytest.mark.slow
def test_weights_that_do_not_fit_or_cannot_be_had_are_refused(weights, tmp_path, monkeypatch):
    with pytest.raises(KsegError, match=r"own.weights.h5 does not fit mobilenetv3_large"):
        encoded(encoder="mobilenetv3_large", encoder_weights=weights)
    with pytest.raises(KsegError, match=r"none.weights.h5 does not fit mobilenetv3_small"):
        encoded(encoder=SMALL, encoder_weights=tmp_path / "none.weights.h5")

    def offline(**_):
        raise OSError("URL fetch failure on https://storage.example/weights.h5: no network")

    entry = ENCODERS[SMALL]
    monkeypatch.setitem(ENCODERS, SMALL, networks.Encoder(offline, entry.mean, entry.deviation, {}))
    monkeypatch.setattr(encoders, "_random", lambda how, channels: None)
    message = "cannot be had: URL fetch failure on https://storage.example/weights.h5.*download that file elsewhere"
    with pytest.raises(KsegError, match=message):
        encoded(encoder=SMALL, encoder_weights="imagenet")
