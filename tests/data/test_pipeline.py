import itertools

import numpy as np
import pytest
from PIL import Image

from kseg.data import Foreground, find_foreground, open_sources, pipeline, training_batches, validation_batches
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

SETTINGS = {"image_size": (16, 24), "batch_size": 3}


@pytest.fixture(params=["from memory", "streamed"])
def source(request, make_folder, pairs, monkeypatch):
    if request.param == "streamed":
        monkeypatch.setattr(pipeline, "_MEMORY_BYTES", 0)
    return open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]  # nine images


def batches_of(source, count, **settings):
    batches = training_batches(source, find_foreground(source), **{**SETTINGS, "seed": 5, **settings})
    return [(np.asarray(x), np.asarray(y)) for x, y in itertools.islice(batches.dataset, count)]


def greys(batches):
    """Which pictures came, in order: each is of one grey."""
    return [int(image[0, 0, 0]) for images, _ in batches for image in images]


def same(some, others):
    return all(np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(some, others, strict=True))


def test_batches_are_uint8_and_every_epoch_sees_every_image_in_another_order(source):
    batches = batches_of(source, 9, augmented=False)
    for images, masks in batches:
        assert (images.shape, images.dtype) == ((3, 16, 24, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((3, 16, 24, 1), np.uint8)
        assert set(np.unique(masks)) <= {0, 1}
    epochs = [greys(batches[i : i + 3]) for i in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_a_run_that_starts_at_an_epoch_sees_what_a_whole_run_sees_in_it(source):
    assert same(batches_of(source, 9)[6:], batches_of(source, 3, start_epoch=2))


def test_order_and_augmentation_follow_the_seed(source):
    assert same(batches_of(source, 4), batches_of(source, 4))
    assert not same(batches_of(source, 4), batches_of(source, 4, seed=6))
    assert not same(batches_of(source, 4), batches_of(source, 4, augmented=False))


def test_memory_and_streaming_give_the_same_batches(make_folder, pairs, monkeypatch):
    source = open_sources(str(make_folder(pairs)))[0]
    from_memory = batches_of(source, 5)
    monkeypatch.setattr(pipeline, "_MEMORY_BYTES", 0)
    assert same(batches_of(source, 5), from_memory)


def test_training_batches_have_one_size(source):
    batches = training_batches(source, find_foreground(source), image_size=(16, 16), batch_size=4, seed=0)
    assert batches.steps == 2
    assert {len(images) for images, _ in itertools.islice(batches.dataset, 7)} == {4}
    whole = training_batches(source, find_foreground(source), image_size=(16, 16), batch_size=64, seed=0)
    assert (whole.steps, len(next(iter(whole.dataset))[0])) == (1, 9)


def test_an_epoch_has_whole_executions(source):
    rule = find_foreground(source)
    settings = {"image_size": (16, 16), "batch_size": 2, "seed": 0}
    batches = training_batches(source, rule, **settings, steps_per_execution=3)
    assert batches.steps == 3  # of four
    second_epoch = [np.asarray(x) for x, _ in batches.dataset.take(6)][3:]
    expected = training_batches(source, rule, **settings, start_epoch=1).dataset.take(3)
    for images, (others, _) in zip(second_epoch, expected, strict=True):
        np.testing.assert_array_equal(images, others)
    with pytest.raises(KsegError, match=r"steps_per_execution: 5 is not allowed; .* has 4 batches an epoch"):
        training_batches(source, rule, **settings, steps_per_execution=5)


def test_validation_takes_every_image_once_in_the_order_of_the_source(source):
    batches = validation_batches(source, find_foreground(source), image_size=(16, 16), batch_size=4)
    for _ in range(2):
        seen = [(np.asarray(x), np.asarray(y)) for x, y in batches.dataset]
        assert [len(images) for images, _ in seen] == [4, 4, 1]
        assert greys(seen) == [10 * int(path.stem[-1]) for path in source.images]
    assert batches.steps == 3


def test_masks_are_resized_by_nearest_neighbour(source):
    # Values of 1 and 2 would become 1.5 between them; here the rule knows 0 and 255 only.
    for size in ((8, 8), (64, 64)):
        masks = np.concatenate(
            [y for _, y in validation_batches(source, find_foreground(source), image_size=size, batch_size=9).dataset]
        )
        assert set(np.unique(masks)) == {0, 1}


def test_a_mask_value_that_the_rule_does_not_know_is_an_error(source):
    rule = Foreground((255,), ignored=(), only=(0, 255))
    path = source.masks[4]
    height, width = np.asarray(Image.open(path)).shape
    Image.fromarray(np.full((height, width), 128, np.uint8)).save(path)
    with (
        pytest.raises(KsegError, match=r"holds a value besides \(0, 255\).*--foreground"),
        pipeline.readable_errors(source.name),
    ):
        list(validation_batches(source, rule, **SETTINGS).dataset)


def test_an_image_that_is_not_the_size_of_its_mask_is_named(source):
    path = source.masks[4]
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(path)
    with (
        pytest.raises(KsegError, match=rf"{source.images[4].name} is .* and its mask 7 x 5 \(width x height\)"),
        pipeline.readable_errors(source.name),
    ):
        list(validation_batches(source, Foreground((255,)), **SETTINGS).dataset)


def test_an_empty_source_is_refused(source):
    with pytest.raises(KsegError, match="is empty; expected at least one image"):
        validation_batches(source.take(0), Foreground((255,)), **SETTINGS)
