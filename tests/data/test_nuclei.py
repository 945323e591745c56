"""The real images that lie beside the project, where they do; see the README beside them."""

from pathlib import Path

import numpy as np
import pytest

from kseg.audit import audit
from kseg.data import find_foreground, open_sources, validation_batches

NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei"

pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs the nuclei images in ../shared/data"),
]


@pytest.fixture(scope="module")
def audited():
    return audit(str(NUCLEI), workers=2)


@pytest.mark.slow
def test_what_their_readme_says(audited):
    facts = audited.facts()
    assert facts["pairs"] == "581 (train 499, val 82)"
    assert np.mean(list(audited.shares.values())) == pytest.approx(0.139, abs=5e-4)
    assert (facts["values"], facts["empty"]) == ("0, 255", "0 of 581 masks (0%)")


@pytest.mark.slow
def test_the_audit_finds_what_is_true_of_them(audited):
    # Checked by eye: 95 are stained tissue in colour among grey fluorescence, and 6 show whole embryos.
    assert {finding.cause: (finding.severity, finding.count) for finding in audited.findings} == {
        "mixed_channels": ("warning", 95),
        "odd_aspect": ("warning", 6),
    }
    assert audited.alignment.better > 0.98
    assert audited.status == 0


def test_resizing_keeps_the_share_of_foreground(audited):
    _, validation = open_sources(str(NUCLEI))
    batches = validation_batches(validation, find_foreground(validation), image_size=(128, 128), batch_size=8)
    masks = np.concatenate([masks[weights > 0] for _, masks, weights in batches])
    shares = [share for index, share in audited.shares.items() if audited.pairs[index].split == "val"]
    assert len(masks) == 82
    np.testing.assert_allclose(masks.mean(axis=(1, 2, 3)), shares, atol=0.01)
