"""The size of updates, against NumPy."""

import keras
import numpy as np
import pytest

from kseg.diagnosis.updates import WeightSample, trainable_share


def model_of(*layers):
    return keras.Sequential([keras.Input((8,)), *layers])


def test_the_relative_change_is_that_of_all_weights_together(rng):
    model = model_of(keras.layers.Dense(16), keras.layers.Dense(3))
    before, old = WeightSample.of(model), model.get_weights()
    new = [weight + rng.normal(0, 0.01, weight.shape) for weight in old]
    model.set_weights(new)
    change = np.sqrt(sum(np.square(np.float32(b) - a).sum() for a, b in zip(old, new, strict=True)))
    size = np.sqrt(sum(np.square(a).sum() for a in old))
    assert WeightSample.of(model).relative_change(before) == pytest.approx(change / size, rel=1e-5)


def test_a_large_weight_is_sampled_and_the_estimate_is_near(rng):
    model = model_of(keras.layers.Dense(2000))
    before, (kernel, bias) = WeightSample.of(model), model.get_weights()
    assert [len(values) for values in before.values] == [1000, 1000]
    model.set_weights([kernel + rng.normal(0, 0.01, kernel.shape), bias])
    exact = 0.01 * np.sqrt(kernel.size) / np.linalg.norm(kernel)
    assert WeightSample.of(model).relative_change(before) == pytest.approx(exact, rel=0.1)


def test_a_sample_does_not_change_with_the_model():
    model = model_of(keras.layers.Dense(2))
    before = WeightSample.of(model)
    model.set_weights([weight + 1 for weight in model.get_weights()])
    assert WeightSample.of(model).relative_change(before) > 0


def test_where_it_is_not_known():
    model = model_of(keras.layers.Dense(2, kernel_initializer="zeros"))
    assert np.isnan(WeightSample.of(model).relative_change(WeightSample.of(model)))  # all weights are 0
    assert np.isnan(WeightSample.of(model).relative_change(WeightSample([], [])))  # other weights


def test_the_share_of_trainable_parameters():
    frozen = keras.layers.Dense(8, use_bias=False, trainable=False)
    assert trainable_share(model_of(frozen, keras.layers.Dense(8, use_bias=False))) == 0.5
    assert trainable_share(model_of(frozen)) == 0.0
