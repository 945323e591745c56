import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Twelve pictures with a bright square each, which a small model learns in a few steps."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("squares")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(12):
        mask = np.zeros((32, 32), np.uint8)
        y, x = rng.integers(0, 20, 2)
        mask[y : y + 12, x : x + 12] = 255
        image = np.clip(40 + mask * 0.6 + rng.normal(0, 10, mask.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    return folder
