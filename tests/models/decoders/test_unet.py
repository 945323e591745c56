import keras
import numpy as np
import pytest

from kseg.models import unet
from kseg.models.fast_layers import FAST_LAYERS
from tests.gradients import to_numpy

# Every test compiles a U-Net.
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (8, 16)])
def test_logits_have_the_size_of_the_image(size, rng):
    images = rng.integers(0, 256, (2, *size, 3), np.uint8)
    logits = to_numpy(unet(filters=8)(images))
    assert (logits.shape, logits.dtype) == ((2, *size, 1), np.float32)
    assert np.isfinite(logits).all()


def test_channels_and_outputs_are_those_asked_for(rng):
    model = unet(channels=1, filters=8, levels=2, outputs=4)
    assert to_numpy(model(rng.integers(0, 256, (1, 8, 8, 1), np.uint8))).shape == (1, 8, 8, 4)


def test_every_parameter_has_a_gradient(rng):
    model = unet(filters=8, levels=3)
    before = [weight.numpy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), "mse")
    images, targets = rng.integers(0, 256, (2, 16, 16, 3), np.uint8), rng.normal(size=(2, 16, 16, 1))
    model.train_on_batch(images, targets)
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert (weight.numpy() != old).any(), weight.path


def test_logits_are_float32_under_mixed_precision(rng):
    model = unet(filters=8, levels=2, dtype="mixed_bfloat16")
    assert model.get_layer("bottoma_conv").compute_dtype == "bfloat16"
    logits = model(rng.integers(0, 256, (1, 16, 16, 3), np.uint8))
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"


def test_the_logits_of_an_image_do_not_depend_on_its_batch(rng):
    model = unet(filters=8, levels=3)
    images = rng.integers(0, 256, (4, 16, 16, 3), np.uint8)
    together = to_numpy(model(images))
    alone = np.concatenate([to_numpy(model(images[i : i + 1])) for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-4)


def test_a_saved_model_is_loaded_by_keras(rng, tmp_path):
    model = unet(filters=8)
    model.save(tmp_path / "model.keras")
    images = rng.integers(0, 256, (1, 24, 24, 3), np.uint8)
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(to_numpy(again(images)), to_numpy(model(images)), rtol=1e-3, atol=1e-4)
    again = keras.models.load_model(tmp_path / "model.keras", custom_objects=FAST_LAYERS)
    assert isinstance(again.get_layer("bottoma_norm"), FAST_LAYERS["GroupNormalization"])
    np.testing.assert_array_equal(to_numpy(again(images)), to_numpy(model(images)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": 12}, "filters is 12; expected a multiple of 8"),
        ({"filters": 0}, "filters is 0; expected a multiple of 8"),
        ({"levels": 1}, "levels is 1; expected 2 or more"),
    ],
)
def test_impossible_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        unet(**arguments)
