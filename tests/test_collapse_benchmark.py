"""The quick scenarios of `benchmarks/collapse.py`: the right cause in time, and no finding in a healthy run."""

import pytest
from collapse import QUICK, find_scenario, is_in_time, is_right, run


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_the_cause_is_found_in_time(name):
    scenario, outcome = find_scenario(name), run(name, action="stop")
    assert is_right(scenario, outcome), outcome
    assert is_in_time(scenario, outcome), outcome
