"""The order of the examples in an epoch."""

from collections.abc import Iterator

import numpy as np

Key = tuple[int, int]
"""Seed and epoch: they decide an order."""

_AT_ONCE = 65536  # positions; an epoch of 10^9 examples is no list of them
_ROUNDS = 4
_LEAST_BITS = 8  # of half a block
_FIRST_KEY = 498247692  # TensorFlow's index_shuffle puts it before seed and epoch
_CONSTANTS = 0x7369F885192C0EF5  # one bit for each round key after the third


def index_order(count: int, key: Key | None, start: int = 0) -> Iterator[tuple[int]]:
    """Yield the indices 0 to `count` - 1 as tuples of one, in ascending order or in the order of a key.

    Args:
        count: the number of examples.
        key: decides the order; None: ascending.
        start: begin at this position.
    """
    for first in range(start, count, _AT_ONCE):
        positions = np.arange(first, min(first + _AT_ONCE, count))
        yield from ((index,) for index in (positions if key is None else permute(positions, key, count)).tolist())


def permute(positions: np.ndarray, key: Key, size: int) -> np.ndarray:
    """Return the index at each position of a permutation of 0 to `size` - 1, int64; needs no list of the others.

    It is that of `tf.random.experimental.index_shuffle`: four rounds of Simon, a block cipher (Beaulieu et al. 2013),
    on blocks of 16 bits and more, repeated until a number is below `size`. Of 65537 or 262145 indices TensorFlow's
    repeats one; this does not.

    Args:
        positions: integers of any shape.
        key: decides the permutation.
        size: how many indices there are, at most 2^62.

    >>> permute(np.arange(5), (0, 1), 5).tolist()
    [1, 0, 2, 4, 3]
    """
    bits = max(_LEAST_BITS, -(-(size - 1).bit_length() // 2))
    half, keys = np.uint64(2**bits - 1), _round_keys(key, bits)

    def turn(word: np.ndarray, by: int) -> np.ndarray:
        return ((word << np.uint64(by)) | (word >> np.uint64(bits - by))) & half

    def mix(word: np.ndarray) -> np.ndarray:
        return (turn(word, 1) & turn(word, 8)) ^ turn(word, 2)

    def encrypt(numbers: np.ndarray) -> np.ndarray:
        numbers = numbers.astype(np.uint64)
        left, right = numbers >> np.uint64(bits), numbers & half
        for one, other in zip(keys[::2], keys[1::2], strict=True):
            left ^= mix(right) ^ one
            right ^= mix(left) ^ other
        return ((left << np.uint64(bits)) | right).astype(np.int64)

    indices = encrypt(positions)
    if bits == _LEAST_BITS:
        # Few of so many numbers may be below the size, so we follow all at once, twice as far each time.
        numbers = np.arange(2 ** (2 * bits))
        below = np.where(numbers < size, numbers, encrypt(numbers))
        for _ in range(2 * bits):
            below = below[below]
        return below[indices]
    while (outside := indices >= size).any():
        indices[outside] = encrypt(indices[outside])
    return indices


def _round_keys(key: Key, bits: int) -> list[np.uint64]:
    """Return the key of each round, for words of so many bits."""
    half = 2**bits - 1

    def turn_right(word: int, by: int) -> int:
        return ((word >> by) | (word << (bits - by))) & half

    keys = [part & half for part in (_FIRST_KEY, *key)]
    for number in range(_ROUNDS - len(keys)):
        constant = (half ^ 3) ^ (_CONSTANTS >> number & 1)
        keys.append(constant ^ keys[-3] ^ turn_right(keys[-1], 3) ^ turn_right(keys[-1], 4))
    return [np.uint64(word) for word in keys]
