import io

import matplotlib.colors
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from scipy.spatial.transform import Rotation

from kseg.data import Augmentation
from kseg.data.transforms import photometry

pytestmark = pytest.mark.backend_free

CHANNELS = [1, 2, 3, 4, 5, 16]


def picture(rng, size=(64, 64), channels=3, low=0, high=256):
    """Smooth, so that it can be compressed, and in colours."""
    coarse = rng.uniform(low, high, (8, 8, channels))
    factors = (size[0] / 8, size[1] / 8, 1)
    return np.clip(ndimage.zoom(coarse, factors, order=1), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("brightness", "contrast", "gamma"), [(1.25, 1, 1), (1, 0.8, 1), (1, 1, 1.5), (0.7, 1.6, 0.6)])
def test_light_is_contrast_about_the_mean_then_brightness_then_gamma(brightness, contrast, gamma, channels, rng):
    image = picture(rng, channels=channels)
    values = image.astype(float)
    values = np.clip(brightness * ((values - values.mean()) * contrast + values.mean()), 0, 255)
    expected = values.max() * (values / values.max()) ** gamma
    np.testing.assert_array_equal(photometry.change_light(image, brightness, contrast, gamma), np.rint(expected))


@pytest.mark.parametrize("gamma", [0.5, 2])
def test_gamma_leaves_black_and_the_brightest_value_where_they_are(gamma, rng):
    image = rng.integers(0, 21, (64, 64, 3), np.uint8)
    bent = photometry.change_light(image, 1, 1, gamma)
    assert (bent.min(), bent.max()) == (0, 20)
    assert (bent.mean() < image.mean()) == (gamma > 1)
    black = np.zeros((8, 8, 3), np.uint8)
    np.testing.assert_array_equal(photometry.change_light(black, 1.2, 1.2, gamma), black)


@pytest.mark.parametrize("setting", ["brightness", "contrast", "gamma"])
def test_factors_go_from_their_reciprocal_to_themselves(setting, rng, monkeypatch):
    drawn = []
    monkeypatch.setattr(photometry, "change_light", lambda image, *factors: drawn.append(factors) or image)
    how = Augmentation(**{setting: 1.5})
    for _ in range(1000):
        photometry.change_values(np.zeros((4, 4, 3), np.uint8), how, rng)
    place = ["brightness", "contrast", "gamma"].index(setting)
    logs = np.log(drawn) / np.log(1.5)
    assert (logs[:, [other for other in range(3) if other != place]] == 0).all()
    assert -1 <= logs[:, place].min() < -0.98
    assert 0.98 < logs[:, place].max() <= 1
    assert abs(logs[:, place].mean()) < 0.06


@pytest.mark.parametrize("degrees", [-30, 10, 77, 180])
def test_hue_is_turned_by_so_many_degrees(degrees, rng):
    image = picture(rng, low=80, high=170)  # nothing has to be clipped
    turned = photometry.rotate_hue(image, degrees)
    axis = np.radians(degrees) / np.sqrt(3) * np.ones(3)
    expected = Rotation.from_rotvec(axis).apply(image.reshape(-1, 3)).reshape(image.shape)
    assert abs(turned - expected).max() < 0.7  # OpenCV rounds the matrix too
    before, after = (matplotlib.colors.rgb_to_hsv(x / 255) for x in (image, turned))
    colourful = (before[..., 1] > 0.3) & (after[..., 1] > 0.3)
    assert colourful.sum() > 200
    moved = (after[..., 0] - before[..., 0] - degrees / 360 + 0.5) % 1 - 0.5
    assert abs(moved[colourful] * 360).max() < 4


def test_red_becomes_green_and_grey_stays(rng):
    image = picture(rng)
    np.testing.assert_array_equal(photometry.rotate_hue(image, 120), np.roll(image, 1, -1))
    grey = np.repeat(image[..., :1], 3, -1)
    assert np.abs(photometry.rotate_hue(grey, 50).astype(int) - grey).max() <= 1


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_what_has_no_hue_is_left_alone(channels, rng):
    image = picture(rng, channels=channels)
    np.testing.assert_array_equal(photometry.rotate_hue(image, 90), image)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("deviation", [0.6, 1.0, 2.5])
def test_blur_is_a_gaussian_of_that_deviation(deviation, channels, rng):
    image = rng.integers(0, 256, (40, 50, channels), np.uint8)
    expected = ndimage.gaussian_filter(image.astype(float), (deviation, deviation, 0), mode="mirror", truncate=3)
    assert np.abs(photometry.blur(image, deviation) - expected).max() < 2


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("deviation", [1, 4, 15, 40])
def test_noise_is_normal_and_has_the_deviation_that_was_asked_for(deviation, channels, rng):
    image = np.full((128, 128, channels), 128, np.uint8)
    noise = photometry.add_noise(image, deviation, rng).astype(float) - 128
    assert noise.std() == pytest.approx(np.sqrt(deviation**2 + 1 / 12), rel=0.03)  # whole numbers add 1/12
    assert abs(noise.mean()) < 0.05 * deviation
    if deviation > 1:
        assert (abs(noise) > 2 * deviation).mean() == pytest.approx(0.0455, abs=0.03)
    apart = noise.reshape(-1, channels)
    if channels > 1:
        assert abs(np.corrcoef(apart.T) - np.eye(channels)).max() < 0.05
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.05


def test_noise_ends_at_black_and_white(rng):
    for value in (0, 255):
        noisy = photometry.add_noise(np.full((64, 64, 3), value, np.uint8), 10, rng)
        assert abs(noisy.astype(int) - value).max() < 40


@pytest.mark.parametrize("quality", [30, 60, 90])
def test_compression_is_that_of_a_jpeg(quality, rng):
    image = picture(rng)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    expected = np.asarray(Image.open(file)).astype(int)
    assert np.abs(photometry.compress(image, quality) - expected).mean() < 1  # red and blue changed over: 40


@pytest.mark.parametrize("channels", CHANNELS)
def test_a_lower_quality_loses_more(channels, rng):
    image = picture(rng, channels=channels)
    lost = [np.abs(photometry.compress(image, quality).astype(int) - image).mean() for quality in (5, 30, 95)]
    assert lost[0] > lost[1] > lost[2]
    assert lost[2] < 4


@pytest.mark.parametrize("channels", CHANNELS)
def test_holes_are_of_the_mean_colour_and_no_larger_than_they_may_be(channels, rng):
    image = picture(rng, (64, 80), channels)
    mean = np.rint(image.mean((0, 1)))
    shares = []
    for _ in range(50):
        cut = photometry.cut_holes(image, 0.3, rng)
        holes = (abs(cut.astype(int) - mean) <= 1).all(-1)
        assert (cut[~holes] == image[~holes]).all()
        changed = (cut != image).any(-1)
        assert not (changed & ~holes).any()
        shares.append(changed.mean())
    assert 0.5 * 0.3**2 < max(shares) <= 3 * 0.3**2


def test_order_and_strengths_of_what_is_drawn(monkeypatch, rng):
    """Each at most as strong as it says, in the order of a scene, a lens, a sensor, a file."""
    drawn = []
    names = ["rotate_hue", "blur", "add_noise", "compress", "cut_holes"]
    for name in names:
        monkeypatch.setattr(
            photometry, name, lambda image, strength, *rest, name=name: drawn.append((name, strength)) or image
        )
    image = rng.integers(0, 256, (8, 8, 3), np.uint8)
    how = Augmentation(hue=20, blur=2, noise=0.5, jpeg=60, cutout=0.2, share=1)
    for _ in range(500):
        photometry.change_values(image, how, rng)
    assert [name for name, _ in drawn] == names * 500
    limits = {"rotate_hue": (-20, 20), "blur": (0, 2), "add_noise": (0, 0.5 * image.std()), "compress": (40, 100)}
    for name, (least, most) in limits.items():
        strengths = [strength for drawn_name, strength in drawn if drawn_name == name]
        assert least <= min(strengths) < least + 0.05 * (most - least)
        assert most - 0.05 * (most - least) < max(strengths) <= most
