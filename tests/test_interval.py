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
def test_text_is_read(text, count, unit):
    assert Interval.parse(text) == Interval(count, unit)


@pytest.mark.parametrize("text", ["", "5", "s", "0 s", "-1 s", "1.5 batches", "2.5 epochs", "1 fortnight", "automatic"])
def test_text_that_is_not_an_interval_is_refused(text):
    with pytest.raises(ValueError, match=r"is not allowed; expected auto, or a number above 0 and a unit"):
        Interval.parse(text)


def test_an_interval_is_due_by_its_own_unit():
    passed = {"batches": 9, "seconds": 60.0, "epochs": 1, "cost": 0.1}
    assert not Interval.parse("10 batches").is_due(**passed)
    assert Interval.parse("9 batches").is_due(**passed)
    assert Interval.parse("1 minute").is_due(**passed)
    assert not Interval.parse("61 s").is_due(**passed)
    assert Interval.parse("1 epoch").is_due(**passed)
    assert not Interval.parse("2 epochs").is_due(**passed)


def test_auto_is_a_minute_or_longer_so_that_the_work_takes_at_most_2_percent_of_the_time():
    auto = Interval.parse("auto")
    others = {"batches": 0, "epochs": 0}
    assert not auto.is_due(seconds=59, cost=0, **others)
    assert auto.is_due(seconds=60, cost=1.2, **others)
    assert not auto.is_due(seconds=99, cost=2, **others)
    assert auto.is_due(seconds=100, cost=2, **others)
    # Seconds that the user sets do not grow.
    assert Interval.parse("60 s").is_due(seconds=60, cost=2, **others)
