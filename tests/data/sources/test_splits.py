import pytest
import tensorflow_datasets as tfds

from kseg.data.sources.splits import find_slices, select_range
from kseg.errors import KsegError

pytestmark = pytest.mark.backend_free


def splits(**lengths):
    return {name: tfds.core.SplitInfo(name=name, shard_lengths=shards, num_bytes=0) for name, shards in lengths.items()}


def slices(of, train_split, val_split):
    sizes = {name: split.num_examples for name, split in of.items()}
    read = tfds.core.ReadInstruction.from_spec
    return find_slices("pets", sizes, train_split, val_split, lambda text: read(text).to_absolute(of))


PETS = splits(train=[30, 20, 50], test=[40])


def parts(train_split=None, val_split=None, of=PETS):
    training, validation = slices(of, train_split, val_split)
    return [" ".join(map(str, some)) if some else None for some in (training, validation)]


def test_what_nobody_says():
    assert parts() == ["train[0:100]", "test[0:40]"]
    assert parts(of=splits(train=[5], val=[2], test=[3])) == ["train[0:5]", "val[0:2]"]
    assert parts(of=splits(train=[5], unlabelled=[9])) == ["train[0:5]", None]


@pytest.mark.parametrize(
    ("train_split", "val_split", "expected"),
    [
        ("train[:10%]", None, ["train[0:10]", "test[0:40]"]),
        ("train[:80%]", "train[80%:]", ["train[0:80]", "train[80:100]"]),
        (None, "test[-7:]", ["train[0:100]", "test[33:40]"]),
        ("train[1shard]", None, ["train[30:50]", "test[0:40]"]),
        ("train[:5]+test[10:]", "test[:10]", ["train[0:5] test[10:40]", "test[0:10]"]),
        ("train+test", None, ["train[0:100] test[0:40]", None]),
        ("test", None, ["test[0:40]", None]),
    ],
)
def test_slices_are_those_of_tfds(train_split, val_split, expected):
    assert parts(train_split, val_split) == expected


@pytest.mark.parametrize(
    ("train_split", "val_split"), [("train[:60%]", "train[50%:]"), (None, "train[90:]"), ("all", "test[:1]")]
)
def test_slices_that_overlap_are_refused(train_split, val_split):
    count = {"train[50%:]": 10, "train[90:]": 10, "test[:1]": 1}[val_split]
    with pytest.raises(KsegError, match=rf"Training .* and validation .* share {count} examples of pets"):
        parts(train_split, val_split)


@pytest.mark.parametrize("text", ["dev", "train[", "train[5]", "train[:1000]", "train[0:10:2]", "all[:5]", "train[a:]"])
def test_what_is_no_slice_is_refused_with_the_splits_that_there_are(text):
    with pytest.raises(KsegError, match=r"train_split: .* is not in pets, .* train \(100\), test \(40\); expected one"):
        parts(text)
    with pytest.raises(KsegError, match=r"val_split: "):
        parts(None, text)


def test_a_slice_without_examples_is_refused():
    with pytest.raises(KsegError, match=r"train_split: 'train\[:0.1%\]' of pets has no examples"):
        parts("train[:0.1%]")


def test_a_range_is_that_of_a_list():
    chosen = slices(PETS, "test[30:]+train[:4]+train[90:]", None)[0]
    whole = [(part.split, row) for part in chosen for row in range(part.start, part.stop)]
    for start in range(len(whole) + 1):
        for stop in range(start, len(whole) + 1):
            some = select_range(chosen, start, stop)
            assert [(part.split, row) for part in some for row in range(part.start, part.stop)] == whole[start:stop]
