import keras
import pytest

from kseg import models
from kseg.commands import models as command
from tests.runs.test_optimizers import own_model


@pytest.fixture(autouse=True)
def small_models(monkeypatch):
    monkeypatch.setattr(models, "ENCODERS", {"small": None})
    monkeypatch.setattr(models, "unet", lambda: own_model(3, 1, dtype="float32"))
    monkeypatch.setattr(models, "encoded", lambda encoder: own_model(3, 1, dtype="float32", width=16))
    yield
    keras.utils.clear_session()  # forgets the weights that got no values


def test_the_list_has_the_number_of_weights(capsys):
    assert command.main([]) == 0
    plain, small = capsys.readouterr().out.splitlines()[-2:]
    assert plain.split() == ["none", str(3 * 3 * 3 * 8 + 8 + 8 + 1), "unet"]
    assert small.split() == ["small", str(3 * 3 * 3 * 16 + 16 + 16 + 1), "unet"]


def test_measured_costs_are_relative_to_the_plain_network(capsys):
    assert command.main(["--measure", "--image-size", "32", "--batch-size", "2"]) == 0
    plain, small = capsys.readouterr().out.splitlines()[-2:]
    assert plain.split()[3:] == ["1.00", "1.00"]
    assert all(float(cost) > 0 for cost in small.split()[3:])
