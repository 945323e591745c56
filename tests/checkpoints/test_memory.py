import json

import keras
import ml_dtypes
import numpy as np
import pytest

from kseg.checkpoints.memory import Memory, decode, encode
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


class Own(keras.callbacks.Callback):
    def __init__(self, patience=1, path="here.txt"):
        super().__init__()
        self.patience, self.path, self.wait, self.weights, self.rows = patience, path, 0, None, []
        self.other = object()


class Tells(keras.callbacks.Callback):
    seen = ()

    def get_state(self):
        return {"seen": list(self.seen)}

    def set_state(self, state):
        self.seen = tuple(state["seen"])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool", "bfloat16"])
def test_what_is_plain_comes_back_with_every_bit(dtype):
    weights = np.random.default_rng(0).normal(size=(3, 2)).astype(dtype)
    value = {"f": 0.1 + 0.2, "nan": np.nan, "inf": -np.inf, "rows": [{"epoch": 1}, None, True, "x"], "w": [weights]}
    arrays = []
    text = json.dumps(encode(value, arrays))
    again = decode(json.loads(text), arrays)
    assert again["w"][0].dtype == weights.dtype
    assert again["w"][0].tobytes() == weights.tobytes()
    assert np.isnan(again["nan"])
    assert {key: again[key] for key in ("f", "inf", "rows")} == {key: value[key] for key in ("f", "inf", "rows")}


def test_bfloat16_survives_a_file_that_does_not_know_it():
    stored = np.array([1.5, 2.5], ml_dtypes.bfloat16).view("u2")
    assert decode({"__array__": 0, "dtype": "bfloat16"}, [stored]).tolist() == [1.5, 2.5]


@pytest.mark.parametrize("value", [object(), {1: 2}, [print], np.array([object()]), {3}, b"bytes"])
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(TypeError, match="is no plain data"):
        encode(value, [])


def test_memory_is_what_changed_and_is_no_setting():
    own = Own(patience=3)
    memory = Memory([own])
    assert memory.read() == [{"callback": "Own", "memory": {}}]
    own.wait, own.weights = 2, [np.ones(2)]
    own.rows.append({"epoch": 1})  # changed in place
    own.path = "there.txt"  # a string is no memory
    (entry,) = memory.read()
    assert set(entry["memory"]) == {"wait", "weights", "rows"}

    raised = Own(patience=9)
    Memory([raised]).write([entry])
    assert (raised.patience, raised.wait, raised.rows, raised.path) == (9, 2, [{"epoch": 1}], "here.txt")
    np.testing.assert_array_equal(raised.weights[0], np.ones(2))


def test_writing_again_undoes_what_came_in_between():
    own = Own()
    memory = Memory([own])
    own.wait = 1
    stored = memory.read()
    own.wait = 5
    own.rows.append({"epoch": 7})
    memory.write(stored)
    assert (own.wait, own.rows) == (1, [])
    own.rows.append({"epoch": 8})  # what was given is not what is kept
    memory.write(stored)
    assert own.rows == []


def test_a_callback_that_tells_is_asked():
    tells = Tells()
    memory = Memory([tells])
    tells.seen = (1, 2)
    stored = memory.read()
    tells.seen = ()
    memory.write(stored)
    assert tells.seen == (1, 2)


def test_what_a_callback_can_make_nothing_of_is_named():
    with pytest.raises(KsegError, match=r"memory of Tells does not fit it \(KeyError"):
        Memory([Tells()]).write([{"callback": "Tells", "memory": {"other": 1}}])


def test_a_file_cannot_change_where_a_callback_writes(tmp_path):
    history = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    memory = Memory([history])
    memory.write([{"callback": "CSVLogger", "memory": {"filename": "/elsewhere", "on_epoch_end": 3, "keys": [1]}}])
    assert history.filename == str(tmp_path / "log.csv")
    assert callable(history.on_epoch_end)
    assert history.keys == [1]


def test_callbacks_are_told_apart_by_class_and_order_and_new_ones_are_named(caplog):
    first, second = Own(), Own()
    memory = Memory([first, keras.callbacks.History(), second])
    first.wait, second.wait = 1, 2
    stored = memory.read()
    again = [Tells(), Own(), Own()]
    Memory(again).write(stored)
    assert [one.wait for one in again[1:]] == [1, 2]
    assert "The checkpoint has no memory of Tells; it starts without one." in caplog.text
