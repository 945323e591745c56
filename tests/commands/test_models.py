import keras
import pytest

from kseg import models
from kseg.commands import models as command
from tests.runs.test_optimizers import own_model


def small_encoded(encoder):
    """A model whose encoder has features of strides 2 and 8."""
    images = keras.Input((None, None, 3), dtype="uint8", name="image")
    half = keras.layers.Conv2D(4, 3, strides=2, padding="same")(keras.layers.Rescaling(1 / 255)(images))
    features = keras.Model(images, [half, keras.layers.MaxPooling2D(4)(half)], name="encoder")(images)
    return keras.Model(images, keras.layers.UpSampling2D(8)(keras.layers.Conv2D(1, 1)(features[1])))


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    monkeypatch.setattr(models, "ENCODERS", {"small": None})
    monkeypatch.setattr(models, "unet", lambda: own_model(3, 1, dtype="float32"))
    monkeypatch.setattr(models, "encoded", small_encoded)
    yield
    keras.utils.clear_session()  # forgets the weights that got no values


def test_the_list_has_the_number_of_weights_and_the_strides(capsys):
    assert command.main([]) == 0
    plain, small = capsys.readouterr().out.splitlines()[-2:]
    assert plain.split() == ["none", str(3 * 3 * 3 * 8 + 8 + 8 + 1), "unet", "1", "2", "4", "8"]
    assert small.split() == ["small", str(3 * 3 * 3 * 4 + 4 + 4 + 1), "unet", "imagenet", "2", "8"]


def test_measured_costs_are_relative_to_the_plain_network(capsys):
    assert command.main(["--measure", "--image-size", "32", "--batch-size", "2"]) == 0
    plain, small = capsys.readouterr().out.splitlines()[-2:]
    assert plain.split()[-2:] == ["1.00", "1.00"]
    assert all(float(cost) > 0 for cost in small.split()[-2:])
