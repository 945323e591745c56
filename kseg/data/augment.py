"""Random changes to an image and its mask: one draw an example, one geometry for both."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_SMALLEST_CROP = 0.75  # of height and width
_SMALLEST_FOREGROUND_CROP = 0.5  # likewise
_BRIGHTNESS = 1.25  # a factor, at most; at least its reciprocal. A shift would blacken a dark image.
_CONTRAST = 1.25  # likewise, about the mean

# Crops around foreground, which may touch an edge, end this far inside it: on processors that fuse multiplying and
# adding (arm64), rounding takes half of the samples on an edge outside, where they are 0.
_MARGIN = 1e-6


def augment(
    image: "tf.Tensor", mask: "tf.Tensor", seed: "tf.Tensor", around_foreground: "bool | tf.Tensor" = False
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Flip, turn by quarters, crop and resize; then change brightness and contrast of the image.

    The same seed gives the same result, whatever runs beside it. A mask is never interpolated. An
    image that is not square is turned by halves only.

    Args:
        image: uint8 `(H, W, 3)`.
        mask: uint8 `(H, W, 1)`.
        seed: integers `(2,)`.
        around_foreground: whether the crop is one of `crop_around_foreground`; it is the usual one where the
            mask has no foreground.

    Returns:
        An image and a mask of the same shapes and dtypes.
    """
    import tensorflow as tf

    *geometry, brightness, contrast = tf.unstack(tf.random.stateless_uniform((8,), seed))
    image, mask = _geometry(image, mask, geometry, seed, around_foreground)
    return _photometry(image, 2 * brightness - 1, 2 * contrast - 1), mask


def crop_around_foreground(image: "tf.Tensor", mask: "tf.Tensor", seed: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """Crop half to all of height and width, with a random foreground pixel in it, and resize; nothing else.

    Every foreground pixel of the mask is as likely as any other to be the one, and every place of the crop around
    it too. Without foreground nothing changes. Arguments and results as in `augment`.
    """
    import tensorflow as tf

    _, _, _, *place, _, _ = tf.unstack(tf.random.stateless_uniform((8,), seed))
    return tf.cond(
        tf.reduce_any(mask == 1),
        lambda: _resampled(image, mask, *_foreground_crop(mask, place, seed)),
        lambda: (image, mask),
    )


def _geometry(
    image: "tf.Tensor",
    mask: "tf.Tensor",
    draws: list["tf.Tensor"],
    seed: "tf.Tensor",
    around_foreground: "bool | tf.Tensor",
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Flips, quarter turns and the crop, as one sampling: a transposition, and a box that may run backwards.

    A quarter turn is a transposition and a flip, so that these two give all eight symmetries of a square.
    """
    import tensorflow as tf

    turn, flip_y, flip_x, *place = draws
    height, width = image.shape[:2]
    if height == width:
        transpose = turn < 0.5
        image = tf.cond(transpose, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        mask = tf.cond(transpose, lambda: tf.transpose(mask, (1, 0, 2)), lambda: mask)

    ends_y, ends_x = tf.cond(
        tf.reduce_any(mask == 1) & around_foreground,
        lambda: _foreground_crop(mask, place, seed),
        lambda: _usual_crop(place),
    )
    ends_y = tf.where(flip_y < 0.5, tf.reverse(ends_y, [0]), ends_y)
    ends_x = tf.where(flip_x < 0.5, tf.reverse(ends_x, [0]), ends_x)
    return _resampled(image, mask, ends_y, ends_x)


def _usual_crop(place: list["tf.Tensor"]) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Where a crop anywhere begins and ends, in height `(2,)` and in width `(2,)`, in 0..1."""
    import tensorflow as tf

    scale, y, x = place
    side = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * scale
    return tf.stack([y * (1 - side), y * (1 - side) + side]), tf.stack([x * (1 - side), x * (1 - side) + side])


def _foreground_crop(mask: "tf.Tensor", place: list["tf.Tensor"], seed: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """Where a crop around one of the foreground pixels, of which there has to be one, begins and ends."""
    import tensorflow as tf

    scale, *corner = place
    side = _SMALLEST_FOREGROUND_CROP + (1 - _SMALLEST_FOREGROUND_CROP) * scale

    foreground = tf.where(mask == 1)[:, :2]
    count = tf.shape(foreground, tf.int64)[0]
    # Folded, since the seed itself would draw the number that the turn is drawn from.
    folded = tf.random.experimental.stateless_fold_in(seed, tf.constant(0, tf.int64))
    pixel = foreground[tf.random.stateless_uniform((), folded, maxval=count, dtype=tf.int64)]
    last = tf.maximum(tf.shape(mask)[:2] - 1, 1)
    position = tf.cast(pixel, tf.float32) / tf.cast(last, tf.float32)

    earliest, latest = tf.maximum(position - side, 0.0), tf.minimum(position, 1 - side)
    begin = earliest + tf.stack(corner) * (latest - earliest)
    ends = tf.clip_by_value(tf.stack([begin, begin + side], axis=1), _MARGIN, 1 - _MARGIN)
    return ends[0], ends[1]


def _resampled(
    image: "tf.Tensor", mask: "tf.Tensor", ends_y: "tf.Tensor", ends_x: "tf.Tensor"
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """The box between these ends, resized to the whole: a mask by nearest neighbour."""
    import tensorflow as tf

    box = tf.stack([ends_y[0], ends_x[0], ends_y[1], ends_x[1]])[None]

    def sample(picture: tf.Tensor, method: str) -> tf.Tensor:
        sampled = tf.image.crop_and_resize(picture[None], box, [0], image.shape[:2], method)[0]
        return tf.cast(tf.round(sampled), tf.uint8)

    return sample(image, "bilinear"), sample(mask, "nearest")


def _photometry(image: "tf.Tensor", brightness: "tf.Tensor", contrast: "tf.Tensor") -> "tf.Tensor":
    """Scale by `brightness`, and about the mean by `contrast`; both in [-1, 1], where 0 changes nothing."""
    import tensorflow as tf

    values = tf.cast(image, tf.float32) * _BRIGHTNESS**brightness
    mean = tf.reduce_mean(values)
    values = (values - mean) * _CONTRAST**contrast + mean
    return tf.cast(tf.round(tf.clip_by_value(values, 0.0, 255.0)), tf.uint8)
