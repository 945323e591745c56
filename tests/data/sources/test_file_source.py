import numpy as np
import pytest

from kseg.data import open_sources
from kseg.data.sources.file_source import check_colours, split_by_seed
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


@pytest.fixture
def source(make_folder, pairs):
    return open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]  # nine images


@pytest.mark.slow
def test_every_pair_of_a_large_source_is_checked_in_order(source):
    bad = {0, 4, 8}
    for index in bad:
        source.images[index].write_bytes(b"no image")
    order = np.random.default_rng(0).integers(0, 9, 2500).tolist()
    large = source.subset(order)
    good, faults = large.drop_unreadable()
    assert good.images == [source.images[index] for index in order if index not in bad]
    names = [fault.split(" cannot")[0] for fault in faults]
    assert names == [str(source.images[index]) for index in order if index in bad]
    good.check_headers()
    first = next(index for index in order if index in bad)
    with pytest.raises(KsegError, match=rf"{source.images[first].name} cannot be read"):
        large.check_headers()


@pytest.mark.parametrize(("fraction", "number"), [(0.0, 1), (0.2, 2), (0.5, 4), (1.0, 8)])
def test_a_share_of_the_examples_at_least_one_and_never_all_is_for_validation(source, fraction, number):
    training, validation = split_by_seed(source, fraction, seed=3)
    assert len(validation) == number
    assert sorted([*training.pairs, *validation.pairs]) == sorted(source.pairs)
    assert split_by_seed(source, fraction, seed=3) == (training, validation)
    if number == 4:
        assert len({tuple(split_by_seed(source, fraction, seed)[1].images) for seed in range(5)}) > 1


def test_one_example_cannot_be_split(source):
    with pytest.raises(KsegError, match="has one image; expected two or more, to train and to validate on"):
        split_by_seed(source.take(1), 0.5, seed=0)


def test_colours_are_refused_where_the_classes_have_names():
    with pytest.raises(KsegError, match="colours: #000000 is not allowed for set, which names its classes"):
        check_colours("set", ["#000000"], [], {1: "cat"})
    assert check_colours("set", "auto", [], {1: "cat"}) == ()
    assert check_colours("set", ["#000000", "#ff0000"], [], {}) == ("#000000", "#ff0000")
