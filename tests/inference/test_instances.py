import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from kseg.inference import instances

pytestmark = pytest.mark.backend_free


@given(
    height=st.integers(1, 25), width=st.integers(1, 25), share=st.floats(0, 1), pixels=st.sampled_from([1, 30, 10**6])
)
def test_areas_are_those_of_scipy_however_many_rows_are_labelled_at_once(height, width, share, pixels):
    area = np.random.default_rng([height, width]).random((height, width)) < share
    former, instances._ROWS_PIXELS = instances._ROWS_PIXELS, pixels
    try:
        assert instances.count_instances(area) == ndimage.label(area, np.ones((3, 3)))[1]
    finally:
        instances._ROWS_PIXELS = former
