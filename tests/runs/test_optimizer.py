import keras
import numpy as np
import pytest

from kseg.config.train import OptimizerOptions
from kseg.errors import KsegError
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


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_encoder_is_frozen_for_its_epochs_however_many_batches_an_update_takes(accumulate):
    model = keras.Sequential(
        [keras.Input((2,)), keras.layers.Dense(2, name="encoder"), keras.layers.Dense(1, kernel_initializer="ones")]
    )
    options = OptimizerOptions(freeze=2, accumulate=accumulate, warmup=0, optimizer="sgd", lr=0.1)
    model.compile(make_optimizer(options, 6, model), loss="mse")
    before = model.get_weights()
    x, y = np.ones((6, 2), "float32"), np.zeros((6, 1), "float32")
    model.fit(x, y, batch_size=1, epochs=2, verbose=0)
    np.testing.assert_array_equal(model.get_weights()[0], before[0])
    assert not np.array_equal(model.get_weights()[2], before[2])
    model.fit(x, y, batch_size=1, verbose=0)
    assert not np.array_equal(model.get_weights()[0], before[0])


def test_that_muon_is_adamw_for_a_model_of_convolutions_is_said_and_so(caplog):
    def train(optimizer, layer):
        model = keras.Sequential([keras.Input((4, 4, 2)), layer])
        model.set_weights([np.full(weight.shape, 0.5) for weight in model.get_weights()])
        options = OptimizerOptions(optimizer=optimizer, lr=0.1, weight_decay=0.1)
        model.compile(make_optimizer(options, 6, model), loss="mse")
        model.fit(np.ones((2, 4, 4, 2), "float32"), np.zeros((2, 4, 4, 2), "float32"), epochs=3, verbose=0)
        return model.get_weights()[0]

    convolved = [train(optimizer, keras.layers.Conv2D(2, 1)) for optimizer in ("adamw", "muon")]
    np.testing.assert_allclose(*convolved, rtol=1e-6)
    assert [record.getMessage() for record in caplog.records] == [
        "⚠️  optimizer: Keras's muon moves matrices, such as those of dense layers, and leaves all else to AdamW. "
        "This model has no matrix, so that muon is adamw here."
    ]
    caplog.clear()
    dense = [train(optimizer, keras.layers.Dense(2)) for optimizer in ("adamw", "muon")]
    assert np.abs(dense[0] - dense[1]).max() > 1e-3
    assert not caplog.records


def test_gradients_cannot_be_accumulated_over_more_batches_than_the_run_has():
    options = OptimizerOptions(epochs=2, accumulate=9)
    with pytest.raises(
        KsegError, match=r"accumulate: 9 is not allowed: this run has 8 batches, 4 an epoch, .* at most 4"
    ):
        make_optimizer(options, steps_per_epoch=4)
    make_optimizer(options.model_copy(update={"accumulate": 8}), steps_per_epoch=4)
