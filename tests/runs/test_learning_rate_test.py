import keras
import numpy as np
import pytest
from PIL import Image

from kseg.commands import lr_find
from kseg.config.train import OptimizerOptions
from kseg.errors import KsegError
from kseg.runs.learning_rate_test import LearningRateTest, learning_rate_test
from kseg.runs.optimizer import make_optimizer


def regression(scale=1.0):
    """A line through points whose mean square is `scale`: SGD diverges above a learning rate of 1 / scale."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(0.5), loss="mse")
    x = np.sqrt(scale) * np.float32([[1], [-1], [1], [-1]])
    return model, [(x, 3 * x), (x, 2 * x)] * 100  # no weight is right for both


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_it_stops_where_sgd_diverges_and_suggests_less(scale):
    model, batches = regression(scale)
    found = learning_rate_test(model, batches, lowest=1e-5 / scale, highest=100 / scale, steps=120)
    assert len(found.losses) < 120
    assert 0.5 < found.rates[-1] * scale < 20  # it diverges above 1, and it takes some steps to see it
    assert 0.001 < found.suggestion * scale < 1
    np.testing.assert_allclose(found.rates[1:] / found.rates[:-1], found.rates[1] / found.rates[0])


def test_the_model_stays_as_it_was():
    model, batches = regression()
    weights, rate = model.get_weights(), float(model.optimizer.learning_rate)
    learning_rate_test(model, batches, steps=30, highest=0.01)
    np.testing.assert_array_equal(model.get_weights()[0], weights[0])
    assert float(model.optimizer.learning_rate) == rate
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("kind", ["adamw", "sgd"])
def test_an_optimizer_that_scales_the_loss_is_tested_as_one_that_does_not(kind):
    found = []
    for scale_loss in (False, True):
        model, batches = regression()
        model.compile(make_optimizer(OptimizerOptions(optimizer=kind), 100, scale_loss=scale_loss), loss="mse")
        found.append(learning_rate_test(model, batches, lowest=1e-4, highest=10, steps=60))
    np.testing.assert_allclose(found[1].losses, found[0].losses, rtol=1e-5)
    assert np.ptp(found[0].losses) > 0.1


def test_the_steepest_fall_before_the_lowest_point_is_suggested():
    rates = np.geomspace(1e-4, 1, 41)
    smoothed = 1 - 0.8 / (1 + np.exp(-4 * np.log10(rates / 0.01))) + (rates > 0.5) * 5
    assert LearningRateTest(rates, smoothed, smoothed).suggestion == pytest.approx(0.01)


def test_a_low_loss_of_the_first_batch_is_not_taken_for_the_lowest_point():
    rates = np.geomspace(1e-4, 1, 41)
    smoothed = 1 - 0.8 / (1 + np.exp(-4 * np.log10(rates / 0.03))) + (rates > 0.5) * 5
    smoothed[0] = 0.1
    found = LearningRateTest(rates, smoothed, smoothed)
    assert found.suggestion == pytest.approx(0.03, rel=0.3)
    assert found.lowest == pytest.approx(0.4, rel=0.1)


def test_too_few_batches_and_a_loss_that_is_nan_are_refused():
    model, batches = regression()
    with pytest.raises(KsegError, match="the batches ended after 5 steps; expected at least 10"):
        learning_rate_test(model, batches[:5])
    broken = [(np.float32([[np.nan]]), np.float32([[1]]))] * 50
    with pytest.raises(KsegError, match="The loss diverged or .* after 0 steps"):
        learning_rate_test(model, broken)


@pytest.mark.slow
def test_the_command_draws_and_suggests(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = ["--model", "tests.runs.test_optimizers:own_model", "--image-size", "32", "--dev-mode", "--steps", "40"]
    assert lr_find.main([*flags, "--out", "new/rate.png"]) == 0
    assert "The loss fell most steeply at a learning rate of" in capsys.readouterr().out
    with Image.open("new/rate.png") as picture:
        assert picture.size == (700, 450)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["new", "rate.png"]


@pytest.mark.parametrize("out", ["rate", "rate.svg", "folder.png"])
def test_a_picture_needs_the_name_of_one(tmp_path, out, capsys):
    (tmp_path / "folder.png").mkdir()
    assert lr_find.main(["--dataset", "shapes", "--out", str(tmp_path / out)]) == 2
    assert f"out: {tmp_path / out} is not allowed; expected the name of a picture" in capsys.readouterr().err
