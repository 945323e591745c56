import pytest
import tensorflow as tf

from kseg.data.sources.order import index_dataset, permute

pytestmark = pytest.mark.backend_free


def order(count, key):
    return [int(index) for (index,) in index_dataset(count, key)]


@pytest.mark.parametrize("count", [1, 2, 9, 1000])
def test_an_epoch_has_every_index_once(count):
    assert order(count, None) == list(range(count))
    assert sorted(order(count, (3, 7))) == list(range(count))


def test_the_order_depends_on_seed_and_epoch_and_nothing_else():
    keys = [(0, 0), (0, 1), (1, 0), (5, 9)]
    orders = [tuple(order(50, key)) for key in keys]
    assert len(set(orders)) == 4
    assert orders == [tuple(order(50, key)) for key in keys]


def test_a_position_can_be_permuted_alone():
    key = tf.constant((2, 3), tf.int64)
    alone = [int(permute(tf.constant(position, tf.int64), key, 20)) for position in range(20)]
    assert alone == order(20, key)
