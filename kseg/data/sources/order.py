"""The order of the examples in an epoch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def by_place(count: int, key: "tf.Tensor | None") -> "tf.data.Dataset":
    """The indices of so many examples, as tuples of one, in their own order or in that of a key."""
    import tensorflow as tf

    # All at once: a function that a data set calls for every element costs more than the eight bytes of a place.
    places = tf.range(count, dtype=tf.int64)
    return tf.data.Dataset.from_tensor_slices((places if key is None else shuffled(places, key, count),))


def shuffled(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Which of `size` examples stand at these positions of the order of `key`: a permutation without a buffer."""
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)
