import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.ndimage import maximum_filter, median_filter, minimum_filter

from kseg.data import Augmentation
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.strengths import find_augmentation
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

PRESETS = ("light", "medium", "heavy")
LIGHT, MEDIUM, HEAVY = map(find_augmentation, PRESETS)

# Every change of place alone, at the strength of the heaviest preset, and all together.
MOVES = {
    "mirror": {"mirror": True},
    "turns": {"turns": True},
    "crop": {"crop": 0.5},
    "rotation": {"rotation": 45},
    "zoom": {"zoom": 1.25},
    "shear": {"shear": 10},
    "elastic": {"elastic": 0.03},
}
MOVES["all"] = {name: value for move in MOVES.values() for name, value in move.items()}
MOVES = {name: Augmentation(share=1, **move) for name, move in MOVES.items()}

FOREGROUND_CROPS = {"none": Augmentation(), "light": LIGHT, "all": MOVES["all"]}


def planted(height, width, rng, channels=3):
    """A mask of blocks, and an image that shows the same blocks: what holds for one has to hold for the other."""
    blocks = rng.integers(0, 2, (height // 8, width // 8))
    mask = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint8)[..., None]
    return np.repeat(mask * np.uint8(200), channels, -1), mask


def one_pixel(height, width, row, column):
    """A mask of one foreground pixel, and an image that says in each pixel where that is."""
    mask = np.zeros((height, width, 1), np.uint8)
    mask[row, column] = 1
    rows, columns = np.indices((height, width))
    return np.stack([rows * 3, columns * 3, np.full_like(rows, 200)], -1).astype(np.uint8), mask


def changed(image, mask, how, count, around_foreground=False):
    """So many versions of an example."""
    return [augment_example(image, mask, how, (0, 0, index), around_foreground) for index in range(count)]


@pytest.mark.slow
@pytest.mark.parametrize("around_foreground", [False, True])
@pytest.mark.parametrize("name", [*MOVES, *PRESETS])
@pytest.mark.parametrize("size", [(64, 64), (32, 96)])
def test_one_geometry_for_image_and_mask(size, name, around_foreground, rng):
    # Edges fall between pixels: the image is interpolated there, the mask is not. Blur and noise reach further.
    reach = 3 if name in MOVES else 5
    how = MOVES.get(name) or dataclasses.replace(find_augmentation(name), cutout=0)
    image, mask = planted(*size, rng)
    for new_image, new_mask in changed(image, mask, how, 30, around_foreground):
        grey = median_filter(new_image.mean(-1), 3) if how.noise else new_image.mean(-1)
        wrong = (grey > (grey.min() + grey.max()) / 2) != (new_mask[..., 0] == 1)
        ends = [end(new_mask[..., 0], reach, mode="constant", cval=2) for end in (minimum_filter, maximum_filter)]
        assert not (wrong & (ends[0] == ends[1])).any()
        assert wrong.mean() < 0.06


@pytest.mark.parametrize("name", MOVES)
def test_a_mask_takes_the_pixel_that_is_nearest_to_where_the_image_is_read(name):
    # The mask says which row or column a pixel is from, the image where between them it was read, in thirds.
    rows, columns = np.indices((80, 80))
    image = np.stack([rows * 3, columns * 3, np.zeros_like(rows)], -1).astype(np.uint8)
    for axis, index in enumerate((rows, columns)):
        apart = []
        for new_image, new_mask in changed(image, index.astype(np.uint8)[..., None], MOVES[name], 40):
            between = new_image[..., axis] / 3 - new_mask[..., 0]
            apart.append(between[2:-2, 2:-2])
        assert np.abs(apart).max() < 0.75  # half a pixel, and a sixth of rounding
        assert abs(np.mean(apart)) < 0.06  # OpenCV's INTER_NEAREST is 0.3 off in a crop


@pytest.mark.parametrize("how", [LIGHT, MEDIUM, HEAVY, MOVES["all"]], ids=[*PRESETS, "moves"])
@pytest.mark.parametrize("around_foreground", [False, True])
@pytest.mark.parametrize(
    ("size", "channels"), [((64, 64), 3), ((24, 40), 3), ((17, 17), 1), ((32, 32), 7), ((8, 8), 16)]
)
def test_shapes_dtypes_and_mask_values_stay(size, channels, around_foreground, how, rng):
    image = rng.integers(0, 256, (*size, channels), np.uint8)
    mask = rng.choice(np.uint8([0, 1, 4, 255]), (*size, 1))
    kept = image.copy(), mask.copy()
    for new_image, new_mask in changed(image, mask, how, 20, around_foreground):
        assert (new_image.shape, new_image.dtype) == (image.shape, np.uint8)
        assert (new_mask.shape, new_mask.dtype) == (mask.shape, np.uint8)
        assert set(np.unique(new_mask)) <= {0, 1, 4, 255}
    np.testing.assert_array_equal(image, kept[0])
    np.testing.assert_array_equal(mask, kept[1])


@pytest.mark.parametrize("how", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_an_address_gives_one_result_and_every_other_another(how, rng):
    image, mask = rng.integers(0, 256, (32, 32, 3), np.uint8), rng.integers(0, 2, (32, 32, 1), np.uint8)
    addresses = [(seed, epoch, index) for seed in (0, 1) for epoch in (0, 1) for index in (0, 1)]
    results = [augment_example(image, mask, how, address)[0] for address in addresses]
    again = [augment_example(image, mask, how, address)[0] for address in reversed(addresses)]
    np.testing.assert_array_equal(results, again[::-1])
    assert len({result.tobytes() for result in results}) == 8


@pytest.mark.parametrize(
    ("how", "size", "count"),
    [
        (LIGHT, (32, 32), 8),
        (LIGHT, (32, 48), 4),
        (Augmentation(mirror=True), (32, 32), 2),
        (Augmentation(turns=True), (32, 32), 4),
        (Augmentation(turns=True), (32, 48), 2),
    ],
)
def test_every_symmetry_is_as_likely(how, size, count):
    mask = np.zeros((*size, 1), np.uint8)
    half, middle = size[0] // 2, size[1] // 2
    mask[:half, :middle], mask[:half, middle:], mask[half:, :middle], mask[half:, middle:] = 1, 2, 3, 4
    image = np.zeros((*size, 3), np.uint8)
    turned = [new_mask[[0, 0, -1, -1], [0, -1, 0, -1], 0].tobytes() for _, new_mask in changed(image, mask, how, 800)]
    _, counts = np.unique(turned, return_counts=True)
    assert len(counts) == count
    assert stats.chisquare(counts).pvalue > 1e-3


def test_without_augmentation_nothing_changes_and_nothing_is_copied(rng):
    image, mask = planted(32, 32, rng)
    for new, old in zip(augment_example(image, mask, Augmentation(), (0, 0, 0)), (image, mask), strict=True):
        np.testing.assert_array_equal(new, old)
        assert np.shares_memory(new, old)


@pytest.mark.parametrize("how", [LIGHT, HEAVY], ids=["light", "heavy"])
def test_a_dark_image_is_not_blackened(how, rng):
    image, mask = rng.integers(0, 20, (32, 32, 3), np.uint8), np.zeros((32, 32, 1), np.uint8)
    how = dataclasses.replace(how, blur=0, jpeg=0, cutout=0)  # these even it out
    assert all(new_image.std() > 1 for new_image, _ in changed(image, mask, how, 30))


def test_what_comes_from_outside_is_reflected_in_image_and_mask():
    image, mask = np.full((48, 48, 3), 90, np.uint8), np.ones((48, 48, 1), np.uint8)
    for new_image, new_mask in changed(image, mask, MOVES["all"], 30):
        assert (new_image == 90).all()
        assert new_mask.all()


def test_a_share_of_the_images_is_changed():
    # One image is turned, blurred or given noise; each of the three with a probability of its own draw.
    image = np.indices((32, 32)).sum(0).astype(np.uint8)[..., None] * np.uint8([1, 2, 3])
    mask = np.zeros((32, 32, 1), np.uint8)
    for strength in ({"rotation": 20}, {"noise": 0.5}, {"elastic": 0.05}, {"hue": 90}, {"cutout": 0.5}):
        for share in (0, 0.3, 1):
            how = Augmentation(share=share, **strength)
            versions = changed(image, mask, how, 400)
            found = np.mean([not np.array_equal(new_image, image) for new_image, _ in versions])
            assert found == pytest.approx(share, abs=0.08)


def test_holes_are_cut_in_the_image_and_not_in_the_mask(rng):
    image, mask = planted(64, 64, rng)
    for new_image, new_mask in changed(image, mask, Augmentation(cutout=0.25, share=1), 30):
        np.testing.assert_array_equal(new_mask, mask)
        assert (new_image != image).any(-1).mean() <= 3 * 0.25**2


CORNERS = [(0, 0), (0, 59), (39, 0), (39, 59), (20, 59)]


@pytest.mark.parametrize("pixel", [*CORNERS, (7, 31)])
def test_a_crop_around_foreground_holds_the_only_foreground_pixel(pixel):
    image, mask = one_pixel(40, 60, *pixel)
    for new_image, new_mask in changed(image, mask, Augmentation(), 50, around_foreground=True):
        assert new_mask.any()
        places = new_image[new_mask[..., 0] == 1][:, :2] / 3
        assert (abs(places - pixel) < 0.8).all()
        assert (new_image[..., 2] == 200).all()  # nothing from outside
    assert all(new_mask.any() for _, new_mask in changed(image, mask, LIGHT, 50, around_foreground=True))


@pytest.mark.parametrize("pixel", [(1, 1), (1, 62), (30, 30), (62, 33)])
def test_no_further_move_takes_that_pixel_out_of_sight(pixel):
    image, mask = one_pixel(64, 64, *pixel)
    mask[pixel[0] - 1 : pixel[0] + 2, pixel[1] - 1 : pixel[1] + 2] = 1
    assert all(new_mask.any() for _, new_mask in changed(image, mask, MOVES["all"], 100, around_foreground=True))


@pytest.mark.parametrize("pixel", CORNERS)
def test_a_crop_around_foreground_is_half_to_all_of_the_image_and_inside_it(pixel):
    image, mask = one_pixel(40, 60, *pixel)
    sides = []
    for new_image, _ in changed(image, mask, Augmentation(), 50, around_foreground=True):
        new_image = new_image.astype(int)
        height = (new_image[-1, 0, 0] - new_image[0, 0, 0]) / (3 * 39)
        width = (new_image[0, -1, 1] - new_image[0, 0, 1]) / (3 * 59)
        assert height == pytest.approx(width, abs=0.03)
        sides.append(height)
    assert 0.48 < min(sides) < 0.6
    assert 0.9 < max(sides) <= 1


def test_every_foreground_pixel_is_as_likely_to_be_cropped_around():
    image, mask = one_pixel(64, 64, 63, 63)
    mask[:3, :3] = 1
    crops = np.stack([new_image for new_image, _ in changed(image, mask, Augmentation(), 300, around_foreground=True)])
    first, last = crops[:, 0, 0, 0] / 3, crops[:, -1, -1, 0] / 3
    with_nine, with_one = ((first <= 2) & (last < 63)).sum(), ((first > 2) & (last == 63)).sum()
    assert 0.8 < with_nine / (with_nine + with_one) < 0.97


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("how", FOREGROUND_CROPS.values(), ids=FOREGROUND_CROPS)
def test_a_mask_without_foreground_is_cropped_as_usual(how, value, rng):
    image, mask = rng.integers(0, 256, (32, 32, 3), np.uint8), np.full((32, 32, 1), value, np.uint8)
    for some, others in zip(changed(image, mask, how, 10, True), changed(image, mask, how, 10), strict=True):
        np.testing.assert_array_equal(some[0], others[0])
        np.testing.assert_array_equal(some[1], others[1])


def numbered(count, size):
    """A batch whose images and masks say in each pixel which of them it is from, and from which row and column."""
    rows, columns = np.indices(size)
    images = np.stack([np.stack([np.full(size, n), rows, columns], -1) for n in range(count)]).astype(np.uint8)
    return images, np.stack([(rows + columns + n) % 7 for n in range(count)]).astype(np.uint8)[..., None]


def test_a_mosaic_is_four_images_as_they_are_each_in_a_corner():
    images, masks = numbered(6, (40, 60))
    how = Augmentation(mosaic=1)
    for batch in range(20):
        made, made_masks = augment_batch(images, masks, how, (0, 0, batch))
        assert (made.shape, made_masks.shape) == (images.shape, masks.shape)
        for place, (image, mask) in enumerate(zip(made.astype(int), made_masks, strict=True)):
            assert image[0, 0, 0] == place
            np.testing.assert_array_equal(mask[..., 0], image.sum(-1) % 7)  # mask and image moved alike
            # Where two meet, rows or columns do not go on; else they do, one by one.
            seams = [(np.diff(image, axis=axis)[..., 1 + axis] != 1).any(1 - axis) for axis in (0, 1)]
            for seam, side in zip(seams, (40, 60), strict=True):
                assert seam.sum() <= 1
                assert not seam[: side // 4 - 2].any()
                assert not seam[-side // 4 + 2 :].any()
            assert len(np.unique(image[..., 0])) <= 4


def test_a_share_of_the_images_are_mosaics_and_those_spared_are_none():
    images, masks = numbered(8, (16, 16))
    how = Augmentation(mosaic=0.25)
    made = np.stack([augment_batch(images, masks, how, (0, 0, batch), spared=3)[0] for batch in range(200)])
    other = (made != images).any((2, 3, 4)).mean(0)
    assert other[:3].tolist() == [0, 0, 0]
    assert (abs(other[3:] - 0.25) < 0.12).all()
    np.testing.assert_array_equal(augment_batch(images, masks, Augmentation(), (0, 0, 0))[0], images)


def test_a_preset_is_found_by_its_name_and_others_are_refused():
    assert find_augmentation("none") == Augmentation()
    assert find_augmentation(HEAVY) is HEAVY
    message = r"augment: 'strong' is not allowed; expected none, light, medium, heavy, or a kseg.data.Augmentation"
    with pytest.raises(KsegError, match=message):
        find_augmentation("strong")


def test_each_preset_is_at_least_as_strong_as_the_one_before():
    for weaker, stronger in ((Augmentation(), LIGHT), (LIGHT, MEDIUM), (MEDIUM, HEAVY)):
        for field in dataclasses.fields(Augmentation):
            one, other = getattr(weaker, field.name), getattr(stronger, field.name)
            assert one >= other if field.name == "crop" else one <= other


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop": 0}, "crop: 0 is not allowed; expected 0.05 to 1"),
        ({"brightness": 0.8}, "brightness: 0.8 is not allowed; expected 1 to 10"),
        ({"noise": float("nan")}, "noise: nan is not allowed; expected 0 to 5"),
        ({"share": 1.5}, "share: 1.5 is not allowed; expected 0 to 1"),
        ({"elastic": 0.2}, "elastic: 0.2 is not allowed; expected 0 to 0.05"),
    ],
)
def test_strengths_beyond_their_limits_are_refused(setting, message):
    with pytest.raises(KsegError, match=message):
        Augmentation(**setting)


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Augmentation)])
def test_every_strength_has_limits_and_is_named(field):
    with pytest.raises(KsegError, match=f"{field}: -1 is not allowed; expected "):
        Augmentation(**{field: -1})
    if field != "share":
        assert str(dataclasses.replace(Augmentation(), **{field: getattr(HEAVY, field)})) in str(HEAVY)
