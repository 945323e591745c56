"""What the pixels of an image become, where they are: as a scene, then a lens, a sensor and a file would change them.

Images are uint8 `(H, W, C)` here, and so are the results; no argument is written to.
"""

from statistics import NormalDist

import cv2
import numpy as np

from kseg.data.transforms.strengths import Augmentation

_HOLES = 3

# The middles of 256 equally likely parts of the normal distribution, brought to its standard deviation.
_NORMAL = np.array([NormalDist().inv_cdf((part + 0.5) / 256) for part in range(256)])
_NORMAL /= _NORMAL.std()


def recolour(image: np.ndarray, how: Augmentation, rng: np.random.Generator) -> np.ndarray:
    """Change light, hue, sharpness, noise and compression, and cut holes, as much as `how` says."""
    if (how.brightness, how.contrast, how.gamma) != (1, 1, 1):
        factors = np.array([how.brightness, how.contrast, how.gamma]) ** rng.uniform(-1, 1, 3)
        image = light(image, *factors.tolist())
    if how.hue and rng.random() < how.share:
        image = turn_hue(image, how.hue * rng.uniform(-1, 1))
    if how.blur and rng.random() < how.share:
        image = blur(image, how.blur * rng.random())
    if how.noise and rng.random() < how.share:
        image = add_noise(image, how.noise * rng.random() * cv2.meanStdDev(_flat(image))[1].item(), rng)
    if how.jpeg and rng.random() < how.share:
        image = compress(image, round(100 - how.jpeg * rng.random()))
    if how.cutout and rng.random() < how.share:
        image = cut_holes(image, how.cutout, rng)
    return image


def light(image: np.ndarray, brightness: float, contrast: float, gamma: float) -> np.ndarray:
    """Scale values about the mean of all by `contrast`, and all by `brightness`; then bend them by `gamma`.

    Gamma is the exponent of values as a share of the brightest there is: of 255, it would blacken a dark image.
    """
    flat = _flat(image)
    mean, brightest = cv2.mean(flat)[0], int(cv2.minMaxLoc(flat)[1])
    values = np.clip(brightness * (contrast * (np.arange(256) - mean) + mean), 0, 255)
    top = max(values[brightest], 1)
    table = np.rint(np.minimum(top * (values / top) ** gamma, 255)).astype(np.uint8)
    return cv2.LUT(flat, table).reshape(image.shape)


def turn_hue(image: np.ndarray, degrees: float) -> np.ndarray:
    """Turn the colours about grey, so that red becomes green in 120 degrees; images of other than 3 channels stay.

    A turn of the cube of colours: grey and the mean of the channels stay, where nothing has to be clipped. It changes
    the hue of HSV by the same angle to within a degree or two, at a tenth of the time, and is not coarse in the dark.
    """
    if image.shape[2] != 3:
        return image
    # Rodrigues' formula, about the axis (1, 1, 1) / sqrt(3).
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees)) / np.sqrt(3)
    to_itself, to_next, to_one_before = (1 + 2 * cosine) / 3, (1 - cosine) / 3 + sine, (1 - cosine) / 3 - sine
    row = [to_itself, to_one_before, to_next]
    return cv2.transform(image, np.array([np.roll(row, shift) for shift in range(3)]))


def blur(image: np.ndarray, deviation: float) -> np.ndarray:
    """Blur by a Gaussian of that standard deviation, in pixels."""
    return cv2.GaussianBlur(image, (0, 0), deviation).reshape(image.shape) if deviation else image


def add_noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Add normal noise of that standard deviation, of 255, to every value, apart from every other."""
    flat = _flat(image)
    # Random bytes and a table take a tenth of the time that drawing from the normal distribution does.
    parts = np.frombuffer(rng.bytes(flat.size), np.uint8).reshape(flat.shape)
    table = np.rint(deviation * _NORMAL).astype(np.int16)
    return cv2.add(flat, cv2.LUT(parts, table), dtype=cv2.CV_8U).reshape(image.shape)


def compress(image: np.ndarray, quality: int) -> np.ndarray:
    """Store as JPEG of a quality of 1 to 100, and read that: three channels as a colour image, others one by one."""

    def stored(picture: np.ndarray, flag: int) -> np.ndarray:
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        return cv2.imdecode(file, flag)

    if image.shape[2] == 3:
        return stored(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), cv2.IMREAD_COLOR_RGB)
    return cv2.merge([stored(channel, cv2.IMREAD_GRAYSCALE) for channel in cv2.split(image)]).reshape(image.shape)


def cut_holes(image: np.ndarray, largest: float, rng: np.random.Generator) -> np.ndarray:
    """Fill three boxes with the image's mean colour: their sides are up to `largest`, a share of the image's."""
    shape = np.array(image.shape[:2])
    mean = cv2.resize(image, (1, 1), interpolation=cv2.INTER_AREA)
    image = image.copy()
    for _ in range(_HOLES):
        height, width = np.rint(shape * largest * rng.random(2)).astype(int)
        top, left = rng.integers(0, shape - (height, width), endpoint=True)
        image[top : top + height, left : left + width] = mean
    return image


def _flat(image: np.ndarray) -> np.ndarray:
    """`(H, W x C)`: for what OpenCV does to each value alone, or to up to four channels only."""
    return np.ascontiguousarray(image).reshape(len(image), -1)
