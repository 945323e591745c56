"""Polygons and runs, compared with pycocotools and matplotlib."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import ExifTags, Image, ImageOps
from pycocotools import mask as coco

from kseg.data.layouts.annotations.drawing import (
    Canvas,
    Patch,
    decompress_runs,
    draw_later_on_top,
    draw_polygons,
    draw_runs,
    draw_smaller_on_top,
    find_canvas,
)
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def to_mask(patch, canvas):
    """Return a patch as bool `(H, W)`."""
    return draw_later_on_top([(1, patch)], canvas).astype(bool)


def compress_runs(mask):
    """Return COCO's compressed runs of a bool `(H, W)`."""
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(SIZES, st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(deadline=None)
def test_compressed_runs_of_pycocotools_are_decoded(size, seed, share):
    mask = np.random.default_rng(seed).random(size) < share
    canvas = Canvas(*size)
    np.testing.assert_array_equal(to_mask(draw_runs(decompress_runs(compress_runs(mask)), canvas), canvas), mask)


def test_long_compressed_runs_of_pycocotools_are_decoded():
    mask = np.zeros((3000, 2000), bool)
    mask[1:2990, 500:1999] = True
    mask[1000:2000:7] = ~mask[1000:2000:7]
    np.testing.assert_array_equal(
        to_mask(draw_runs(decompress_runs(compress_runs(mask)), Canvas(3000, 2000)), Canvas(3000, 2000)), mask
    )


@given(st.text(max_size=30) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
@example("0" * 20 + "o")
@example("o" * 200)
@example("\x00")
@example("`P")
@settings(deadline=None)
def test_any_text_is_decoded_as_pycocotools_does_or_refused(text):
    try:
        patch = draw_runs(decompress_runs(text), Canvas(6, 5))
    except KsegError:
        return
    np.testing.assert_array_equal(to_mask(patch, Canvas(6, 5)), coco.decode({"size": [6, 5], "counts": text.encode()}))


@pytest.mark.parametrize("counts", [[], [3], [3, 4], [-1, 7], [0, 7], [2**62, 2**62, 2**62, 2**62], [7, -1]])
def test_runs_that_do_not_fill_the_canvas_are_refused(counts):
    with pytest.raises(KsegError, match="the runs do not add up to the 6 pixels of 3 x 2"):
        draw_runs(np.array(counts, np.int64), Canvas(2, 3))


@pytest.mark.parametrize("counts", [[6], [0, 6], [6, 0], [0, 0, 6], [0, 1, 4, 1], [5, 1], [2, 2, 2], [0, 0, 0, 6]])
def test_runs_are_drawn_column_by_column(counts):
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    np.testing.assert_array_equal(
        to_mask(draw_runs(np.int64(counts), Canvas(2, 3)), Canvas(2, 3)), flat.reshape(3, 2).T
    )


def stars(rng, canvas, count):
    """Yield polygons around points of the canvas; some reach out of it."""
    for _ in range(count):
        corners = rng.integers(3, 12)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(2, max(canvas.height, canvas.width) / 2, corners)
        centre = rng.uniform(0, (canvas.width, canvas.height))
        yield (centre + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).clip(
            -canvas.width / 2, 1.5 * canvas.width
        )


@pytest.mark.parametrize("digits", [1, 2, 15])
def test_polygons_equal_those_of_pycocotools(rng, digits):
    for height, width in ((31, 50), (64, 64), (1, 9)):
        canvas = Canvas(height, width)
        for count in (1, 2, 3):
            parts = [np.round(star, digits).ravel() for star in stars(rng, canvas, count)]
            parts = [part.clip(-min(height, width), 2 * min(height, width)) for part in parts]
            expected = coco.decode(coco.merge(coco.frPyObjects([part.tolist() for part in parts], height, width)))
            np.testing.assert_array_equal(to_mask(draw_polygons(parts, canvas), canvas), expected)


def test_polygons_cover_the_pixels_whose_centres_they_contain(rng):
    canvas = Canvas(60, 80)
    x, y = np.meshgrid(np.arange(80) + 0.5, np.arange(60) + 0.5)
    centres = np.stack([x.ravel(), y.ravel()], axis=1)
    for star in stars(rng, canvas, 20):
        inside = Outline(star).contains_points(centres).reshape(60, 80)
        differing = (to_mask(draw_polygons([star.ravel()], canvas), canvas) != inside).mean()
        assert differing < 0.02, differing
    exact = to_mask(draw_polygons([np.array([10, 20, 30, 20, 30, 25, 10, 25.0])], canvas), canvas)
    assert exact.sum() == 20 * 5
    assert exact[20:25, 10:30].all()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ([0, 0, 5, 0, 1e9, 5], r"the point \(1e\+09, 5\) lies far outside the image, 20 x 10"),
        ([0, 0, 5, 0, np.nan, 5], r"the point \(nan, 5\) lies far outside"),
        ([0, 0, 5, 0, 5, -np.inf], r"the point \(5, -inf\) lies far outside"),
        ([-21, 0, 5, 0, 5, 5], r"the point \(-21, 0\) lies far outside .*; expected pixels from its upper left corner"),
        (
            [0, 0, 20, 10] * 100_000,
            r"an outline of 200000 points is too long; expected a length of at most 3355443 pixels",
        ),
    ],
)
def test_outlines_that_are_too_large_for_memory_are_refused(part, message):
    with pytest.raises(KsegError, match=message):
        draw_polygons([np.array(part, float)], Canvas(10, 20))


def block(top, left, height, width, canvas):
    """Return a rectangle as a patch."""
    mask = np.zeros((canvas.height, canvas.width), bool)
    mask[top : top + height, left : left + width] = True
    return Patch(left, np.ascontiguousarray(mask[:, left : left + width].T))


def test_the_smaller_object_is_on_top_in_any_order_and_a_crowd_is_beneath():
    canvas = Canvas(6, 8)
    large, small = (1, block(0, 0, 5, 6, canvas)), (2, block(1, 1, 2, 2, canvas))
    crowd = (255, block(0, 4, 6, 4, canvas))
    expected = np.zeros((6, 8), int)
    expected[:, 4:] = 255
    expected[:5, :6] = 1
    expected[1:3, 1:3] = 2
    for objects in ([large, small], [small, large]):
        np.testing.assert_array_equal(draw_smaller_on_top(objects, canvas, beneath=[crowd]), expected)
    same = [(1, block(0, 0, 2, 2, canvas)), (2, block(1, 1, 2, 2, canvas))]
    assert draw_smaller_on_top(same, canvas)[1, 1] == 2
    assert draw_smaller_on_top(same[::-1], canvas)[1, 1] == 1
    assert draw_later_on_top([small, large], canvas)[1, 1] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_canvas_is_the_upright_image_or_the_stored_one_if_its_size_says_so(tmp_path, rng, orientation):
    stored = (rng.random((4, 6)) < 0.5).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(stored)
    picture.save(path, exif=exif)
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))
    for size in (None, upright.shape):
        canvas = find_canvas(path, size)
        assert (canvas.height, canvas.width) == upright.shape
        assert canvas.turn_upright(upright).tolist() == upright[..., None].tolist()
    if orientation >= 5:
        turned = find_canvas(path, stored.shape).turn_upright(stored)
        assert turned.dtype == np.uint16
        np.testing.assert_array_equal(turned[..., 0], upright)
    with pytest.raises(KsegError, match=r"the outlines are for 9 x 9, and .*a.jpg is \d x \d \(width x height\)"):
        find_canvas(path, (9, 9))
