import numpy as np
import pytest

from kseg.checks.gradient import without_gradient

pytestmark = pytest.mark.backend_free


def test_a_bias_counts_where_its_kernel_gets_no_gradient_either():
    paths = ["a/kernel", "a/bias", "b/kernel", "b/bias"]
    assert without_gradient(paths, np.array([True, False, False, False])) == ["b/kernel", "b/bias"]
