import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from kseg.diagnosis.recovery import lower_learning_rate, reset_optimizer
from kseg.optimizers import CosineDecay, LossScaleOptimizer, adjustable, slow_encoder, stored_variables

pytestmark = pytest.mark.skipif(keras.config.backend() != "jax", reason="torch compiles no training step")

KINDS = {
    "adamw": (keras.optimizers.AdamW, {}),
    "sgd": (keras.optimizers.SGD, {"momentum": 0.9, "nesterov": True}),
    "lion": (keras.optimizers.Lion, {}),
    "muon": (keras.optimizers.Muon, {"adam_weight_decay": 0.1}),
    "accumulating": (keras.optimizers.AdamW, {"gradient_accumulation_steps": 2, "use_ema": True}),
}
SCHEDULES = {
    "cosine": {"initial_learning_rate": 0.01, "decay_steps": 20},
    "warm-up": {"initial_learning_rate": 0.001, "decay_steps": 15, "warmup_target": 0.01, "warmup_steps": 5},
    "no warm-up": {"initial_learning_rate": 0.001, "decay_steps": 20, "warmup_target": 0.01, "warmup_steps": 0},
    "constant": {"initial_learning_rate": 0.0, "decay_steps": 15, "warmup_target": 0.01, "warmup_steps": 5, "alpha": 1},
    "to a tenth": {"initial_learning_rate": 0.01, "decay_steps": 20, "alpha": 0.1},
}


def keras_schedule(name="warm-up"):
    return keras.optimizers.schedules.CosineDecay(**SCHEDULES[name])


def without_names(config):
    """A configuration without the names, which Keras counts up: adam_w, adam_w_1."""
    if not isinstance(config, dict):
        return config
    return {key: without_names(value) for key, value in config.items() if key not in ("name", "registered_name")}


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(5), keras.layers.Dense(1)])


def fit(model, optimizer, epochs=3):
    model.compile(optimizer, loss="mse")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 4)).astype("float32")
    model.fit(x, x.sum(1, keepdims=True), batch_size=4, shuffle=False, epochs=epochs, verbose=0)
    return model


def assert_equal_state(model, expected):
    for one, other in zip(stored_variables(model.optimizer), stored_variables(expected.optimizer), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_those_of_keras(name):
    schedule = CosineDecay(**SCHEDULES[name])
    schedule.keep_in(keras.Variable(np.zeros(4, "float32"), trainable=False))
    steps = range(30)
    expected = [float(keras_schedule(name)(step)) for step in steps]
    assert [float(schedule(step)) for step in steps] == pytest.approx(expected, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_end_where_keras_ends(kind):
    optimizer, arguments = KINDS[kind]
    plain = fit(network(), optimizer(keras_schedule(), **arguments))
    ours = fit(network(), adjustable(optimizer)(keras_schedule(), **arguments))
    for one, other in zip(plain.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, LossScaleOptimizer], ids=["plain", "float16"])
def test_a_lower_rate_holds_in_the_step_that_is_compiled_already(wrap):
    model = fit(network(), wrap(adjustable(keras.optimizers.SGD)(keras_schedule("constant"))))
    x, y = np.ones((4, 4), "float32"), np.zeros((4, 1), "float32")
    compiled = model.train_function
    assert lower_learning_rate(model, 0.1) == pytest.approx(0.001)
    before = model.get_weights()
    model.fit(x, y, verbose=0)
    moved = model.get_weights()[0] - before[0]
    assert model.train_function is compiled
    model.set_weights(before)
    assert lower_learning_rate(model, 10.0) == pytest.approx(0.01)
    model.fit(x, y, verbose=0)
    np.testing.assert_allclose(model.get_weights()[0] - before[0], 10 * moved, rtol=1e-3, atol=1e-7)


def test_other_numbers_are_the_same_program():
    import jax

    def program(**numbers):
        optimizer = adjustable(keras.optimizers.AdamW)(keras.optimizers.schedules.CosineDecay(**numbers))
        model = network()
        optimizer.build(model.trainable_variables)

        def step(variables, gradients, weights):
            return optimizer.stateless_apply(variables, gradients, weights)

        weights = [variable.value for variable in model.trainable_variables]
        return jax.jit(step).lower([variable.value for variable in optimizer.variables], weights, weights).as_text()

    one = program(initial_learning_rate=0.0, decay_steps=90, warmup_target=0.01, warmup_steps=10)
    assert one == program(initial_learning_rate=0.0, decay_steps=470, warmup_target=0.002, warmup_steps=0)
    assert one != program(initial_learning_rate=0.0, decay_steps=90, warmup_target=0.01, warmup_steps=10, alpha=1.0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "float16"])
def test_a_file_is_that_of_keras_and_either_reads_the_other(kind, wrapped, tmp_path):
    optimizer, arguments = KINDS[kind]
    wrap, keras_wrap = (LossScaleOptimizer, keras.optimizers.LossScaleOptimizer) if wrapped else (lambda x: x,) * 2
    ours = fit(network(), wrap(adjustable(optimizer)(keras_schedule(), **arguments)))
    plain = fit(network(), keras_wrap(optimizer(keras_schedule(), **arguments)))
    ours.save(tmp_path / "ours.keras")
    plain.save(tmp_path / "plain.keras")

    def content(name):
        with zipfile.ZipFile(tmp_path / name) as archive:
            config = json.loads(archive.read("config.json"))["compile_config"]["optimizer"]
            with archive.open("model.weights.h5") as stream, h5py.File(stream) as file:
                return without_names(config), sorted(file["optimizer/vars"])

    assert content("ours.keras") == content("plain.keras")
    again = keras.models.load_model(tmp_path / "ours.keras")
    assert type(again.optimizer) is type(plain.optimizer)
    assert_equal_state(again, ours)
    ours.load_weights(tmp_path / "plain.keras")
    assert_equal_state(ours, plain)


def test_a_file_of_another_optimizer_is_refused(tmp_path):
    fit(network(), keras.optimizers.SGD(0.1)).save(tmp_path / "sgd.keras")
    ours = fit(network(), adjustable(keras.optimizers.AdamW)(keras_schedule()))
    with pytest.raises(ValueError, match=r"9 variables; 2 were stored"):
        ours.load_weights(tmp_path / "sgd.keras")


@pytest.mark.parametrize("wrap", [lambda optimizer: optimizer, LossScaleOptimizer], ids=["plain", "float16"])
def test_a_reset_optimizer_keeps_the_lowered_rate_and_its_place_in_the_schedule(wrap):
    model = fit(network(), wrap(adjustable(keras.optimizers.AdamW)(keras_schedule())))
    rate = lower_learning_rate(model, 0.1)
    reset_optimizer(model)
    assert float(model.optimizer.learning_rate) == rate
    inner = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert int(inner.iterations) == 12
    moments = [variable for variable in inner.variables if variable.name.endswith("momentum")]
    assert [keras.ops.convert_to_numpy(moment).any() for moment in moments] == [False] * 4


def test_a_slow_encoder_has_the_schedule_too():
    slow = slow_encoder(adjustable(keras.optimizers.AdamW))(keras_schedule(), slow=[])
    slow.build(network().trainable_variables)
    assert slow.variables[-1].name == "kseg_schedule"
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(slow))
    assert type(again) is type(slow)


def test_another_learning_rate_stays_as_given():
    optimizer = adjustable(keras.optimizers.SGD)(0.25)
    optimizer.build(network().trainable_variables)
    assert "kseg_schedule" not in [variable.name for variable in optimizer.variables]
    assert float(optimizer.learning_rate) == 0.25


def test_a_variable_of_another_optimizer_that_is_called_schedule_is_stored():
    class Own(keras.optimizers.SGD):
        def build(self, variables):
            super().build(variables)
            self.own = self.add_variable((), name="schedule")

    optimizer = Own(0.1)
    optimizer.build(network().trainable_variables)
    assert stored_variables(optimizer) == optimizer.variables
