import numpy as np
import pytest

from kseg.data import open_sources
from kseg.data.audit import audit_masks
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


@pytest.fixture
def source(make_folder):
    def make(*masks):
        pairs = {f"{i:03}": (np.zeros((*mask.shape, 3), np.uint8), mask) for i, mask in enumerate(masks)}
        make_folder(pairs, "val")
        return open_sources(str(make_folder(pairs, "train")))[0]

    return make


def mask(share, high=255, size=(10, 20)):
    made = np.zeros(size, np.uint8)
    made.ravel()[: round(share * made.size)] = high
    return made


def test_numbers(source):
    audit = audit_masks(source(mask(0), mask(0.1), mask(0.2), mask(0.3, size=(10, 10)), mask(0.4)))
    assert audit.empty == 1
    assert audit.shares == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert audit.values == [0, 255]
    assert audit.sizes == {(10, 20): 4, (10, 10): 1}
    report = str(audit)
    assert "empty:       1 (20%)" in report
    assert "foreground:  mean 20.00%; quartiles 10.00%, 20.00%, 30.00%" in report
    assert "sizes:       20 x 10 (4), 10 x 10 (1)" in report
    assert audit.verdict == "Nothing unusual."


def test_ignored_pixels_count_neither_way(source):
    held = mask(0.25, high=1)
    held[-5:] = 255  # half of the picture, all of it background
    assert audit_masks(source(held)).shares == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        ((0, 0), "No mask has any foreground"),
        ((0.01, 0.02), "Foreground is rare"),
        ((0, 0, 0.3), "Most masks are empty"),
        ((0.9, 0.95), "are the masks inverted"),
    ],
)
def test_verdicts(source, shares, verdict):
    audit = audit_masks(source(*map(mask, shares)))
    assert verdict in audit.verdict
    assert audit.has_foreground == any(shares)


def test_masks_that_auto_cannot_read_are_still_measured(source):
    soft = np.arange(200, dtype=np.uint8).reshape(10, 20)
    soft[0, 0], soft[-1, -1] = 0, 255
    audit = audit_masks(source(soft))
    assert "too many values" in str(audit)
    assert audit.shares[0] > 0.9


def test_an_empty_source_is_refused(source):
    with pytest.raises(KsegError, match="is empty; expected at least one mask"):
        audit_masks(source(mask(0.5)).take(0))
