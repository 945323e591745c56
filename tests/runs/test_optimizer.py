import pytest

from kseg.config.train import OptimizerOptions
from kseg.runs.optimizer import learning_rate, make_optimizer


def test_the_learning_rate_warms_up_and_falls_to_zero():
    config = OptimizerOptions(epochs=10, lr=0.01, warmup=0.1)
    rate = learning_rate(config, steps_per_epoch=20)
    rates = [float(rate(step)) for step in (0, 10, 20, 110, 200)]
    assert rates == pytest.approx([0, 0.005, 0.01, 0.005, 0], abs=1e-6)
    at_once = learning_rate(OptimizerOptions(epochs=1, lr=0.01, warmup=0), steps_per_epoch=1)
    assert float(at_once(0)) == pytest.approx(0.01)


def test_the_optimizer_has_its_settings():
    optimizer = make_optimizer(OptimizerOptions(weight_decay=0.01, clip_norm=2.0), steps_per_epoch=20)
    assert (optimizer.weight_decay, optimizer.global_clipnorm) == (0.01, 2.0)
