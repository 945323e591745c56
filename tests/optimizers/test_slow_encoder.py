import keras
import numpy as np
import pytest

from kseg.optimizers import slow_encoder

KINDS = {
    "adamw": (keras.optimizers.AdamW, {}),
    "sgd": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "lion": (keras.optimizers.Lion, {}),
    "muon": (keras.optimizers.Muon, {"adam_weight_decay": 0.1}),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(5, name="encoder"), keras.layers.Dense(1, name="head")]
    )


def fit(network, optimizer, epochs):
    network.compile(optimizer, loss="mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4)).astype("float32")
    network.fit(x, x.sum(1, keepdims=True), batch_size=4, shuffle=False, epochs=epochs, verbose=0)
    return network


def encoder_of(network):
    return [variable.path for variable in network.get_layer("encoder").variables]


def make(kind, network, **others):
    optimizer, arguments = kind
    return slow_encoder(optimizer)(0.01, weight_decay=0.1, slow=encoder_of(network), **arguments, **others)


def test_frozen_weights_do_not_move_at_all_and_then_do(kind):
    network = model()
    before = network.get_weights()
    fit(network, make(kind, network, frozen_steps=8), epochs=2)
    for old, new in zip(before[:2], network.get_weights()[:2], strict=True):
        np.testing.assert_array_equal(old, new)
    assert not np.array_equal(before[2], network.get_weights()[2])
    network.fit(np.ones((4, 4)), np.zeros((4, 1)), verbose=0)
    assert not np.array_equal(before[0], network.get_weights()[0])


def test_with_factor_1_and_no_decay_it_is_the_plain_optimizer(kind):
    optimizer, arguments = kind
    arguments = arguments | ({"adam_weight_decay": 0.0} if arguments.get("adam_weight_decay") else {})
    plain = fit(model(), optimizer(0.01, weight_decay=0.0, **arguments), epochs=3)
    slow = fit(model(), slow_encoder(optimizer)(0.01, weight_decay=0.0, slow=["none"], **arguments), epochs=3)
    for one, other in zip(plain.get_weights(), slow.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-7)


def test_a_factor_shortens_the_first_step_by_it():
    steps = []
    for factor in (1.0, 0.25):
        network = model()
        before = network.get_weights()[0]
        network.compile(slow_encoder(keras.optimizers.SGD)(0.1, slow=encoder_of(network), factor=factor), loss="mse")
        network.train_on_batch(np.ones((4, 4), "float32"), np.zeros((4, 1), "float32"))
        steps.append(network.get_weights()[0] - before)
    np.testing.assert_allclose(steps[1], 0.25 * steps[0], rtol=1e-4, atol=1e-7)


def test_it_is_made_again_from_its_configuration(kind):
    optimizer = make(kind, model(), factor=0.5, frozen_steps=7)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(optimizer))
    assert type(again) is type(optimizer)
    assert (again.slow, again.factor, again.frozen_steps) == (optimizer.slow, 0.5, 7)
    assert type(optimizer).__name__ == f"SlowEncoder{kind[0].__name__}"
