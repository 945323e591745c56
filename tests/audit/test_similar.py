import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kseg.audit.similar import exact_groups, near_groups
from kseg.audit.statistics import measure_image

pytestmark = pytest.mark.backend_free


def saved_again(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=75)
    return np.asarray(Image.open(file))


CHANGES = {
    "saved again": saved_again,
    "halved": lambda image: np.asarray(Image.fromarray(image).resize((32, 32))),
    "brighter": lambda image: np.clip(image * 1.1, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("how", CHANGES)
def test_a_copy_is_like_its_original_and_like_no_other(scenes, how):
    images = [image for image, _ in scenes(30).values()]
    copies = [CHANGES[how](image) for image in images]
    measured = [measure_image(image, False) for image in images + copies]
    assert exact_groups(measured) == []
    assert near_groups(measured) == [[index, index + 30] for index in range(30)]


def test_equal_pixels_are_equal_whatever_surrounds_them(scenes):
    images = [image for image, _ in scenes(3).values()]
    measured = [measure_image(image, False) for image in [*images, images[1].copy(), images[1].reshape(32, 128, 3)]]
    assert exact_groups(measured) == [[1, 3]]


def test_equal_hashes_of_other_pictures_prove_nothing(rng, scenes):
    statistics = measure_image(next(iter(scenes(1).values()))[0], False)
    pictures = rng.integers(0, 255, (200, 16, 16)).astype(np.uint8)
    assert near_groups([replace(statistics, small=small) for small in pictures]) == []
