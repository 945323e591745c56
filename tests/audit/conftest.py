import numpy as np
import pytest
from PIL import Image


def scene(rng, size=(64, 64)):
    """A textured picture, uint8 `(H, W, 3)`, with three bright discs, and its mask of 0 and 255."""
    height, width = size
    coarse = Image.fromarray(rng.normal(90, 25, (8, 8)).astype(np.float32))
    ground = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))[..., None] + rng.normal(0, 4, 3)
    y, x = np.mgrid[:height, :width]
    inside = np.zeros(size, bool)
    for _ in range(3):
        centre, radius = rng.uniform((12, 12), (height - 12, width - 12)), rng.uniform(4, 9)
        inside |= np.hypot(y - centre[0], x - centre[1]) < radius
    picture = ground + 70 * inside[..., None] + rng.normal(0, 5, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8), np.where(inside, 255, 0).astype(np.uint8)


@pytest.fixture
def scenes(rng):
    """Makes that many of them, by stem."""
    return lambda count, prefix="scene": {f"{prefix}{index:03}": scene(rng) for index in range(count)}


@pytest.fixture
def write(tmp_path):
    """Writes pairs to `set/<split>/images` and `…/masks`, and returns the folder; a name may have an extension."""

    def write(pairs, split="train", **options):
        for name, pair in pairs.items():
            for kind, pixels in zip(("images", "masks"), pair, strict=True):
                if pixels is not None:
                    extension = ".png" if kind == "masks" or "." not in name else ""
                    path = tmp_path / "set" / split / kind / (name.split(".")[0] + extension if extension else name)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(path, **(options if kind == "images" else {}))
        return tmp_path / "set"

    return write
