import itertools
import threading
import time

import pytest

from kseg.data import threads
from kseg.data.threads import map_in_threads

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize("count", [1, 2, 5])
def test_results_come_in_order_whichever_thread_is_done_first(count):
    def slow(number):
        time.sleep(0.002 * (number % 3))
        return number

    assert list(map_in_threads(slow, ((number,) for number in range(20)), count)) == list(range(20))


def test_calls_run_beside_each_other():
    meeting = threading.Barrier(2, timeout=10)  # raises if one waits alone
    assert sorted(map_in_threads(lambda _: meeting.wait(), [(0,), (1,)], 2)) == [0, 1]


def test_no_more_arguments_are_taken_than_threads_need():
    taken = itertools.count()
    results = map_in_threads(str, ((next(taken),) for _ in itertools.repeat(None)), 2)
    assert [next(results) for _ in range(3)] == ["0", "1", "2"]
    assert next(taken) <= 3 + 2 + 2
    results.close()


def test_an_error_is_raised_where_its_result_is_due_and_the_rest_is_not_done():
    called = []

    def fail_at_3(number):
        called.append(number)
        if number == 3:
            raise LookupError("three")
        return number

    results = map_in_threads(fail_at_3, ((number,) for number in range(100)), 1)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(LookupError, match="three"):
        next(results)
    assert len(called) < 10


def test_many_cores_are_not_all_used(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 200)
    taken = itertools.count()
    next(map_in_threads(abs, ((next(taken),) for _ in itertools.repeat(None))))
    assert next(taken) < 20
