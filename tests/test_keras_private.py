"""One test for each private corner of Keras that kseg touches, and one that there is no other."""

import ast
import contextlib
import inspect
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from kseg import keras_private

ROOT = Path(__file__).parent.parent / "kseg"
IMAGES, TARGETS = np.ones((4, 2), np.float32), np.ones((4, 1), np.float32)


def model_of(*layers, optimizer="sgd", metrics=None):
    model = keras.Sequential([keras.Input((2,)), *layers, keras.layers.Dense(1)])
    model.compile(optimizer, loss="mse", metrics=metrics)
    return model


def fit(model, *callbacks, epochs=1):
    return model.fit(IMAGES, TARGETS, batch_size=2, epochs=epochs, verbose=0, callbacks=list(callbacks))


class Calls(keras.callbacks.Callback):
    """Calls a function in one of its hooks."""

    def __init__(self, hook, function):
        super().__init__()
        setattr(self, hook, lambda *arguments, **logs: function(self))


def test_every_function_has_a_test_and_says_which_public_way_was_tried():
    functions = [function for _, function in inspect.getmembers(keras_private, inspect.isfunction)]
    assert len(functions) > 10
    for function in functions:
        assert "Public way" in function.__doc__, function.__name__
        assert any(function.__name__ in name for name in globals()), function.__name__


OWN = {"self", "cls"}  # attributes of our own classes
PUBLIC = {"_fields", "_replace", "_asdict", "_exit"}  # of named tuples, and of `os`


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_other_file_touches_a_private_attribute_of_an_object(path):
    if path.name == "keras_private.py":
        return
    tree = ast.parse(path.read_text())
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("_")}
    touched = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and not node.attr.startswith("__")
        and node.attr not in PUBLIC | own
        and not (isinstance(node.value, ast.Name) and node.value.id in OWN)
    ]
    assert not touched


def test_replace_train_function_takes_the_place_of_a_step():
    model = model_of()
    model.make_train_function()
    seen = []

    def step(*arguments):
        seen.append(arguments)
        return former(*arguments)

    former = keras_private.replace_train_function(model, step)
    assert model.train_function is step
    fit(model)
    assert len(seen) == 2


def test_rebuild_train_function_has_the_next_step_use_a_new_learning_rate_schedule():
    model = model_of(optimizer=keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 1, 1.0)))
    weights, held = [], []

    def stop_moving(callback):
        weights.append(callback.model.get_weights())
        if len(weights) == 1:
            held.append(callback.model.train_function)  # as RunCheckpoint does after it skipped batches
            still = keras.optimizers.schedules.ExponentialDecay(0.0, 1, 1.0)
            set_schedule(callback.model.optimizer, still)
            keras_private.rebuild_train_function(callback.model)

    fit(model, Calls("on_epoch_end", stop_moving), epochs=2)
    assert held
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)
    assert "train_step" not in vars(model)


def set_schedule(optimizer, schedule):
    """Replaces the schedule as `kseg.diagnosis.recovery` does."""
    optimizer.learning_rate = schedule


def test_sync_jax_state_makes_the_weights_current_within_a_batch():
    model, seen = model_of(), []

    def look(callback):
        keras_private.sync_jax_state(model)
        seen.append(np.array(keras.ops.convert_to_numpy(model.weights[0])))

    fit(model, Calls("on_train_batch_end", look))
    assert not np.array_equal(seen[0], seen[1])


@pytest.mark.skipif(keras.config.backend() != "jax", reason="torch keeps the values in the variables")
def test_mark_jax_state_synced_keeps_what_was_assigned():
    model = model_of()

    def assign(callback):
        keras_private.sync_jax_state(model)
        model.weights[0].assign(np.full((2, 1), 7, np.float32))
        keras_private.mark_jax_state_synced(model)

    fit(model, Calls("on_train_end", assign))
    np.testing.assert_array_equal(model.get_weights()[0], 7)


@pytest.mark.skipif(keras.config.backend() != "jax", reason="torch's train function takes no state")
def test_jax_state_variables_are_in_the_order_of_the_state():
    model = model_of(keras.layers.BatchNormalization(), metrics=["mae"])
    states = []

    def step(state, iterator):
        states.append(state)
        return former(state, iterator)

    model.make_train_function()
    former = keras_private.replace_train_function(model, step)
    fit(model)
    variables = keras_private.jax_state_variables(model)
    assert [len(group) for group in states[0]] == [len(group) for group in variables]
    for values, group in zip(states[0], variables, strict=True):
        assert [tuple(value.shape) for value in values] == [tuple(variable.shape) for variable in group]


def test_set_initial_epoch_has_fit_start_there():
    model, epochs = model_of(), []

    class Start(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            keras_private.set_initial_epoch(self.model, 2)

        def on_epoch_begin(self, epoch, logs=None):
            keras_private.set_initial_epoch(self.model, None)
            epochs.append(epoch)

    fit(model, Start(), epochs=4)
    assert epochs == [2, 3]


def test_calling_callback_list_is_that_of_the_fit():
    lists = []
    callback = Calls("on_train_begin", lambda callback: lists.append(keras_private.calling_callback_list()))
    fit(model_of(), callback)
    assert callback in lists[0].callbacks
    with pytest.raises(RuntimeError, match=r"No keras.callbacks.CallbackList is calling; expected a callback within"):
        keras_private.calling_callback_list()


def test_is_within_fit_knows_the_fit_of_a_callback():
    answers, other = [], Calls("on_train_begin", lambda callback: None)

    def ask(callback):
        frame = inspect.currentframe()
        answers.append([keras_private.is_within_fit(frame, one) for one in (callback, other)])

    callback = Calls("on_train_begin", ask)
    fit(model_of(), callback)
    assert answers == [[True, False]]
    assert not keras_private.is_within_fit(inspect.currentframe(), callback)


def test_callback_attributes_leave_out_what_keras_changes():
    stopping = keras.callbacks.EarlyStopping(monitor="loss", patience=3)
    fit(model_of(), stopping)
    attributes = keras_private.callback_attributes(stopping)
    assert attributes["patience"] == 3
    assert {"_model", "params", "min_delta"}.isdisjoint(attributes)


def test_observe_inputs_sees_images_and_masks_of_every_step_once():
    model = model_of(metrics=["mae"])
    fit(
        model
    )  # builds the metrics, for which Keras makes one call more on torch; and compiles a step that does not observe
    seen = []

    class Watcher(keras.metrics.Mean):
        pass

    watcher = Watcher(name="watcher")
    for _ in range(2):
        keras_private.observe_inputs(model, watcher, lambda images, masks: seen.append((images.shape, masks.shape)))
    history = fit(model)
    assert seen
    assert set(seen) == {((2, 2), (2, 1))}
    assert "mae" in history.history
    if keras.config.backend() == "torch":
        assert len(seen) == 2  # one a step, not two: it is observed once, though asked for twice


def test_compiled_loss_is_made_anew_by_each_compile():
    model = model_of()
    first = keras_private.compiled_loss(model)
    assert keras_private.compiled_loss(model) is first
    model.compile(model.optimizer, model.loss)
    assert keras_private.compiled_loss(model) is not first


def test_compiled_metrics_are_those_of_the_user():
    metric = keras.metrics.MeanSquaredError()
    assert keras_private.compiled_metrics(model_of(metrics=[metric, "mae"])) == [metric, "mae"]
    assert [one for one in keras_private.compiled_metrics(model_of()) if one is not None] == []


def test_all_layers_and_has_sublayers_find_a_layer_inside_a_layer():
    inner = keras.layers.Dense(2)
    outer = keras.layers.TimeDistributed(inner)
    model = keras.Sequential([keras.Input((3, 2)), outer])
    assert inner in keras_private.all_layers(model)
    assert inner not in model.layers
    assert keras_private.has_sublayers(outer)
    assert not keras_private.has_sublayers(inner)


def test_producer_gives_the_operation_and_its_arguments():
    image = keras.Input((2,))
    layer = keras.layers.Dense(1)
    layer(image)
    second = layer(image * 2)
    operation, arguments, output = keras_private.producer(second)
    assert operation is layer
    assert output == 0
    assert arguments.keras_tensors[0] is not image


def test_learning_rate_setting_is_what_was_given():
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    assert keras_private.learning_rate_setting(keras.optimizers.SGD(schedule)) is schedule
    assert isinstance(keras_private.learning_rate_setting(keras.optimizers.SGD(0.1)), keras.Variable)


def test_save_as_keras_writes_the_name_of_keras():
    class Dense(keras.layers.Dense):
        pass

    assert keras_private.save_as_keras("keras.layers")(Dense) is Dense
    stored = keras.saving.serialize_keras_object(Dense(3))
    assert (stored["module"], stored["class_name"]) == ("keras.layers", "Dense")
    assert type(keras.saving.deserialize_keras_object(stored)) is keras.layers.Dense


WITHOUT_TENSORFLOW = """
import sys, keras
from kseg import keras_private
keras_private.leave_tensorflow_to_others()
keras.utils.set_random_seed(3)
keras.saving.serialize_keras_object(keras.layers.Dense(3))
print("tensorflow" in sys.modules)
import tensorflow as tf
keras.utils.set_random_seed(3)
print(float(tf.random.uniform(())))
print(keras.saving.serialize_keras_object(tf.TensorShape([1, 2])) == [1, 2])
"""


@pytest.mark.slow
def test_leave_tensorflow_to_others_until_it_is_imported():
    code = [sys.executable, "-c", WITHOUT_TENSORFLOW]
    found = subprocess.run(code, capture_output=True, text=True, check=True).stdout.split()
    import tensorflow as tf

    tf.random.set_seed(3)
    assert found == ["False", str(float(tf.random.uniform(()))), "True"]


def test_quick_initializers_draw_the_numbers_of_keras_in_few_shapes(monkeypatch):
    shapes = (3,), (3, 3, 4, 8), (3, 3, 32, 64), (2**20 + 1,)

    def draw():
        keras.utils.set_random_seed(5)
        kinds = keras.initializers.HeNormal, keras.initializers.GlorotUniform, keras.initializers.RandomNormal
        return [keras.ops.convert_to_numpy(kind()(shape)) for kind in kinds for shape in shapes]

    expected, drawn = draw(), []
    if keras.config.backend() == "jax":
        import jax

        original = jax.random.truncated_normal
        monkeypatch.setattr(
            jax.random,
            "truncated_normal",
            lambda *args, shape, **named: drawn.append(shape) or original(*args, shape=shape, **named),
        )
    with contextlib.suppress(ZeroDivisionError), keras_private.quick_initializers():
        found = draw()
        raise ZeroDivisionError
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert set(drawn) <= {(2**12,), (2**16,), (2**21,)}
    drawn.clear()
    draw()  # the patch ends with the context, by an error too
    assert set(drawn) <= set(shapes)
    assert (not drawn) == (keras.config.backend() != "jax")
