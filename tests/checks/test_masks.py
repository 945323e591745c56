import numpy as np
import pytest

from kseg.checks.masks import inverted_masks, soft_masks, white_masks
from kseg.checks.verdicts import Refusal

pytestmark = pytest.mark.backend_free


def test_three_masks_of_0_and_255_are_no_proof():
    assert not isinstance(white_masks(np.float64([0, 255]), 3), Refusal)
    assert isinstance(white_masks(np.float64([0, 255]), 4), Refusal)


def test_class_indices_are_not_soft():
    for values, counts in ([range(151), 255], [1] * 152), (range(60), [9] + [1] * 59):
        values = np.float64([*values[0], 255] if isinstance(values, list) else values)
        assert soft_masks(values, np.array(counts)) is None
    assert soft_masks(np.float64([0, 0.05, 0.95]), np.array([1, 1, 1])) is None  # smoothed labels


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        (
            [0.1] * 14 + [0.9] * 2,
            "2 of 16 masks are foreground on more than 80%, and no other, but full ones, on more than 10%",
        ),
        (
            [0.1] * 12 + [0.9, 1.0] * 2,
            "2 of 16 masks are foreground on more than 80%, and no other, but full ones, on more than 10%",
        ),
        ([0.95] * 8, "half of the 8 masks are foreground on more than 95%"),
        ([0.1, 0.3, 0.5, 0.7, 0.75, 0.6, 0.85, 0.2], None),  # all kinds
        ([0.9] * 8 + [0.1] * 8, None),
        ([0.0] * 12 + [1.0] * 4, None),  # tiles
        ([0.85] * 16, None),
        ([0.95], None),
        ([0.1, 0.1, 0.1, 0.9], None),
    ],
)
def test_inverted_masks(shares, match):
    finding = inverted_masks(np.array(shares))
    assert (finding and finding.evidence) == match
    assert not isinstance(finding, Refusal)
