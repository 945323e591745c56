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


@pytest.mark.slow
def test_the_shapes_of_classes_are_what_their_description_says():
    masks = np.stack([shapes.draw("classes", "train", index)[1] for index in range(200)])
    shares = np.bincount(masks.ravel(), minlength=4) / masks.size
    assert len(shares) == len(shapes.CLASSES)
    assert 0.86 < shares[0] < 0.92
    assert (shares[1:] > 0.02).all()
    assert 0.05 < np.mean([not mask.any() for mask in masks]) < 0.2


@pytest.mark.slow
def test_shapes_of_classes_name_them(tmp_path):
    training, validation = open_sources("shapes/classes", data_dir=tmp_path)
    assert training.classes == validation.classes == {1: "ellipse", 2: "rectangle", 3: "star"}
    _, _, mask = decoded(training.take(1))[0]
    assert set(np.unique(mask)) <= {0, 1, 2, 3}


def test_shapes_are_deterministic_and_all_different():
    drawn = [shapes.draw(*address) for address in (("standard", "train", 0),) * 2]
    np.testing.assert_array_equal(*(image for image, _ in drawn))
    np.testing.assert_array_equal(*(mask for _, mask in drawn))
    addresses = [(c, s, i) for c in ("standard", "rare", "classes") for s in ("train", "validation") for i in range(5)]
    assert len({shapes.draw(*address)[0].tobytes() for address in addresses}) == 30


@pytest.mark.slow
def test_shapes_can_be_opened_by_name(tmp_path):
    training, validation = open_sources("shapes", data_dir=tmp_path)
    assert (len(training), len(validation)) == (500, 100)
    _, image, mask = decoded(training.take(1))[0]
    assert (image.shape, mask.shape) == ((128, 128, 3), (128, 128, 1))
