"""Random changes to an image and its mask: one draw an example, one geometry for both."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf

_SMALLEST_CROP = 0.75  # of height and width
_BRIGHTNESS = 1.25  # a factor, at most; at least its reciprocal. A shift would blacken a dark image.
_CONTRAST = 1.25  # likewise, about the mean


def augment(image: "tf.Tensor", mask: "tf.Tensor", seed: "tf.Tensor") -> tuple["tf.Tensor", "tf.Tensor"]:
    """Flip, turn by quarters, crop and resize; then change brightness and contrast of the image.

    The same seed gives the same result, whatever runs beside it. A mask is never interpolated. An
    image that is not square is turned by halves only.

    Args:
        image: uint8 `(H, W, 3)`.
        mask: uint8 `(H, W, 1)`.
        seed: integers `(2,)`.

    Returns:
        An image and a mask of the same shapes and dtypes.
    """
    import tensorflow as tf

    turn, *place, brightness, contrast = tf.unstack(tf.random.stateless_uniform((8,), seed))
    image, mask = _geometry(image, mask, turn, place)
    return _photometry(image, 2 * brightness - 1, 2 * contrast - 1), mask


def _geometry(
    image: "tf.Tensor", mask: "tf.Tensor", turn: "tf.Tensor", place: list["tf.Tensor"]
) -> tuple["tf.Tensor", "tf.Tensor"]:
    """Flips, quarter turns and the crop, as one sampling: a transposition, and a box that may run backwards.

    A quarter turn is a transposition and a flip, so that these two give all eight symmetries of a square.
    """
    import tensorflow as tf

    height, width = image.shape[:2]
    if height == width:
        transpose = turn < 0.5
        image = tf.cond(transpose, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
        mask = tf.cond(transpose, lambda: tf.transpose(mask, (1, 0, 2)), lambda: mask)

    flip_y, flip_x, scale, y, x = place
    side = _SMALLEST_CROP + (1 - _SMALLEST_CROP) * scale
    ends_y = tf.stack([y * (1 - side), y * (1 - side) + side])
    ends_x = tf.stack([x * (1 - side), x * (1 - side) + side])
    ends_y = tf.where(flip_y < 0.5, tf.reverse(ends_y, [0]), ends_y)
    ends_x = tf.where(flip_x < 0.5, tf.reverse(ends_x, [0]), ends_x)
    box = tf.stack([ends_y[0], ends_x[0], ends_y[1], ends_x[1]])[None]

    def sample(picture: tf.Tensor, method: str) -> tf.Tensor:
        sampled = tf.image.crop_and_resize(picture[None], box, [0], (height, width), method)[0]
        return tf.cast(tf.round(sampled), tf.uint8)

    return sample(image, "bilinear"), sample(mask, "nearest")


def _photometry(image: "tf.Tensor", brightness: "tf.Tensor", contrast: "tf.Tensor") -> "tf.Tensor":
    """Scale by `brightness`, and about the mean by `contrast`; both in [-1, 1], where 0 changes nothing."""
    import tensorflow as tf

    values = tf.cast(image, tf.float32) * _BRIGHTNESS**brightness
    mean = tf.reduce_mean(values)
    values = (values - mean) * _CONTRAST**contrast + mean
    return tf.cast(tf.round(tf.clip_by_value(values, 0.0, 255.0)), tf.uint8)
