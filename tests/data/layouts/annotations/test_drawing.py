"""Polygons and runs against pycocotools and matplotlib, which draw them in other ways."""

import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from matplotlib.path import Path as Outline
from PIL import ExifTags, Image, ImageOps
from pycocotools import mask as coco

from kseg.data.layouts.annotations.drawing import (
    Frame,
    Patch,
    draw_polygons,
    draw_runs,
    frame_of,
    later_on_top,
    smaller_on_top,
    uncompressed,
)
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def whole(patch, frame):
    """A patch as bool `(H, W)`."""
    return later_on_top([(1, patch)], frame).astype(bool)


def encoded(mask):
    """COCO's compressed runs of a bool `(H, W)`."""
    return coco.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()


@given(SIZES, st.integers(0, 2**32 - 1), st.floats(0, 1))
@settings(deadline=None)
def test_compressed_runs_are_read_as_pycocotools_wrote_them(size, seed, share):
    mask = np.random.default_rng(seed).random(size) < share
    frame = Frame(*size)
    np.testing.assert_array_equal(whole(draw_runs(uncompressed(encoded(mask)), frame), frame), mask)


def test_long_runs_are_read_as_pycocotools_wrote_them():
    mask = np.zeros((3000, 2000), bool)
    mask[1:2990, 500:1999] = True
    mask[1000:2000:7] = ~mask[1000:2000:7]
    np.testing.assert_array_equal(
        whole(draw_runs(uncompressed(encoded(mask)), Frame(3000, 2000)), Frame(3000, 2000)), mask
    )


@given(st.text(max_size=30) | st.text(st.characters(min_codepoint=48, max_codepoint=111), max_size=30))
@example("0" * 20 + "o")
@example("o" * 200)
@example("\x00")
@example("`P")
@settings(deadline=None)
def test_whatever_runs_are_they_fill_the_picture_or_are_refused(text):
    try:
        patch = draw_runs(uncompressed(text), Frame(6, 5))
    except KsegError:
        return
    np.testing.assert_array_equal(whole(patch, Frame(6, 5)), coco.decode({"size": [6, 5], "counts": text.encode()}))


@pytest.mark.parametrize("counts", [[], [3], [3, 4], [-1, 7], [0, 7], [2**62, 2**62, 2**62, 2**62], [7, -1]])
def test_runs_that_do_not_fill_the_picture_are_refused(counts):
    with pytest.raises(KsegError, match="the runs do not add up to the 6 pixels of 3 x 2"):
        draw_runs(np.array(counts, np.int64), Frame(2, 3))


@pytest.mark.parametrize("counts", [[6], [0, 6], [6, 0], [0, 0, 6], [0, 1, 4, 1], [5, 1], [2, 2, 2], [0, 0, 0, 6]])
def test_runs_of_all_shapes(counts):
    flat = np.repeat(np.arange(len(counts)) % 2, counts)
    np.testing.assert_array_equal(whole(draw_runs(np.int64(counts), Frame(2, 3)), Frame(2, 3)), flat.reshape(3, 2).T)


def stars(rng, frame, count):
    """Polygons around points of the frame, some of which reach out of it."""
    for _ in range(count):
        corners = rng.integers(3, 12)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        radii = rng.uniform(2, max(frame.height, frame.width) / 2, corners)
        middle = rng.uniform(0, (frame.width, frame.height))
        yield (middle + radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)).clip(
            -frame.width / 2, 1.5 * frame.width
        )


@pytest.mark.parametrize("digits", [1, 2, 15])
def test_polygons_are_drawn_to_the_bit_as_coco_does(rng, digits):
    for height, width in ((31, 50), (64, 64), (1, 9)):
        frame = Frame(height, width)
        for count in (1, 2, 3):
            parts = [np.round(star, digits).ravel() for star in stars(rng, frame, count)]
            parts = [part.clip(-min(height, width), 2 * min(height, width)) for part in parts]
            expected = coco.decode(coco.merge(coco.frPyObjects([part.tolist() for part in parts], height, width)))
            np.testing.assert_array_equal(whole(draw_polygons(parts, frame), frame), expected)


def test_polygons_hold_the_pixels_whose_middle_they_hold(rng):
    frame = Frame(60, 80)
    x, y = np.meshgrid(np.arange(80) + 0.5, np.arange(60) + 0.5)
    middles = np.stack([x.ravel(), y.ravel()], axis=1)
    for star in stars(rng, frame, 20):
        inside = Outline(star).contains_points(middles).reshape(60, 80)
        differing = (whole(draw_polygons([star.ravel()], frame), frame) != inside).mean()
        assert differing < 0.02, differing
    exact = whole(draw_polygons([np.array([10, 20, 30, 20, 30, 25, 10, 25.0])], frame), frame)
    assert exact.sum() == 20 * 5
    assert exact[20:25, 10:30].all()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ([0, 0, 5, 0, 1e9, 5], r"the point \(1e\+09, 5\) lies far outside of the picture, 20 x 10"),
        ([0, 0, 5, 0, np.nan, 5], r"the point \(nan, 5\) lies far outside"),
        ([0, 0, 5, 0, 5, -np.inf], r"the point \(5, -inf\) lies far outside"),
        ([-21, 0, 5, 0, 5, 5], r"the point \(-21, 0\) lies far outside .*; expected pixels from its upper left corner"),
        ([0, 0, 20, 10] * 100_000, r"an outline of 200000 points is longer than any object's"),
    ],
)
def test_outlines_that_would_take_all_memory_are_refused(part, message):
    with pytest.raises(KsegError, match=message):
        draw_polygons([np.array(part, float)], Frame(10, 20))


def block(top, left, height, width, frame):
    mask = np.zeros((frame.height, frame.width), bool)
    mask[top : top + height, left : left + width] = True
    return Patch(left, np.ascontiguousarray(mask[:, left : left + width].T))


def test_the_smaller_object_is_on_top_in_any_order_and_a_crowd_beneath():
    frame = Frame(6, 8)
    large, small, crowd = (1, block(0, 0, 5, 6, frame)), (2, block(1, 1, 2, 2, frame)), (255, block(0, 4, 6, 4, frame))
    expected = np.zeros((6, 8), int)
    expected[:, 4:] = 255
    expected[:5, :6] = 1
    expected[1:3, 1:3] = 2
    for objects in ([large, small], [small, large]):
        np.testing.assert_array_equal(smaller_on_top(objects, frame, beneath=[crowd]), expected)
    same = [(1, block(0, 0, 2, 2, frame)), (2, block(1, 1, 2, 2, frame))]
    assert smaller_on_top(same, frame)[1, 1] == 2
    assert smaller_on_top(same[::-1], frame)[1, 1] == 1
    assert later_on_top([small, large], frame)[1, 1] == 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_outlines_lie_on_the_upright_picture_or_on_the_one_of_their_size(tmp_path, rng, orientation):
    stored = (rng.random((4, 6)) < 0.5).astype(np.uint8)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / "a.jpg"
    picture = Image.fromarray(stored)
    picture.save(path, exif=exif)
    picture.getexif()[ExifTags.Base.Orientation] = orientation
    upright = np.asarray(ImageOps.exif_transpose(picture))
    for size in (None, upright.shape):
        frame = frame_of(path, size)
        assert (frame.height, frame.width) == upright.shape
        assert frame.upright(upright).tolist() == upright[..., None].tolist()
    if orientation >= 5:
        turned = frame_of(path, stored.shape).upright(stored)
        assert turned.dtype == np.uint16
        np.testing.assert_array_equal(turned[..., 0], upright)
    with pytest.raises(KsegError, match=r"the outlines are for 9 x 9, and .*a.jpg is \d x \d \(width x height\)"):
        frame_of(path, (9, 9))


def test_what_is_drawn_can_be_pickled():
    from kseg.data.layouts.annotations.coco_masks import InstanceMask, Polygons, Region

    mask = InstanceMask("x.json", "a.png", 3, (4, 4), (Region(7, 1, Polygons((b"0" * 48,))),))
    assert pickle.loads(pickle.dumps(mask)) == mask
