"""The quick slice of `benchmarks/collapse.py`: sabotage is named rightly and in time, and peace is kept."""

import pytest
from collapse import QUICK, called, in_time, right, run


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_cause_is_named(name):
    scenario, outcome = called(name), run(name, action="stop")
    assert right(scenario, outcome), outcome
    assert in_time(scenario, outcome), outcome
