import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kseg.data.files.rows import Rows
from kseg.errors import KsegError
from kseg.inference import Predictor
from kseg.inference.tiling import Tiling
from kseg.metadata import Metadata
from tests.inference.models import bright


def identity(tiles):
    """The "probabilities" of a network that returns the first channel."""
    for tile in tiles:
        yield tile[..., :1].astype(np.float32)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    tile=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    overlap=st.floats(0, 0.9),
)
@pytest.mark.backend_free
def test_tiles_cover_every_pixel_once_all_weights_are_taken_together(height, width, tile, overlap):
    image = np.random.default_rng(height * width).integers(0, 256, (height, width, 3)).astype(np.uint8)
    bands = list(Tiling(tile, overlap).bands(Rows.of(image), identity))
    np.testing.assert_allclose(np.concatenate(bands), image[..., :1], rtol=1e-4, atol=1e-3)


@pytest.mark.backend_free
def test_progress_counts_all_tiles():
    done = []
    tiling, image = Tiling((16, 16), 0.5), np.zeros((50, 70, 3), np.uint8)
    list(tiling.bands(Rows.of(image), identity, done.append))
    down, across = tiling.positions((50, 70))
    assert sum(done) == len(down) * len(across)


@pytest.mark.backend_free
@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_outside_of_0_to_1_is_refused(overlap):
    with pytest.raises(KsegError, match=f"overlap: {overlap} is not allowed; expected 0 or more, and less than 1"):
        Tiling((8, 8), overlap)


def test_tiles_equal_the_whole_image_where_the_network_looks_no_further_than_a_quarter_of_the_overlap(rng):
    # A kernel of 9 looks 4 pixels far; a quarter of the overlap of tiles of 32 is 4. At the image's own rim the whole
    # image ends in zeros and tiles go on by reflection, so there they differ.
    image = rng.integers(0, 256, (100, 75, 3)).astype(np.uint8)
    whole = Predictor([bright(kernel=9)], Metadata()).predict(image).probabilities
    tiles = Predictor([bright(kernel=9)], Metadata(), tile=32).predict(image).probabilities
    np.testing.assert_allclose(tiles[4:-4, 4:-4], whole[4:-4, 4:-4], atol=1e-5)
    # One pixel further, and they do not.
    wider = bright(kernel=11)
    whole = Predictor([wider], Metadata()).predict(image).probabilities
    tiles = Predictor([wider], Metadata(), tile=32).predict(image).probabilities
    assert abs(tiles - whole)[5:-5, 5:-5].max() > 1e-3
