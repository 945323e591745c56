import itertools

import keras
import numpy as np
import pytest

from kseg.data.pipeline.batches import Batches


class Numbered:
    """Batches of two images that hold the number of their batch."""

    def __init__(self):
        self.opened, self.taken = [], []

    def read_from(self, number, end=None):
        self.opened.append(number)
        for batch in itertools.count(number) if end is None else range(number, end):
            self.taken.append(batch)
            yield np.full((2, 4, 4, 3), batch, np.uint8), np.zeros((2, 4, 4, 1), np.uint8)

    def endless(self, number, share):
        return self.read_from(number)


@pytest.fixture
def numbered():
    return Numbered()


@pytest.fixture
def model():
    images = keras.Input((None, None, 3))
    model = keras.Model(images, keras.layers.Conv2D(1, 1, kernel_initializer="ones", use_bias=False)(images))
    model.compile("sgd", "mse")
    return model


def first_pixels(batches):
    return [int(np.asarray(images)[0, 0, 0, 0]) for images, _ in batches]


def test_batches_are_read_one_after_the_other(numbered):
    dataset = Batches(numbered.endless, 3, True, "").dataset
    assert dataset.num_batches is None
    assert first_pixels(dataset[number] for number in range(5)) == [0, 1, 2, 3, 4]
    assert numbered.opened == [0]
    assert first_pixels([dataset[9], dataset[0], dataset[1]]) == [9, 0, 1]
    assert numbered.opened == [0, 9, 0]


def test_validation_ends_and_begins_again(numbered):
    batches = Batches(lambda number, share: numbered.read_from(number, 3), 3, False, "")
    assert batches.dataset.num_batches == 3
    for _ in range(2):
        assert first_pixels(batches.dataset) == first_pixels(batches) == [0, 1, 2]
    with pytest.raises(IndexError, match="Batch 3 of 3; expected 0 to 2"):
        batches.dataset[3]


def test_keras_sees_each_batch_once_in_its_order(numbered, model):
    validation = Batches(lambda number, share: numbered.read_from(number, 3), 3, False, "").dataset
    for _ in range(2):
        predicted = np.asarray(model.predict(validation, verbose=0))
        np.testing.assert_allclose(predicted[:, 0, 0, 0], [0, 0, 3, 3, 6, 6])


def test_a_fit_goes_through_all_epochs_without_beginning_again(numbered, model):
    batches = Batches(numbered.endless, 3, True, "")
    for _ in range(2):  # another fit begins again
        numbered.opened.clear()
        numbered.taken.clear()
        model.fit(batches.dataset, steps_per_epoch=batches.steps, epochs=4, shuffle=False, verbose=0)
        assert set(numbered.opened) == {0}
        begun = len(numbered.taken) - 1 - numbered.taken[::-1].index(0)  # Keras may look at some first, and begin again
        assert numbered.taken[begun:][:12] == list(range(12))
