import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from kseg import IGNORE
from kseg.data import (
    Augmentation,
    Foreground,
    find_foreground,
    open_sources,
    threads,
    training_batches,
    validation_batches,
)
from kseg.data.sources.order import index_order, permute
from kseg.data.transforms.augment import augment_batch, augment_example
from kseg.data.transforms.strengths import find_augmentation
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free

SETTINGS = {"image_size": (16, 24), "batch_size": 3}


@pytest.fixture(params=["memory", "disk", "none"])
def source(request, make_folder, pairs, monkeypatch):
    monkeypatch.setitem(SETTINGS, "cache", request.param)
    return open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]  # nine images


def batches_of(source, count, **settings):
    batches = training_batches(source, find_foreground(source), **{**SETTINGS, "seed": 5, **settings})
    return [(np.asarray(x), np.asarray(y)) for x, y in itertools.islice(batches, count)]


def greys(batches):
    """Which pictures came, in order: each is of one grey."""
    return [int(image[0, 0, 0]) for images, _ in batches for image in images]


def same(some, others):
    return all(np.array_equal(x, u) and np.array_equal(y, v) for (x, y), (u, v) in zip(some, others, strict=True))


@pytest.mark.slow
def test_batches_are_uint8_and_every_epoch_sees_every_image_in_another_order(source):
    batches = batches_of(source, 9, augment="none")
    for images, masks in batches:
        assert (images.shape, images.dtype) == ((3, 16, 24, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((3, 16, 24, 1), np.uint8)
        assert set(np.unique(masks)) <= {0, 1}
    epochs = [greys(batches[i : i + 3]) for i in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert len(set(map(tuple, epochs))) == 3


def test_a_run_that_starts_at_an_epoch_sees_what_a_whole_run_sees_in_it(source):
    assert same(batches_of(source, 9)[6:], batches_of(source, 3, start=(2, 0)))


@pytest.mark.slow
def test_a_run_that_starts_inside_an_epoch_sees_blanks_and_then_what_a_whole_run_sees(source):
    whole, started = batches_of(source, 9), batches_of(source, 6, start=(1, 2))
    assert same(started[2:], whole[5:])
    for images, masks in started[:2]:
        assert (images.shape, images.dtype, images.max()) == ((3, 16, 24, 3), np.uint8, 0)
        assert (masks.shape, masks.dtype, masks.min()) == ((3, 16, 24, 1), np.uint8, 255)
    # All of an epoch, when its validation comes next; and crops, which go by the place in the batch.
    assert same(batches_of(source, 6, start=(1, 3))[3:], whole[6:])
    # What an epoch leaves over is no part of it, wherever it is begun.
    twos = {"batch_size": 2}
    assert same(batches_of(source, 6, start=(0, 1), **twos)[1:], batches_of(source, 6, **twos)[1:])
    crops = {"foreground_crops": 0.6}
    assert same(batches_of(source, 3, start=(0, 1), **crops)[1:], batches_of(source, 3, **crops)[1:])


def test_what_is_done_is_not_read_again(make_folder, pairs):
    folder = make_folder(pairs)
    source = open_sources(str(folder), val_fraction=0.01)[0]
    rule = find_foreground(source)
    whole = batches_of(source, 3, cache="none")
    batches = training_batches(source, rule, **SETTINGS, seed=5, start=(0, 2), cache="none")
    for (index,) in itertools.islice(source.examples((5, 0)), 6):
        source.images[index].unlink()
    assert same(list(itertools.islice(batches, 3))[2:], whole[2:])


def test_contents_change_with_the_files(make_folder, pairs):
    folder = make_folder(pairs)
    training, validation = open_sources(str(folder))
    said = training.summary()
    assert said.startswith(f"{len(training)} images (")
    assert open_sources(str(folder))[0].summary() == said
    assert len({said, validation.summary(), training.take(3).summary()}) == 3
    with training.images[0].open("ab") as file:
        file.write(b"more")
    assert training.summary() != said


@pytest.mark.slow
def test_order_and_augmentation_follow_the_seed(source):
    assert same(batches_of(source, 4), batches_of(source, 4))
    assert not same(batches_of(source, 4), batches_of(source, 4, seed=6))
    assert not same(batches_of(source, 4), batches_of(source, 4, augment="none"))


def test_no_cache_changes_what_the_batches_are(make_folder, pairs):
    source = open_sources(str(make_folder(pairs)))[0]
    anew = batches_of(source, 5, cache="none")
    for cache in ("memory", "disk"):
        assert same(batches_of(source, 5, cache=cache), anew)


def test_what_a_header_tells_is_told_before_the_first_batch(make_folder, pairs):
    source = open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(source.masks[4])
    with pytest.raises(KsegError, match=rf"{source.images[4].name} is .* and its mask 7 x 5"):
        training_batches(source, Foreground((255,)), **SETTINGS, seed=0, cache="none")
    source.masks[4].write_bytes(b"no image")
    with pytest.raises(KsegError, match=rf"masks/{source.masks[4].name} cannot be read: cannot identify"):
        training_batches(source, Foreground((255,)), **SETTINGS, seed=0, cache="none")


def test_images_of_many_channels_come_as_they_are(tmp_path, rng):
    images = rng.integers(0, 256, (4, 16, 24, 5), np.uint8)
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for number, image in enumerate(images):
        np.save(tmp_path / "images" / f"{number}.npy", image)
        Image.fromarray((image[..., 0] > 99).astype(np.uint8)).save(tmp_path / "masks" / f"{number}.png")
    source, _ = open_sources(str(tmp_path), val_fraction=0.01)
    assert source.channels == 5
    for cache in ("memory", "disk", "none"):
        (batch, masks), *_ = batches_of(source, 1, augment="none", cache=cache, batch_size=3)
        assert batch.shape == (3, 16, 24, 5)
        assert {image.tobytes() for image in batch} <= {image.tobytes() for image in images}
        np.testing.assert_array_equal(masks[..., 0], batch[..., 0] > 99)
    for augment in ("light", "medium", "heavy"):
        assert batches_of(source, 1, augment=augment)[0][0].shape == (3, 16, 24, 5)


@pytest.mark.slow
def test_python_ends_while_batches_are_being_read(make_folder, pairs):
    code = f"""
from kseg.data import *
source, _ = open_sources({str(make_folder(pairs))!r})
settings = {{"image_size": (512, 512), "batch_size": 4, "seed": 0, "cache": "none", "augment": "heavy"}}
iterator = iter(training_batches(source, find_foreground(source), **settings))
next(iterator)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, "terminate" in ended.stderr) == (0, False), ended.stderr


def changed(batches, others):
    """For each batch, which of its masks differ from those of another."""
    return [
        (masks != expected).any((1, 2, 3)).tolist() for (_, masks), (_, expected) in zip(batches, others, strict=True)
    ]


@pytest.mark.slow
def test_without_foreground_crops_every_example_is_augmented_at_its_address(source):
    batches = batches_of(source, 6, foreground_crops=0.0)
    assert same(batches, batches_of(source, 6))
    plain = batches_of(source, 6, augment="none")
    numbers = {10 * int(path.stem[-1]): index for index, path in enumerate(source.images)}
    for position, (images, masks) in enumerate(plain):
        for place, (image, mask) in enumerate(zip(images, masks, strict=True)):
            index = numbers[int(image[0, 0, 0])]
            expected = augment_example(image, mask, find_augmentation("light"), (5, position // 3, index))
            for seen, one in zip(batches[position], expected, strict=True):
                np.testing.assert_array_equal(seen[place], one)


MOSAICS = Augmentation(turns=True, blur=2, mosaic=0.5)


@pytest.mark.slow
def test_mosaics_are_made_at_the_address_of_their_batch(source):
    plain, batches = (
        batches_of(source, 6, augment=dataclasses.replace(MOSAICS, mosaic=0)),
        batches_of(source, 6, augment=MOSAICS),
    )
    expected = [augment_batch(*batch, MOSAICS, (5, *divmod(number, 3))) for number, batch in enumerate(plain)]
    assert same(batches, expected)
    assert not same(batches, plain)
    spared = batches_of(source, 6, augment=MOSAICS, foreground_crops=1)
    assert same(spared, batches_of(source, 6, augment=dataclasses.replace(MOSAICS, mosaic=0), foreground_crops=1))


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["medium", "heavy", MOSAICS], ids=str)
def test_no_augmentation_depends_on_where_a_run_starts(augment, source):
    whole = batches_of(source, 9, augment=augment)
    for start in ((0, 1), (1, 2)):
        done = 3 * start[0] + start[1]
        assert same(batches_of(source, 9 - done + start[1], augment=augment, start=start)[start[1] :], whole[done:])


@pytest.mark.slow
def test_no_augmentation_depends_on_how_many_threads_there_are(source, monkeypatch):
    def with_threads(count):
        monkeypatch.setattr(threads, "available_cores", lambda: count)
        return batches_of(source, 9, augment="heavy")

    assert same(with_threads(1), with_threads(4))


def test_an_augmentation_that_there_is_not_is_refused(source):
    with pytest.raises(KsegError, match=r"augment: 'strong' is not allowed; expected none, light, medium, heavy"):
        batches_of(source, 1, augment="strong")


def test_a_negative_seed_is_refused(source):
    with pytest.raises(KsegError, match=r"seed: -1 is not allowed; expected 0 or more"):
        batches_of(source, 1, seed=-1)


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "light"])
@pytest.mark.parametrize(("share", "count"), [(0.25, 1), (0.5, 2), (0.7, 3), (1.0, 4)])
def test_the_share_of_every_batch_is_cropped_around_foreground_and_no_more(share, count, augment, source):
    # At this size, a crop of next to all of a mask shows.
    settings = {"batch_size": 4, "augment": augment, "image_size": (96, 128)}
    batches = batches_of(source, 6, **settings, foreground_crops=share)
    assert changed(batches, batches_of(source, 6, **settings)) == [[True] * count + [False] * (4 - count)] * 6


@pytest.mark.slow
def test_foreground_crops_follow_the_seed_and_not_where_training_starts(source):
    settings = {"foreground_crops": 0.6, "augment": "none"}
    batches = batches_of(source, 9, **settings)
    assert same(batches, batches_of(source, 9, **settings))
    assert same(batches[6:], batches_of(source, 3, **settings, start=(2, 0)))
    assert not same(batches, batches_of(source, 9, **settings, seed=6))


@pytest.mark.slow
@pytest.mark.parametrize("augment", ["none", "light"])
def test_a_crop_around_foreground_has_foreground_if_the_image_has_any(make_folder, augment):
    pairs = {}
    for index in range(10):
        mask = np.zeros((16, 24), np.uint8)
        mask[0, index] = 255 * (index % 2)
        pairs[f"picture{index}"] = (np.full((16, 24, 3), 10 * index, np.uint8), mask)
    source = open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]
    settings = {"augment": augment, "batch_size": 9}
    (usual,), (batch,) = batches_of(source, 1, **settings), batches_of(source, 1, **settings, foreground_crops=1)
    (order,) = batches_of(source, 1, augment="none", batch_size=9)
    for number, grey in enumerate(greys([order])):
        if grey // 10 % 2:
            assert batch[1][number].any()
        else:
            np.testing.assert_array_equal(batch[0][number], usual[0][number])
            assert not batch[1][number].any()


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_foreground_crops_that_are_no_share_are_refused(source, share):
    with pytest.raises(KsegError, match=rf"foreground_crops: {share} is not allowed; expected a share from 0 to 1"):
        batches_of(source, 1, foreground_crops=share)


def test_foreground_crops_of_less_than_an_image_are_refused(source):
    message = r"foreground_crops: 0.1 of 3 images a batch rounds to no image; expected 0, or at least 0.33"
    with pytest.raises(KsegError, match=message):
        batches_of(source, 1, foreground_crops=0.1)


@pytest.mark.slow
def test_training_batches_have_one_size(source):
    batches = training_batches(source, find_foreground(source), image_size=(16, 16), batch_size=4, seed=0)
    assert batches.steps == 2
    assert {len(images) for images, _ in itertools.islice(batches, 7)} == {4}
    whole = training_batches(source, find_foreground(source), image_size=(16, 16), batch_size=64, seed=0)
    assert (whole.steps, len(next(iter(whole))[0])) == (1, 9)


@pytest.mark.slow
def test_an_epoch_has_whole_executions(source):
    rule = find_foreground(source)
    settings = {"image_size": (16, 16), "batch_size": 2, "seed": 0}
    batches = training_batches(source, rule, **settings, steps_per_execution=3)
    assert batches.steps == 3  # of four
    second_epoch = [x for x, _ in itertools.islice(batches, 6)][3:]
    expected = itertools.islice(training_batches(source, rule, **settings, start=(1, 0)), 3)
    for images, (others, _) in zip(second_epoch, expected, strict=True):
        np.testing.assert_array_equal(images, others)
    with pytest.raises(KsegError, match=r"steps_per_execution: 5 is not allowed; expected at most 4, the batches of"):
        training_batches(source, rule, **settings, steps_per_execution=5)


def test_validation_takes_every_image_once_in_the_order_of_the_source(source):
    batches = validation_batches(source, find_foreground(source), image_size=(16, 16), batch_size=4)
    for _ in range(2):
        seen = list(batches)
        assert [len(images) for images, _, _ in seen] == [4, 4, 4]
        weights = np.concatenate([weights for *_, weights in seen])
        np.testing.assert_allclose(weights, [12 / 9] * 9 + [0] * 3)
        assert greys([(x[w > 0], y[w > 0]) for x, y, w in seen]) == [10 * int(path.stem[-1]) for path in source.images]
        assert not seen[-1][0][1:].any()
        assert (seen[-1][1][1:] == IGNORE).all()
    assert batches.steps == 3
    whole = validation_batches(source, find_foreground(source), image_size=(16, 16), batch_size=3)
    assert [len(batch) for batch in whole] == [2, 2, 2]


def test_masks_are_resized_by_nearest_neighbour(source):
    # Values of 1 and 2 would become 1.5 between them; here the rule knows 0 and 255 only.
    for size in ((8, 8), (64, 64)):
        masks = np.concatenate(
            [y for _, y in validation_batches(source, find_foreground(source), image_size=size, batch_size=9)]
        )
        assert set(np.unique(masks)) == {0, 1}


def test_a_mask_value_that_the_rule_does_not_know_is_an_error(source):
    rule = Foreground((255,), ignored=(), only=(0, 255))
    path = source.masks[4]
    height, width = np.asarray(Image.open(path)).shape
    Image.fromarray(np.full((height, width), 128, np.uint8)).save(path)
    with pytest.raises(KsegError, match=r"A mask of .* holds 128; expected 0, 255. Set the foreground values with"):
        list(validation_batches(source, rule, **SETTINGS))


def test_an_image_that_is_not_the_size_of_its_mask_is_named(source):
    path = source.masks[4]
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(path)
    with pytest.raises(KsegError, match=rf"{source.images[4].name} is .* and its mask 7 x 5 \(width x height\)"):
        list(validation_batches(source, Foreground((255,)), **SETTINGS))


def test_an_empty_source_is_refused(source):
    with pytest.raises(KsegError, match="is empty; expected at least one image"):
        validation_batches(source.take(0), Foreground((255,)), **SETTINGS)


def parts_of(batches, processes):
    """The batches of an epoch of each process, put together again."""
    parts = [itertools.islice(batches.of_process(process, processes), batches.steps) for process in range(processes)]
    return [tuple(np.concatenate(arrays) for arrays in zip(*part, strict=True)) for part in zip(*parts, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
@pytest.mark.parametrize(("augment", "crops"), [("light", 0.5), ("none", 0), (MOSAICS, 0.25)], ids=str)
def test_what_processes_make_together_is_what_one_makes(augment, crops, processes, source):
    settings = {**SETTINGS, "batch_size": 4, "augment": augment, "foreground_crops": crops, "seed": 5, "start": (1, 1)}
    batches = training_batches(source, find_foreground(source), **settings)
    assert batches.steps == 2
    assert same(parts_of(batches, processes), itertools.islice(batches, 2))
    validation = validation_batches(source, find_foreground(source), **{**SETTINGS, "batch_size": 4})
    for whole, parts in zip(validation, parts_of(validation, processes), strict=True):
        assert len(parts) == 3  # nine images leave blanks in the third batch
        for ours, theirs in zip(whole, parts, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_a_process_reads_its_share_and_no_more(make_folder, pairs, monkeypatch):
    source = open_sources(str(make_folder(pairs)), val_fraction=0.01)[0]  # nine images
    foreground, read, original = find_foreground(source), [], type(source).read

    def counted(self, index, *content):
        read.append(index)
        return original(self, index, *content)

    monkeypatch.setattr(type(source), "read", counted)
    monkeypatch.setattr(threads, "available_cores", lambda: 1)  # so that images are read in their order
    settings = {**SETTINGS, "batch_size": 4, "cache": "none"}
    batches = training_batches(source, foreground, seed=5, **settings)
    order = [index for epoch in (0, 1) for (index,) in itertools.islice(source.indices((5, epoch)), 8)]
    for process in (0, 1):
        read.clear()
        list(itertools.islice(batches.of_process(process, 2), 2 * batches.steps))
        assert read[:8] == [index for place, index in enumerate(order) if place // 2 % 2 == process]
    read.clear()
    for process in (0, 1):
        list(validation_batches(source, foreground, **settings).of_process(process, 2))
    assert sorted(read) == list(range(9))


def test_shares_that_leave_images_out_are_refused(source):
    batches = training_batches(source, find_foreground(source), seed=5, **{**SETTINGS, "batch_size": 4})
    validation = validation_batches(source, find_foreground(source), **{**SETTINGS, "batch_size": 4})
    for some in (batches, validation):
        with pytest.raises(KsegError, match="A batch of 4 images does not divide by 3 processes"):
            next(iter(some.of_process(0, 3)))
        with pytest.raises(KsegError, match="process: 2 is not allowed; expected 0 to 1"):
            some.of_process(2, 2)


class Endless:
    """A source of 10^9 pictures of one pixel, which remembers what was read."""

    name, channels, labels, classes = "endless", 1, (), {}

    def __init__(self):
        self.opened = []

    def __len__(self):
        return 10**9

    def check_headers(self):
        pass

    def examples(self, key=None, start=0):
        return index_order(len(self), key, start)

    def read(self, index):
        self.opened.append(index)
        return np.zeros((1, 1, 1), np.uint8), np.zeros((1, 1, 1), np.uint16)


def test_of_1024_processes_each_computes_its_share_of_10_to_the_9_examples_without_the_others(monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 1)
    last = 10**9 // 8192 - 1
    seen = set()
    for process in (0, 511, 1023):
        source = Endless()
        batches = training_batches(
            source, Foreground(values=(1,)), image_size=(1, 1), batch_size=8192, seed=3, augment="none", cache="none"
        )
        assert batches.steps == last + 1
        mine = batches.of_process(process, 1024)
        images, _ = next(mine.read_from(last, mine.share))
        assert len(images) == 8
        first = last * 8192 + process * 8
        assert source.opened[:8] == permute(np.arange(first, first + 8), (3, 0), 10**9).tolist()
        seen |= set(source.opened[:8])
    assert len(seen) == 24
