"""LabelMe's JSON."""

import numpy as np
import pytest
from hypothesis import given
from PIL import Image, ImageDraw

from kseg.data.layouts.find import find_layout
from kseg.errors import KsegError
from tests.data.layouts.annotations.samples import (
    FUZZED,
    HEIGHT,
    JSON,
    PATHS,
    SOUND_SHAPES,
    SQUARE,
    WIDTH,
    check_read_or_refused,
    encode_png,
    labelme_json,
    mutate,
    polygon_shape,
    read_masks,
    square_mask,
    write_files,
)

pytestmark = pytest.mark.backend_free


def test_shapes_of_every_type_are_drawn(tmp_path):
    inside = np.array([[True, False, True], [False, True, True]])
    box = [[4, 5], [6, 6]]
    shapes = [
        ("_background_", polygon_shape([0, 0, 1, 0, 1, 1])),
        ("cat", {"points": [[9, 2], [13, 5]], "shape_type": "rectangle"}),
        ("ant", {"points": box, "shape_type": "mask", "mask": encode_png(inside)}),
        ("__ignore__", polygon_shape([14, 0, 16, 0, 16, 3, 14, 3])),
    ]
    layout = find_layout(write_files(tmp_path, {"a.png": None, "a.json": labelme_json(*shapes)}))
    expected = np.zeros((HEIGHT, WIDTH), int)
    expected[2:5, 9:13] = 2
    expected[5:7, 4:7] = inside
    expected[:3, 14:] = 255
    assert read_masks(layout.training) == [expected.tolist()]
    assert layout.classes == {1: "ant", 2: "cat"}


@pytest.mark.parametrize("kind", ["rectangle", "rotation"])
def test_a_rectangle_of_four_corners_is_drawn_as_its_polygon(tmp_path, kind):
    for number, points in enumerate(([[2, 3], [9, 3], [9, 8], [2, 8]], [[8, 1], [14, 5], [11, 10], [5, 6]])):
        folder = tmp_path / str(number)
        polygon = polygon_shape([value for point in points for value in point])
        shapes = {"a": polygon, "b": {"points": points, "shape_type": kind}}
        files = {f"{name}.json": labelme_json(("cat", shape)) for name, shape in shapes.items()}
        masks = read_masks(find_layout(write_files(folder, files | {"a.png": None, "b.png": None})).training)
        assert masks[0] == masks[1]
        assert np.any(masks)


def test_a_circle_is_drawn_as_pillow_does(tmp_path):
    content = labelme_json(("cat", {"points": [[30.5, 25.5], [45.5, 25.5]], "shape_type": "circle"}))
    Image.new("RGB", (60, 50)).save(tmp_path / "a.png")
    drawn = np.array(read_masks(find_layout(write_files(tmp_path, {"a.json": content})).training)[0])
    other = Image.new("L", (600, 500))
    ImageDraw.Draw(other).ellipse((155, 105, 455, 405), fill=1)
    expected = np.asarray(other)[5::10, 5::10]
    assert (drawn != expected).sum() < 24
    assert abs(drawn.sum() - np.pi * 15**2) < 12


def test_later_shapes_are_on_top(tmp_path):
    wide = polygon_shape([0, 0, 16, 0, 16, 12, 0, 12])
    files = {"a.png": None, "a.json": labelme_json(("cat", polygon_shape(SQUARE)), ("dog", wide))}
    assert np.unique(read_masks(find_layout(write_files(tmp_path, files)).training)).tolist() == [2]


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            {"points": [[1, 1], [2, 2]], "shape_type": "line"},
            r"shape 1 \('cat'\): 'line' of 2 points; expected a polygon",
        ),
        ({"points": [[1, 1]], "shape_type": "point"}, r"'point' of 1 points; .* Lines and points have no area"),
        ({"points": [[1, 1], [2, 2]]}, r"'polygon' of 2 points; expected a polygon of three or more"),
        ({"points": [1, 2, 3]}, r"its points are not pairs of numbers"),
        ({"points": [["1", "2"]] * 3}, r"its points are not pairs of numbers"),
        ({"points": [[10**400, 1]] * 3}, r"its points are not pairs of numbers"),
        ({"points": [[1e8, 1]] * 3}, r"shape 1 \('cat'\): the point \(1e\+08, 1\) lies far outside"),
        ({"points": [[1, 1], [1e9, 1]], "shape_type": "circle"}, r"lies far outside the image"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask"}, r"its mask is not a PNG in Base64"),
        ({"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": "AAAA"}, r"its mask is not a PNG in Base64"),
        (
            {"points": [[1, 1], [2, 2]], "shape_type": "mask", "mask": encode_png(np.ones((3, 3), bool))},
            r"its mask has another size than its box",
        ),
        (
            {"points": [[1, 1], [99, 2]], "shape_type": "mask", "mask": ""},
            r"its box lies outside the image, 16 x 12",
        ),
    ],
)
def test_a_faulty_shape_is_named_when_its_mask_is_read(tmp_path, shape, message):
    layout = find_layout(write_files(tmp_path, {"a.png": None, "a.json": labelme_json(("cat", shape))}))
    with pytest.raises(KsegError, match=f"a.json: .*{message}"):
        read_masks(layout.training)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            labelme_json(("cat", polygon_shape(SQUARE)), imageHeight=9, imageWidth=9),
            r"a.json: the outlines are for 9 x 9, and .*a.png",
        ),
        (
            labelme_json(("cat", polygon_shape(SQUARE)), imagePath="..\\b.png"),
            r"a.json is for b.png by its imagePath, and for a.png by",
        ),
        ({"shapes": [{"points": []}]}, r"a.json: shape 1 \(None\) has no label"),
        ({"shapes": {}}, r"a.json has no list of shapes; expected LabelMe's JSON"),
        ('{"shapes": [', r"a.json is not JSON"),
    ],
)
def test_a_faulty_file_is_named_when_its_mask_is_read(tmp_path, content, message):
    files = {"b.json": labelme_json(("cat", polygon_shape(SQUARE))), "a.json": content, "a.png": None, "b.png": None}
    layout = find_layout(write_files(tmp_path, files))
    with pytest.raises(KsegError, match=message):
        read_masks(layout.training)


def test_files_without_any_label_are_refused(tmp_path):
    with pytest.raises(
        KsegError, match=r"a.json has no labels, nor has any of 1 LabelMe files; expected shapes with a label"
    ):
        find_layout(write_files(tmp_path, {"a.json": labelme_json(), "a.png": None}))


def test_an_image_or_a_file_without_a_partner_is_refused(tmp_path):
    files = {"a.json": labelme_json(("cat", polygon_shape(SQUARE))), "a.png": None, "b.png": None}
    with pytest.raises(KsegError, match=r"1 files have no LabelMe JSON: .*b.png. Expected a file of the same stem"):
        find_layout(write_files(tmp_path, files))
    (tmp_path / "b.png").unlink()
    with pytest.raises(KsegError, match=r"1 files have no image: .*c.json. .*the copy in its imageData is not read"):
        find_layout(write_files(tmp_path, {"c.json": labelme_json(("cat", polygon_shape(SQUARE)), imageData="AAAA")}))


def test_other_json_beside_images_is_not_read(tmp_path):
    layout = find_layout(
        write_files(tmp_path, {"images/a.png": None, "images/a.json": {"gps": 1}, "masks/a.png": None})
    )
    assert layout.rule == "images/ and masks/ by stem"


@pytest.mark.slow
@given(PATHS, JSON)
@FUZZED
def test_any_shapes_are_read_or_refused_by_name(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any-shapes"
    check_read_or_refused(write_files(folder, {"a.png": None, "a.json": mutate(SOUND_SHAPES, path, value)}), "a.json")


def two(tmp_path, points, **fields):
    """The layout of two images with one polygon each."""
    content = labelme_json(("cat", polygon_shape(points))) | fields
    files = dict.fromkeys(("a.png", "b.png")) | dict.fromkeys(("a.json", "b.json"), content)
    return find_layout(write_files(tmp_path, files))


def test_shares_of_the_sides_are_read_as_the_pixels_that_they_are(tmp_path):
    layout = two(tmp_path, (np.reshape(SQUARE, (-1, 2)) / [WIDTH, HEIGHT]).ravel().tolist())
    assert layout.rule.endswith("; coordinates are shares of width and height")
    assert read_masks(layout.training) == [square_mask().tolist()] * 2


def test_per_cent_and_outlines_of_larger_images_are_refused(tmp_path):
    per_cent = (100 * np.reshape(SQUARE, (-1, 2)) / [WIDTH, HEIGHT]).ravel().tolist()
    size = {"imageHeight": HEIGHT, "imageWidth": WIDTH}
    with pytest.raises(KsegError, match=r"of 2 objects reach 75, as shape 1 \('cat'\) of a.json, .* per cent"):
        two(tmp_path / "1", per_cent, **size)
    with pytest.raises(KsegError, match=r"of 2 of 2 objects leave .* such as shape 1 .* \(160, 180\) in 16 x 12"):
        two(tmp_path / "2", [20 * value for value in SQUARE], **size)


def test_sizes_as_text_and_blanks_around_a_label(tmp_path):
    layout = two(tmp_path, SQUARE, imageHeight=str(HEIGHT), imageWidth=str(WIDTH))
    write_files(tmp_path, {"b.json": labelme_json((" cat ", polygon_shape(SQUARE)))})
    layout = find_layout(tmp_path)
    assert layout.classes == {1: "cat"}
    assert read_masks(layout.training) == [square_mask().tolist()] * 2
