"""Random changes to the values of an image: light, lens, sensor and file format, in this order.

Images and results are uint8 `(H, W, C)`; the arguments are not written to.
"""

from statistics import NormalDist

import cv2
import numpy as np

from kseg.data.transforms.strengths import Augmentation

_HOLES = 3

# The middles of 256 equally likely intervals of the normal distribution, scaled to a standard deviation of 1.
_NORMAL = np.array([NormalDist().inv_cdf((part + 0.5) / 256) for part in range(256)])
_NORMAL /= _NORMAL.std()


def change_values(image: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change light, hue, sharpness, noise and compression, and cut holes, by random strengths up to those of `how`."""
    if (how.brightness, how.contrast, how.gamma) != (1, 1, 1):
        factors = np.array([how.brightness, how.contrast, how.gamma]) ** rng.uniform(-1, 1, 3)
        image = change_light(image, *factors.tolist())
    if how.hue and rng.random() < how.share:
        image = rotate_hue(image, how.hue * rng.uniform(-1, 1))
    if how.blur and rng.random() < how.share:
        image = blur(image, how.blur * rng.random())
    if how.noise and rng.random() < how.share:
        image = add_noise(image, how.noise * rng.random() * cv2.meanStdDev(_flat(image))[1].item(), rng)
    if how.jpeg and rng.random() < how.share:
        image = compress(image, round(100 - how.jpeg * rng.random()))
    if how.cutout and rng.random() < how.share:
        image = cut_holes(image, how.cutout, rng)
    return image


def change_light(image: np.ndarray, brightness: float, contrast: float, gamma: float) -> np.ndarray:
    """Scale the distance from the mean by `contrast`, then all values by `brightness`, then raise them to `gamma`.

    For gamma, values are divided by the image's brightest value: divided by 255, a dark image would turn black.
    """
    flat = _flat(image)
    mean, brightest = cv2.mean(flat)[0], int(cv2.minMaxLoc(flat)[1])
    values = np.clip(brightness * (contrast * (np.arange(256) - mean) + mean), 0, 255)
    top = max(values[brightest], 1)
    table = np.rint(np.minimum(top * (values / top) ** gamma, 255)).astype(np.uint8)
    return cv2.LUT(flat, table).reshape(image.shape)


def rotate_hue(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate the hue: 120 degrees turn red into green. Images without exactly 3 channels are returned unchanged.

    Rotates RGB space around the grey axis; greys and the mean of the channels do not change, unless values are clipped.
    The HSV hue changes by the same angle to within two degrees. This takes a tenth of the time of a way through HSV,
    and does not round the hue of dark pixels.
    """
    if image.shape[2] != 3:
        return image
    # Rodrigues' rotation formula for the axis (1, 1, 1) / sqrt(3).
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / np.sqrt(3)
    to_itself, to_next, to_one_before = (1 + 2 * cosine) / 3, (1 - cosine) / 3 + sine, (1 - cosine) / 3 - sine
    row = [to_itself, to_one_before, to_next]
    return cv2.transform(image, np.array([np.roll(row, shift) for shift in range(3)]))


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """Blur with a Gaussian of this standard deviation, in pixels."""
    return cv2.GaussianBlur(image, (0, 0), deviation).reshape(image.shape) if deviation else image


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add independent Gaussian noise of this standard deviation, 0 to 255, to every value."""
    flat = _flat(image)
    # Random bytes and a table take a tenth of the time of drawing from the normal distribution.
    parts = np.frombuffer(rng.bytes(flat.size), np.uint8).reshape(flat.shape)
    table = np.rint(deviation * _NORMAL).astype(np.int16)
    return cv2.add(flat, cv2.LUT(parts, table), dtype=cv2.CV_8U).reshape(image.shape)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress as JPEG of quality 1 to 100 and decompress: three channels as a colour image, others one by one."""

    def encode_and_decode(picture: np.ndarray, flag: int) -> np.ndarray:
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(file, flag)
        assert decoded is not None, "OpenCV cannot read the JPEG it wrote"
        return decoded

    if image.shape[2] == 3:
        return encode_and_decode(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), cv2.IMREAD_COLOR_RGB)
    channels = [encode_and_decode(channel, cv2.IMREAD_GRAYSCALE) for channel in cv2.split(image)]
    return cv2.merge(channels).reshape(image.shape)


def cut_holes(image: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """Fill three random boxes with the image's mean colour; their sides are at most `largest` of the image's."""
    shape = np.array(image.shape[:2])
    mean = cv2.resize(image, (1, 1), interpolation=cv2.INTER_AREA)
    image = image.copy()
    for _ in range(_HOLES):
        height, width = np.rint(shape * largest * rng.random(2)).astype(int)
        top, left = rng.integers(0, shape - (height, width), endpoint=True)
        image[top : top + height, left : left + width] = mean
    return image


def _flat(image: np.ndarray) -> np.ndarray:
    """Return `(H, W x C)`, for OpenCV functions that take at most four channels and treat each value alone."""
    return np.ascontiguousarray(image).reshape(len(image), -1)
