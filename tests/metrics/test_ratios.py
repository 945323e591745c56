import numpy as np
import pytest

from kseg.metrics import ratios
from tests.gradients import to_numpy

# tp, fp, fn, tn of two images.
COUNTS = np.float32([[2, 1], [1, 0], [3, 4], [4, 5]])


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (ratios.f1, [4 / (4 + 1 + 3), 2 / (2 + 0 + 4)]),
        (ratios.iou, [2 / (2 + 1 + 3), 1 / (1 + 0 + 4)]),
        (ratios.precision, [2 / (2 + 1), 1 / (1 + 0)]),
        (ratios.recall, [2 / (2 + 3), 1 / (1 + 4)]),
        (ratios.accuracy, [(2 + 4) / 10, (1 + 5) / 10]),
    ],
)
def test_ratio_equals_its_formula_and_0_over_0_is_0(ratio, expected):
    np.testing.assert_allclose(to_numpy(ratio(*COUNTS)), expected, rtol=1e-6)
    assert float(ratio(*np.float32([0, 0, 0, 0]))) == 0.0
