"""The order of the examples in an epoch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import tensorflow as tf


def index_dataset(count: int, key: "tf.Tensor | None") -> "tf.data.Dataset":
    """Return the indices 0 to `count` - 1 as int64 tuples of one, in ascending order or in the order of a key.

    Args:
        count: the number of examples.
        key: int64 `(2,)`, seed and epoch, or None.
    """
    import tensorflow as tf

    # One tensor of all indices: calling a function for each index costs more than eight bytes for each.
    positions = tf.range(count, dtype=tf.int64)
    return tf.data.Dataset.from_tensor_slices((positions if key is None else permute(positions, key, count),))


def permute(position: "tf.Tensor", key: "tf.Tensor", size: "int | tf.Tensor") -> "tf.Tensor":
    """Return the index at each position of a permutation of 0 to `size` - 1, int64; needs no shuffle buffer.

    Args:
        position: int64, of any shape.
        key: int64 `(2,)`, seed and epoch: decides the permutation.
        size: how many indices there are.
    """
    import tensorflow as tf

    return tf.random.experimental.index_shuffle(position, tf.cast(key, tf.uint32), size - 1)
