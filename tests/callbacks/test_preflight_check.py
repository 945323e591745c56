import logging

import keras
import pytest

from kseg.callbacks import Preflight
from kseg.errors import KsegError
from tests.checks.samples import compiled, images, masks, net, state, stateful


def fit(model, mask, steps=2, **arguments):
    batches = [(images(), mask)] * steps
    return model.fit(iter_of(batches), steps_per_epoch=steps, shuffle=False, verbose=0, **arguments)


def iter_of(batches):
    yield from batches


@pytest.mark.slow
def test_the_callback_lets_good_data_pass_and_changes_nothing():
    histories = []
    for callbacks in [], [Preflight()]:
        keras.utils.set_random_seed(3)
        model = stateful()
        histories.append(fit(model, masks(), callbacks=callbacks).history)
        assert "_check_and_train" not in str(model.train_function)
    assert histories[0] == histories[1]


@pytest.mark.slow
def test_the_callback_refuses_before_the_first_step():
    model = stateful()
    before = state(model)[:-1]
    with pytest.raises(KsegError, match="mask_values: all 8 masks hold nothing but 0 and 255"):
        fit(model, 255 * masks(), callbacks=[Preflight()])
    variables = state(model)
    number = len(model.variables) + len(model.optimizer.variables)
    assert variables[:number] == before[:number]
    fit(model, masks())


def test_the_callback_warns_once(caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        fit(compiled(net()), 0 * masks(), callbacks=[Preflight()])
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["⚠️  empty_masks"]


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() != "jax", reason="torch takes one step an execution")
def test_the_callback_and_several_steps_in_one_execution():
    model = compiled(net(), steps_per_execution=3, run_eagerly=False)
    with pytest.raises(KsegError, match="all 24 masks"):
        fit(model, 255 * masks(), steps=4, callbacks=[Preflight()])
    assert fit(model, masks(), steps=4, callbacks=[Preflight()]).history["loss"]


def test_the_callback_leaves_when_there_was_no_step():
    model = compiled(net())
    model.fit(images(), masks(), epochs=0, callbacks=[Preflight()], verbose=0)
    assert "_check_and_train" not in str(model.train_function)
