import numpy as np
import pytest

from kseg.data import open_sources
from kseg.data.sources import shapes
from tests.data.reading import decoded

pytestmark = pytest.mark.backend_free


@pytest.mark.slow
@pytest.mark.parametrize("config", ["standard", "rare"])
def test_shapes_are_what_their_description_says(config):
    masks = np.stack([shapes.draw(config, "train", index)[1] for index in range(200)])
    empty = np.mean([not mask.any() for mask in masks])
    assert set(np.unique(masks)) == {0, 1}
    if config == "standard":
        assert 0.15 < empty < 0.28
        assert 0.06 < masks.mean() < 0.12
    else:
        assert 0.4 < empty < 0.6
        assert 0.006 < masks.mean() < 0.014


def test_shapes_are_deterministic_and_all_different():
    drawn = [shapes.draw(*address) for address in (("standard", "train", 0),) * 2]
    np.testing.assert_array_equal(*(image for image, _ in drawn))
    np.testing.assert_array_equal(*(mask for _, mask in drawn))
    addresses = [(c, s, i) for c in ("standard", "rare") for s in ("train", "validation") for i in range(5)]
    assert len({shapes.draw(*address)[0].tobytes() for address in addresses}) == 20


@pytest.mark.slow
def test_shapes_can_be_opened_by_name(tmp_path):
    training, validation = open_sources("shapes", data_dir=tmp_path)
    assert (len(training), len(validation)) == (500, 100)
    _, image, mask = decoded(training.take(1))[0]
    assert (image.shape, mask.shape) == ((128, 128, 3), (128, 128, 1))
