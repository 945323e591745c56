import errno
import hashlib
import io
import itertools
import json
import signal
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from kseg.commands import convert as command
from kseg.data import find_foreground, open_sources, training_batches
from kseg.data.conversion.convert import convert
from kseg.data.conversion.shards import _decode_picture
from kseg.data.sources.folder import FolderSource
from kseg.errors import KsegError
from kseg.storage.lock import only_writer
from tests.data.reading import decoded

pytestmark = pytest.mark.backend_free

FORMATS = ("array_record", "tfrecord")
SHARD_BYTES = 1200  # two or three of the examples of `folder`


@pytest.fixture
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture
def folder(make_folder, pairs):
    return make_folder(pairs)


@pytest.fixture
def mixed(tmp_path, rng):
    """Every kind of file: `{stem: file}` of images, each with a mask."""
    folder = tmp_path / "mixed"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    noise = rng.integers(0, 256, (6, 7, 3)).astype(np.uint8)
    smooth = Image.fromarray(noise).resize((70, 60), Image.Resampling.BICUBIC)
    turned = Image.Exif()
    turned[0x0112] = 6
    smooth.save(folder / "images/jpeg.jpg")
    smooth.save(folder / "images/turned.jpg", exif=turned)
    smooth.save(folder / "images/png.png")
    smooth.convert("L").save(folder / "images/grey.png")
    smooth.convert("P").save(folder / "images/palette.png")
    smooth.convert("CMYK").save(folder / "images/cmyk.jpg")
    smooth.convert("LA").save(folder / "images/alpha.png")
    smooth.save(folder / "images/tiff.tif")
    Image.fromarray(np.asarray(smooth.convert("L")).astype(np.uint16) * 16).save(folder / "images/deep.png")
    np.save(folder / "images/array.npy", np.asarray(smooth))
    for number, path in enumerate(sorted((folder / "images").iterdir())):
        mask = np.where(rng.random((70, 60) if path.stem == "turned" else (60, 70)) < 0.5, number, 255).astype(
            np.uint16
        )
        mask[0] = 0
        Image.fromarray(mask if number % 2 else mask.astype(np.uint8)).save(folder / f"masks/{path.stem}.png")
    return folder


def assert_same_examples(source, other):
    for (_, *pair), (_, *expected) in zip(decoded(source), decoded(other), strict=True):
        for array, of_source in zip(pair, expected, strict=True):
            np.testing.assert_array_equal(array, of_source)
            assert array.dtype == of_source.dtype


def test_jpegs_in_records_have_the_values_of_pillow(rng):
    noise = rng.integers(0, 256, (9, 11, 3)).astype(np.uint8)
    for form, mode in itertools.product(("JPEG", "PNG"), ("RGB", "L")):
        buffer = io.BytesIO()
        picture = Image.fromarray(noise).resize((73, 57), Image.Resampling.BICUBIC).convert(mode)
        picture.save(buffer, form)
        expected = np.asarray(Image.open(buffer)).reshape(57, 73, -1)
        feature = tfds.features.Image(shape=(None, None, expected.shape[2]))
        np.testing.assert_array_equal(_decode_picture(tf.constant(buffer.getvalue()), feature), expected)


def bytes_in(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


@pytest.mark.parametrize("shard_format", FORMATS)
def test_every_kind_of_file_comes_back_bit_for_bit(shard_format, mixed, out):
    convert(str(mixed), out / "set", shard_format=shard_format, seed=1)
    for source, other in zip(open_sources(str(mixed), seed=1), open_sources(str(out / "set")), strict=True):
        assert_same_examples(source, other)
    assert find_foreground(other) == find_foreground(source)


def test_files_are_kept_where_they_give_the_same_pixels(mixed, out):
    convert(str(mixed), out / "set")
    kept = set()
    for source, other in zip(open_sources(str(mixed)), open_sources(str(out / "set")), strict=True):
        for index, path in enumerate(source.images):
            file = other.encoded_image(index)
            if file == path.read_bytes() == source.encoded_image(index):
                kept.add(path.stem)
            else:
                assert Image.open(io.BytesIO(file)).format == "PNG"
    assert kept == {"jpeg", "cmyk", "png", "grey", "palette", "alpha"}


@pytest.mark.parametrize(("largest", "dtype"), [(255, np.uint8), (256, np.uint16), (65535, np.uint16)])
def test_ids_and_255_survive(largest, dtype, make_folder, out):
    ids = np.linspace(0, largest, 64).astype(np.uint16).reshape(8, 8)
    ids[0, 1] = 255
    folder = make_folder({str(index): (np.zeros((8, 8, 3), np.uint8), ids) for index in range(4)})
    convert(str(folder), out / "packed")
    builder = tfds.builder_from_directory(out / "packed")
    assert builder.info.features["mask"].np_dtype == dtype
    for source in open_sources(str(out / "packed")):
        for _, _, mask in decoded(source):
            np.testing.assert_array_equal(mask[..., 0], ids)


def test_names_of_classes_survive_and_say_what_masks_hold(out, tmp_path, rng):
    """Of a mask that holds 0 and 255 alone, `auto` would take 255 for foreground."""
    folder = tmp_path / "colours"
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
        for number in range(4):
            pixels = rng.choice(np.uint8([0, 255]), (8, 8, 1)).repeat(3, axis=2)
            pixels[0, :2] = [[255, 0, 0], [0, 255, 0]]
            Image.fromarray(pixels).save(folder / kind / f"{number}.png")
    colours = ("#000000", "#ff0000", "#00ff00", "ignore=#ffffff")
    source, _ = open_sources(str(folder), colours=colours)
    for shard_format in FORMATS:
        convert(str(folder), out / shard_format, shard_format=shard_format, colours=colours)
        converted, _ = open_sources(str(out / shard_format))
        assert converted.classes == source.classes == {1: "#ff0000", 2: "#00ff00"}
        assert find_foreground(converted) == find_foreground(source)
        assert find_foreground(converted).setting == "classes"
        assert tfds.builder_from_directory(out / shard_format).info.features["mask"].names[0] == "background"


def test_tfds_reads_it(folder, out):
    convert(str(folder), out / "cells/2.1.0", shard_format="tfrecord", shard_bytes=SHARD_BYTES)
    convert(str(folder), out / "arrays/Cells of 2020", shard_format="array_record", shard_bytes=SHARD_BYTES)
    expected = [image for _, image, _ in decoded(open_sources(str(folder))[0])]

    loaded = tfds.load("cells", split="train", data_dir=out)
    prepared = tfds.builder_from_directory(out / "arrays/Cells of 2020")
    assert prepared.info.full_name == "cells_of_2020/1.0.0"
    for rows in (tfds.as_numpy(loaded), prepared.as_data_source("train")):
        for row, image in zip(rows, expected, strict=True):
            np.testing.assert_array_equal(row["image"], image)
    info = tfds.builder_from_directory(out / "cells/2.1.0").info
    assert {split: info.splits[split].num_examples for split in info.splits} == {"train": 8, "validation": 2}
    assert info.splits["train"].num_shards > 2
    sizes = [path.stat().st_size for path in (out / "cells/2.1.0").glob("cells-train*")]
    assert info.splits["train"].num_bytes == sum(sizes)


@pytest.mark.slow
@pytest.mark.parametrize("shard_format", FORMATS)
def test_a_conversion_can_be_converted(shard_format, folder, out):
    convert(str(folder), out / "first", shard_format=shard_format)
    convert(str(out / "first"), out / "second", train_split="train[2:]", val_split="validation")
    first, second = open_sources(str(out / "first"))[0], open_sources(str(out / "second"))[0]
    assert len(second) == 6
    for pair, expected in zip(decoded(second), decoded(first)[2:], strict=True):
        np.testing.assert_array_equal(pair[1], expected[1])


@pytest.mark.slow
@pytest.mark.parametrize("cache", ["none", "memory"])
def test_batches_are_those_of_the_folder(cache, folder, out):
    convert(str(folder), out / "set", shard_bytes=SHARD_BYTES)
    batches = []
    for dataset in (folder, out / "set"):
        source = open_sources(str(dataset))[0]
        settings = {"image_size": (16, 16), "batch_size": 3, "seed": 5, "cache": cache}
        batches.append(list(islice(training_batches(source, find_foreground(source), **settings), 5)))
    for (images, masks), (others, other_masks) in zip(*batches, strict=True):
        np.testing.assert_array_equal(images, others)
        np.testing.assert_array_equal(masks, other_masks)


# Restarts


class Killed(BaseException):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("shard_format", FORMATS)
def test_what_ends_at_any_file_goes_on_to_the_same_bytes(shard_format, folder, out, monkeypatch):
    convert(str(folder), out / "whole/set", shard_format=shard_format, shard_bytes=SHARD_BYTES)
    whole = bytes_in(out / "whole/set")
    replace, survived = type(out).replace, 0

    def replace_or_die(self, target):
        nonlocal survived
        if survived == 0:
            raise Killed
        survived -= 1
        return replace(self, target)

    monkeypatch.setattr(type(out), "replace", replace_or_die)
    destination, runs = out / "killed/set", 0
    while not (destination / "dataset_info.json").exists():
        runs, survived = runs + 1, runs % 3
        (destination / ".part").write_bytes(b"half a shard") if destination.exists() else None
        try:
            convert(str(folder), destination, shard_format=shard_format, shard_bytes=SHARD_BYTES)
        except Killed:
            with pytest.raises(KsegError, match="set is a conversion that was not finished|There is no folder"):
                open_sources(str(destination))
    assert runs > 4
    assert bytes_in(destination) == whole


def test_only_what_is_missing_is_read(folder, out, monkeypatch):
    *_, last = convert(str(folder), out / "set", shard_bytes=SHARD_BYTES).shards["train"]
    before = bytes_in(out / "set")
    last.path.unlink()
    read, indices = FolderSource.read, []
    monkeypatch.setattr(FolderSource, "read", lambda self, index: indices.append(index) or read(self, index))
    convert(str(folder), out / "set", shard_bytes=SHARD_BYTES)
    assert sorted(indices) == list(range(last.start, last.stop))
    assert bytes_in(out / "set") == before


@pytest.mark.slow
def test_what_was_killed_goes_on_to_the_same_bytes(make_folder, rng, out):
    pairs = {}
    for index in range(200):
        mask = (rng.random((90, 120)) < 0.4).astype(np.uint8)
        pairs[f"{index:03}"] = (rng.integers(0, 256, (90, 120, 3)).astype(np.uint8), mask)
    folder, destination = str(make_folder(pairs)), out / "killed/set"
    code = "import sys, pathlib, kseg.data.conversion.convert as c; "
    code += "c.convert(sys.argv[1], pathlib.Path(sys.argv[2]), shard_bytes=2**17)"
    process = subprocess.Popen([sys.executable, "-c", code, folder, str(destination)], stderr=subprocess.DEVNULL)
    while process.poll() is None and len(list(destination.glob("set-*"))) < 9:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL

    for place in (destination, out / "whole/set"):
        convert(folder, place, shard_bytes=2**17)
    assert len(bytes_in(destination)) > 40
    assert bytes_in(destination) == bytes_in(out / "whole/set")


# What is refused


def test_a_source_that_changed_is_refused(folder, out):
    convert(str(folder), out / "set")
    for setting in ({"seed": 3}, {"val_fraction": 0.5}, {"shard_format": "tfrecord"}, {"bit_depth": 12}):
        with pytest.raises(
            KsegError, match=r"set holds a conversion of another data set, or with .*: .* -> .*\. Give another folder"
        ):
            convert(str(folder), out / "set", **setting)
    with next((folder / "images").iterdir()).open("ab") as file:
        file.write(b"more")
    with pytest.raises(KsegError, match=r"other settings: \w+ \d images \(.*\) -> \d images \("):
        convert(str(folder), out / "set")


def test_a_source_that_changes_meanwhile_is_refused(folder, out, monkeypatch):
    read = FolderSource.encoded_image

    def read_and_change(self, index):
        content = read(self, index)
        with self.images[index].open("ab") as file:
            file.write(b"more")
        return content

    monkeypatch.setattr(FolderSource, "encoded_image", read_and_change)
    with pytest.raises(KsegError, match=r"changed while it was converted. Remove .*set, and convert it again"):
        convert(str(folder), out / "set")
    assert not (out / "set/dataset_info.json").exists()


def test_other_places_are_refused(folder, out):
    (out / "full").mkdir()
    (out / "full/thesis.tex").touch()
    with pytest.raises(KsegError, match="full holds thesis.tex; expected an empty folder, or a conversion to continue"):
        convert(str(folder), out / "full")
    with pytest.raises(KsegError, match="images/packed is inside the data set .*, where kseg writes nothing"):
        convert(str(folder), folder / "images/packed")
    with pytest.raises(KsegError, match="gs:/bucket/set is not on this machine; expected a folder"):
        convert(str(folder), Path("gs://bucket/set"))
    (out / "plan").mkdir()
    (out / "plan/conversion.json").write_text("{}")
    with pytest.raises(KsegError, match="conversion.json cannot be read: .* Remove"):
        convert(str(folder), out / "plan")


def test_a_second_process_is_refused(folder, out):
    with (
        only_writer(out / "set"),
        pytest.raises(KsegError, match="The folder .*set is in use by process .* Wait for it"),
    ):
        convert(str(folder), out / "set")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("write() failed: No space left on device; writing x"),  # ArrayRecord's
        tf.errors.ResourceExhaustedError(None, None, "x; No space left on device"),  # TensorFlow's
    ],
)
def test_a_full_disk_is_said_and_what_is_whole_stays(error, folder, out, monkeypatch):
    adapter = tfds.core.file_adapters.ADAPTER_FOR_FORMAT[tfds.core.FileFormat.TFRECORD]
    write, written = adapter.write_examples, []

    def write_two(path, iterator):
        if len(written) == 2:
            path.write_bytes(b"half")
            raise error
        written.append(path)
        return write(path, iterator)

    monkeypatch.setattr(adapter, "write_examples", write_two)
    with pytest.raises(
        KsegError, match=r"Cannot write to .*set: .*No space left on device.* Files written earlier are complete"
    ):
        convert(str(folder), out / "set", shard_format="tfrecord", shard_bytes=SHARD_BYTES)
    assert len(list((out / "set").glob("set-*"))) == 2
    assert not (out / "set/.part").exists()


def test_bad_examples_stop_it_or_are_left_out(folder, out, capsys):
    bad = sorted((folder / "images").iterdir())[3]
    bad.write_bytes(bad.read_bytes()[:45])
    assert command.main([str(folder), str(out / "set")]) == 2
    assert f"kseg: {bad} cannot be read" in capsys.readouterr().err
    skip = [str(folder), str(out / "other"), "--on-bad-example", "skip"]
    for _ in range(2):  # also where it is whole
        assert command.main(skip) == 0
        said = capsys.readouterr().out
        assert f"Left out: {bad} cannot be read" in said
        assert f"Train:  python -m kseg.train --dataset {out / 'other'}" in said
    converted = open_sources(str(out / "other"))
    assert sum(map(len, converted)) == 9
    for source, other in zip(open_sources(str(folder)), converted, strict=True):
        assert_same_examples(source.drop_unreadable()[0], other)


def test_the_command_says_what_it_gave(folder, out, capsys):
    assert command.main([str(folder), str(out / "set"), "--format", "tfrecord"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "train: 8 images, 0.0 MB; shards: 1"
    assert command.main([str(folder), "/proc/nowhere/set"]) == 2
    assert "kseg: The folder /proc/nowhere/set cannot be made or written to: No such file" in capsys.readouterr().err
    assert command.main(["./nowhere", str(out / "set")]) == 2
    assert json.loads((out / "set/conversion.json").read_text())["mask_dtype"] == "uint8"
