import pytest

from kseg.interval import Interval

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("text", "count", "unit"),
    [
        ("200 batches", 200, "batches"),
        ("1 batch", 1, "batches"),
        ("30s", 30, "seconds"),
        ("0.5 seconds", 0.5, "seconds"),
        ("2 minutes", 120, "seconds"),
        ("1 Epoch", 1, "epochs"),
    ],
)
def test_intervals_are_read(text, count, unit):
    assert Interval.parse(text) == Interval(count, unit)


@pytest.mark.parametrize("text", ["", "5", "s", "0 s", "-1 s", "1.5 batches", "2.5 epochs", "1 fortnight", "automatic"])
def test_what_is_no_interval_is_refused(text):
    with pytest.raises(ValueError, match=r"is not allowed; expected auto, or a number above 0 and a unit"):
        Interval.parse(text)


def test_each_unit_counts_its_own():
    passed = {"batches": 9, "seconds": 60.0, "epochs": 1, "cost": 0.1}
    assert not Interval.parse("10 batches").over(**passed)
    assert Interval.parse("9 batches").over(**passed)
    assert Interval.parse("1 minute").over(**passed)
    assert not Interval.parse("61 s").over(**passed)
    assert Interval.parse("1 epoch").over(**passed)
    assert not Interval.parse("2 epochs").over(**passed)


def test_auto_is_a_minute_and_never_more_than_2_percent_of_the_time():
    auto = Interval.parse("auto")
    at = {"batches": 0, "epochs": 0}
    assert not auto.over(seconds=59, cost=0, **at)
    assert auto.over(seconds=60, cost=1.2, **at)
    assert not auto.over(seconds=99, cost=2, **at)
    assert auto.over(seconds=100, cost=2, **at)
    # Who names seconds gets them.
    assert Interval.parse("60 s").over(seconds=60, cost=2, **at)
