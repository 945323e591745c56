import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kseg import IGNORE
from kseg.data.transforms.resize import pad_or_crop, scale

pytestmark = pytest.mark.backend_free


def resized(image, mask, size, how):
    image, mask = scale(image, mask, size, how)
    return pad_or_crop(image, size, 0), pad_or_crop(mask, size, IGNORE)


def grid(height, width, cell):
    """An image and a mask with the same squares: where the mask is 1 the image is white."""
    rows, columns = np.indices((height, width)) // cell
    mask = ((rows + columns) % 2).astype(np.uint8)[..., None]
    return np.repeat(255 * mask, 3, axis=2), mask


@pytest.mark.parametrize("how", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(64, 64), (64, 128), (160, 80), (48, 200)])
def test_image_and_mask_keep_one_geometry(shape, how):
    image, mask = resized(*grid(*shape, 16), (64, 64), how)
    assert (image.shape, mask.shape) == ((64, 64, 3), (64, 64, 1))
    known = mask[..., 0] != 255
    agree = (image[..., 0] > 127) == (mask[..., 0] == 1)
    assert agree[known].mean() > 0.9  # all but the edges, where the image is grey
    if how != "pad":
        assert known.all()


def test_padding_is_ignored_and_lies_on_both_sides_alike():
    image, mask = resized(np.full((10, 30, 3), 7, np.uint8), np.ones((10, 30, 1), np.uint8), (24, 48), "pad")
    assert (mask[4:20] == 1).all()
    assert (mask[:4] == 255).all()
    assert (mask[20:] == 255).all()
    assert (image[4:20] == 7).all()
    assert image[:4].max() == 0


def test_cropping_keeps_the_middle_and_the_aspect_ratio():
    image, mask = grid(40, 120, 10)
    cropped, found = resized(image, mask, (40, 40), "crop")
    np.testing.assert_array_equal(cropped, image[:, 40:80])
    np.testing.assert_array_equal(found, mask[:, 40:80])


def test_an_image_of_that_size_stays_as_it_is(rng):
    image = rng.integers(0, 256, (24, 32, 3), np.uint8)
    mask = rng.choice(np.uint8([0, 1, 255]), (24, 32, 1))
    for how in ("stretch", "pad", "crop"):
        for one, other in zip(resized(image, mask, (24, 32), how), (image, mask), strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_mask_of_instance_ids_keeps_them():
    mask = np.uint16([[0, 65535], [255, 3]])[..., None]
    assert scale(np.zeros((2, 2, 3), np.uint8), mask, (4, 4), "stretch")[1][::2, ::2].tolist() == mask.tolist()


def test_where_an_image_shrinks_every_pixel_counts():
    image = np.zeros((64, 64, 3), np.uint8)
    image[::8, ::8] = 255  # one in 64
    assert resized(image, image[..., :1], (8, 8), "stretch")[0].mean() == pytest.approx(255 / 64, rel=0.2)


@pytest.mark.parametrize("size", [(16, 24), (64, 72), (16, 72)])
def test_many_channels_are_resized_each_for_itself(rng, size):
    image = rng.integers(0, 256, (40, 50, 7), np.uint8)
    found, _ = scale(image, image[..., :1], size, "stretch")
    for channel in range(7):
        alone, _ = scale(image[..., channel : channel + 1], image[..., :1], size, "stretch")
        np.testing.assert_array_equal(found[..., channel : channel + 1], alone)


@given(
    st.tuples(st.integers(1, 70), st.integers(1, 70)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["stretch", "pad", "crop"]),
)
def test_any_shape_becomes_any_size_and_no_class_is_made_up(shape, eighths, how):
    size = (8 * eighths[0], 8 * eighths[1])
    mask = np.random.default_rng(0).choice(np.uint8([0, 1]), (*shape, 1))
    image, found = resized(np.repeat(mask * 200, 3, axis=2), mask, size, how)
    assert (image.shape, found.shape) == ((*size, 3), (*size, 1))
    assert (image.dtype, found.dtype) == (np.uint8, np.uint8)
    assert set(np.unique(found)) <= set(np.unique(mask)) | ({255} if how == "pad" else set())
