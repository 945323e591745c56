import pytest
import tensorflow as tf

from kseg.data.bridge import call_python, explain_read_errors
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


def test_a_function_of_arrays_is_called_from_a_data_set():
    data = tf.data.Dataset.range(3).map(lambda index: call_python(lambda number: number * 2, tf.int64, index))
    assert [int(value) for value in data] == [0, 2, 4]


def test_an_error_of_ours_comes_back_and_another_one_names_the_data_set():
    def refuse(index):
        raise KsegError("a.png cannot be read")

    def fail(index):
        raise ZeroDivisionError("by zero")

    for function, message in ((refuse, "^a.png cannot be read$"), (fail, "^cells cannot be read: .*by zero")):
        data = tf.data.Dataset.range(1).map(lambda index, call=function: call_python(call, tf.int64, index))
        with pytest.raises(KsegError, match=message), explain_read_errors("cells"):
            list(data)
