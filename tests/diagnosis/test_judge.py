"""The judge's memory: what it remembers in a checkpoint, and what it forgets."""

import numpy as np
import pytest

from kseg.diagnosis.judge import Judge
from kseg.diagnosis.windows import Window
from kseg.metrics import PredictionCounts

BINS = 16384


def window(epoch, batch, foreground=20, batches=5):
    histogram = np.zeros((2, BINS), np.int64)
    histogram[0, BINS // 4], histogram[1, BINS // 4] = 100 - foreground, foreground
    counts = PredictionCounts(100, foreground, 0, 0, 0, 10, 0, 1, 0)
    return Window(epoch, batch, batches, counts, histogram, 0.5, update=1e-3, trainable=1.0)


def test_short_windows_are_added_up():
    judge = Judge(10)
    judge.add_training(window(1, 5), ends_epoch=True)
    assert judge.observations == []
    judge.add_training(window(2, 10), ends_epoch=True)
    (one,) = judge.observations
    assert (one.training.batches, one.training.counts.pixels, one.training.update) == (10, 200, 1e-3)


def test_its_state_goes_on_where_it_was():
    judge, copy = Judge(10), Judge(10)
    for epoch in range(1, 7):
        for one in (judge, copy):
            one.add_training(window(epoch, 5 * epoch, foreground=0 if epoch > 3 else 20), ends_epoch=True)
        restored = Judge(10)
        restored.set_state(copy.get_state())
        copy = restored
        assert copy.get_state().keys() == judge.get_state().keys()
        ours, theirs = judge.judge(epoch), copy.judge(epoch)
        assert (ours.rule, ours.healthy) == (theirs.rule, theirs.healthy)
    assert judge.judge(6).rule.cause == "empty_masks"


def test_a_state_of_kseg_0_1_is_taken():
    judge = Judge(10)
    judge.set_state({"looks": [], "pending": window(3, 15).to_plain()})
    judge.add_training(window(4, 20), ends_epoch=True)
    assert judge.has_observed(4)


@pytest.mark.parametrize("foreground", [0, 100])
def test_one_epoch_of_one_kind_is_not_enough(foreground):
    judge = Judge(10)
    judge.add_training(window(1, 50, foreground, batches=50), ends_epoch=True)
    assert judge.judge(1).rule is None
    judge.add_training(window(2, 75, foreground, batches=25), ends_epoch=False)
    assert judge.judge(2).rule is None
    judge.add_training(window(2, 100, foreground, batches=25), ends_epoch=True)
    assert judge.judge(2).rule is not None
