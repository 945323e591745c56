import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def make_folder(tmp_path):
    """Writes images and masks, `{stem: (image, mask)}` of arrays, and returns the folder."""

    def make(pairs, split=""):
        for kind, arrays in (("images", 0), ("masks", 1)):
            (tmp_path / split / kind).mkdir(parents=True, exist_ok=True)
            for stem, pair in pairs.items():
                Image.fromarray(pair[arrays]).save(tmp_path / split / kind / f"{stem}.png")
        return tmp_path

    return make


@pytest.fixture
def pairs(rng):
    """Ten pictures of different sizes, each of one grey that tells it from the others, with a 0/255 mask."""
    made = {}
    for index in range(10):
        height, width = 16 + index, 32 - index
        mask = np.where(rng.random((height, width)) < 0.3, 255, 0).astype(np.uint8)
        made[f"picture{index}"] = (np.full((height, width, 3), 10 * index, np.uint8), mask)
    return made
