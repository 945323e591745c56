"""The real images that lie beside the project, where they do; see the README beside them."""

from pathlib import Path

import numpy as np
import pytest

from kseg.data import find_foreground, open_sources, validation_batches
from kseg.data.audit import audit_masks

NUCLEI = Path(__file__).parents[3] / "shared/data/nuclei"

pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.skipif(not NUCLEI.is_dir(), reason="needs the nuclei images in ../shared/data"),
]


@pytest.fixture(scope="module")
def sources():
    return open_sources(str(NUCLEI))


def test_what_their_readme_says(sources):
    audits = [audit_masks(source) for source in sources]
    assert [len(audit.shares) for audit in audits] == [499, 82]
    assert np.concatenate([audit.shares for audit in audits]).mean() == pytest.approx(0.139, abs=5e-4)
    assert all(audit.values == [0, 255] and audit.empty == 0 for audit in audits)


def test_resizing_keeps_the_share_of_foreground(sources):
    _, validation = sources
    batches = validation_batches(validation, find_foreground(validation), image_size=(128, 128), batch_size=8)
    masks = np.concatenate([masks for _, masks in batches.dataset])
    assert len(masks) == 82
    np.testing.assert_allclose(masks.mean(axis=(1, 2, 3)), audit_masks(validation).shares, atol=0.01)
