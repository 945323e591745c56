import io
import json
import socket
import sys

import datasets
import numpy as np
import pytest
from PIL import Image

from kseg.audit import audit
from kseg.data import find_foreground, open_sources, validation_batches
from kseg.data.sources.huggingface import HuggingFaceSource, find_columns
from kseg.errors import KsegError
from tests.data.reading import decoded, indices

pytestmark = pytest.mark.backend_free

PICTURE = datasets.Image()


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError("Something reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def file_of(array, form="PNG", **settings):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, form, **settings)
    return {"bytes": buffer.getvalue(), "path": None}


def table_of(pairs, names=("image", "label")):
    rows = {name: [pair[place] for pair in pairs] for place, name in enumerate(names)}
    kinds = datasets.Features(dict.fromkeys(names, PICTURE) | {"id": datasets.Value("int32")})
    return datasets.Dataset.from_dict(rows | {"id": list(range(len(pairs)))}, features=kinds)


@pytest.fixture
def files(pairs):
    return [(file_of(image), file_of(mask)) for image, mask in pairs.values()]


def saved_to_disk(folder, **tables):
    datasets.DatasetDict(tables).save_to_disk(folder)


def as_parquet(folder, **tables):
    (folder / "data").mkdir(parents=True)
    for split, table in tables.items():
        table.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")


@pytest.mark.parametrize("save", [saved_to_disk, as_parquet])
def test_both_forms_give_what_was_saved(save, files, pairs, tmp_path):
    save(tmp_path / "set", train=table_of(files[:7]), validation=table_of(files[7:]))
    sources = open_sources(str(tmp_path / "set"), data_dir=tmp_path / "cache")
    assert [len(source) for source in sources] == [7, 3]
    assert sources[0].layout == "Hugging Face, columns image and label"
    found = [(image, mask) for source in sources for _, image, mask in decoded(source)]
    for (image, mask), (expected, expected_mask) in zip(found, pairs.values(), strict=True):
        np.testing.assert_array_equal(image, expected)
        np.testing.assert_array_equal(mask[..., 0], expected_mask)
    for index in range(3):
        np.testing.assert_array_equal(sources[1].read_mask(index), found[7 + index][1])


def test_a_set_without_splits_is_divided_by_the_seed(files, tmp_path):
    table_of(files).save_to_disk(tmp_path / "set")
    table_of(files).to_parquet(tmp_path / "set.parquet")
    on_disk, parquet = (
        open_sources(str(tmp_path / name), data_dir=tmp_path / "cache", seed=3) for name in ("set", "set.parquet")
    )
    assert [len(source) for source in on_disk] == [8, 2]
    assert sorted(on_disk[0].pairs + on_disk[1].pairs) == [("train", row) for row in range(10)]
    assert [source.pairs for source in on_disk] == [source.pairs for source in parquet]
    assert on_disk[1].pairs != open_sources(str(tmp_path / "set"), seed=4)[1].pairs
    assert len({source.summary() for source in (*on_disk, on_disk[0].take(7))}) == 3


def test_parquet_that_changed_is_read_anew(files, tmp_path):
    for count in (4, 7):
        table_of(files[:count]).to_parquet(tmp_path / "set.parquet")
        training, validation = open_sources(str(tmp_path / "set.parquet"), data_dir=tmp_path / "cache")
        assert len(training) + len(validation) == count


def test_slices(files, tmp_path):
    saved_to_disk(tmp_path / "set", train=table_of(files))
    training, validation = open_sources(str(tmp_path / "set"), train_split="train[:50%]", val_split="train[70%:]")
    assert training.pairs == [("train", row) for row in range(5)]
    assert validation.pairs == [("train", row) for row in (7, 8, 9)]
    with pytest.raises(KsegError, match="share 2 examples of .*set"):
        open_sources(str(tmp_path / "set"), train_split="train[:70%]", val_split="train[50%:]")


def test_the_order_of_an_epoch_is_that_of_a_folder(files, pairs, make_folder, tmp_path):
    table_of(files).save_to_disk(tmp_path / "set")
    rows, folder = open_sources(str(tmp_path / "set"))[0], open_sources(str(make_folder(pairs)))[0]
    for key in ((0, 0), (5, 2)):
        assert indices(rows, key) == indices(folder, key)


def test_a_row_that_cannot_be_read_is_named_and_left_out(files, tmp_path):
    damaged = {"bytes": files[2][0]["bytes"][:60], "path": None}
    files[2] = (damaged, files[2][1])
    files[5] = (None, files[5][1])
    files[6] = (files[6][0], files[0][1])
    saved_to_disk(tmp_path / "set", train=table_of(files), test=table_of(files[:2]))
    training, validation = open_sources(str(tmp_path / "set"))
    kept, faults = training.drop_unreadable()
    assert [row for _, row in kept.pairs] == [0, 1, 3, 4, 7, 8, 9]
    expected = [
        "train, row 2, image cannot be read: ",
        "train, row 5, image holds nothing; expected the bytes",
        "train, row 6, image is 26 x 22 and its mask 32 x 16 (width x height), ",
    ]
    for fault, text in zip(faults, expected, strict=True):
        assert text in fault
    assert validation.drop_unreadable() == (validation, [])
    with pytest.raises(KsegError, match=r"train, row 2, image cannot be read: .*Expected a whole image file"):
        list(validation_batches(training, find_foreground(training, (255,)), image_size=(8, 8), batch_size=4))


def test_a_row_with_a_path_and_no_bytes_is_not_followed(files, pairs, make_folder):
    path = str(make_folder(pairs) / "masks/picture0.png")
    table = table_of([(files[0][0], {"bytes": None, "path": path})]).cast_column("label", datasets.Image(decode=False))
    source = HuggingFaceSource(
        name="a", pairs=[("train", 0)], origin="a", tables={"train": table}, image="image", masks=["label"]
    )
    with pytest.raises(KsegError, match=rf"a, train, row 0, label holds the path {path} only; expected the bytes of"):
        source.files(0)[1].read()


def test_files_are_read_by_the_rules_of_files(tmp_path, rng):
    deep = rng.integers(0, 4000, (8, 9)).astype(np.uint16)
    colours = np.zeros((8, 9, 3), np.uint8)
    colours[:4] = (255, 0, 0)
    table_of([(file_of(deep), file_of(colours))] * 4).save_to_disk(tmp_path / "set")
    with pytest.raises(KsegError, match=r"masks in colours, .* --colours '#000000' '#ff0000'"):
        open_sources(str(tmp_path / "set"))
    training, _ = open_sources(str(tmp_path / "set"), colours=("#000000", "#ff0000"))
    assert training.bit_depth == 12
    _, image, mask = decoded(training)[0]
    np.testing.assert_array_equal(image[..., 0], (deep.astype(np.uint32) * 255 + 2047) // 4095)
    assert (mask[:4] == 1).all()
    assert (mask[4:] == 0).all()


def test_a_table_in_somebody_elses_format_is_read(files, tmp_path):
    table_of(files).with_format("arrow").save_to_disk(tmp_path / "set")
    assert len(decoded(open_sources(str(tmp_path / "set"))[0])) == 8


def test_what_names_a_file_elsewhere_is_refused(files, tmp_path):
    table_of(files).save_to_disk(tmp_path / "other")
    table_of(files).save_to_disk(tmp_path / "set")
    state = json.loads((tmp_path / "set/state.json").read_text())
    state["_data_files"] = [{"filename": "../other/data-00000-of-00001.arrow"}]
    (tmp_path / "set/state.json").write_text(json.dumps(state))
    with pytest.raises(KsegError, match=r"set names the file .*other/data-.*, which is outside of it"):
        open_sources(str(tmp_path / "set"))


def test_a_damaged_set_is_refused(files, tmp_path):
    table_of(files).save_to_disk(tmp_path / "set")
    (tmp_path / "set/state.json").write_text("{")
    with pytest.raises(KsegError, match=r"set cannot be read as a data set of Hugging Face: .*Save it again"):
        open_sources(str(tmp_path / "set"))
    (tmp_path / "set.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(KsegError, match=r"set.parquet cannot be read as a data set of Hugging Face"):
        open_sources(str(tmp_path / "set.parquet"), data_dir=tmp_path / "cache")


def test_columns_are_found_by_type_then_by_name():
    number = datasets.Value("int32")
    assert find_columns("a", {"id": number, "pixel_values": PICTURE, "label": PICTURE}) == ("pixel_values", ["label"])
    assert find_columns("a", {"segmentation": PICTURE, "label": number, "photo": PICTURE}) == (
        "photo",
        ["segmentation"],
    )
    labels = {"seg_a": PICTURE, "image": PICTURE, "seg_b": PICTURE}
    assert find_columns("a", labels) == ("image", ["seg_a", "seg_b"])
    two_ways = {"image": PICTURE, "semantic_mask": PICTURE, "instance_mask": PICTURE}
    other_words = {"image": PICTURE, "mask": PICTURE, "label": PICTURE}
    for unclear in ({"image": PICTURE, "mask": number}, {"a": PICTURE, "b": PICTURE}, two_ways, other_words):
        with pytest.raises(KsegError, match=r"some/set has the columns .* Expected one of type Image for images"):
            find_columns("some/set", unclear)


def test_a_column_of_masks_for_each_label_gives_labels_that_may_overlap(make_folder, rng, tmp_path):
    names, rows = ("image", "mask_cell", "mask_rim"), []
    for _ in range(6):
        image, cell, rim = rng.integers(0, 255, (16, 12, 3), np.uint8), *rng.integers(0, 2, (2, 16, 12), np.uint8)
        rows.append((image, 255 * cell, rim))
    table_of([tuple(map(file_of, row)) for row in rows], names).save_to_disk(tmp_path / "set")
    source, _ = open_sources(str(tmp_path / "set"), val_fraction=0.5)
    assert source.layout == "Hugging Face, columns image and mask_cell, mask_rim"
    assert source.labels == ("cell", "rim")
    assert open_sources(str(tmp_path / "set"), multilabel=True)[0].labels == ("cell", "rim")
    for index, (_, row) in enumerate(source.pairs):
        image, masks = source.read(index)
        np.testing.assert_array_equal(image, rows[row][0])
        np.testing.assert_array_equal(masks, np.stack(rows[row][1:], axis=-1))


def test_a_label_without_a_mask_is_not_in_the_image(rng, tmp_path):
    image, cell = rng.integers(0, 255, (16, 12, 3), np.uint8), rng.integers(0, 2, (16, 12), np.uint8)
    rows = [(image, cell, cell), (image, None, cell), (image, cell, None), (image, None, None), (None, cell, cell)]
    table = [tuple(None if values is None else file_of(values) for values in row) for row in rows]
    table_of(table, ("image", "mask_cell", "mask_rim")).save_to_disk(tmp_path / "set")
    for source in open_sources(str(tmp_path / "set"), val_fraction=0.5):
        for index, (_, row) in enumerate(source.pairs):
            if row < 3:
                expected = [0 * cell if mask is None else mask for mask in rows[row][1:]]
                np.testing.assert_array_equal(source.read(index)[1], np.stack(expected, axis=-1))
                continue
            message = (
                r"row 3, mask_cell holds nothing; .* without any label needs an empty",
                r"row 4, image holds nothing; expected the bytes of an image file\. Save the data set again\.$",
            )[row - 3]
            with pytest.raises(KsegError, match=message):
                source.read(index)


def test_one_column_of_masks_holds_no_labels(files, tmp_path):
    table_of(files).save_to_disk(tmp_path / "set")
    with pytest.raises(
        KsegError, match="task: multilabel is not allowed for .* have one channel.*columns such as mask_c"
    ):
        open_sources(str(tmp_path / "set"), multilabel=True)


def test_a_folder_of_files_with_parquet_in_it_stays_one(make_folder, pairs, files):
    folder = make_folder(pairs)
    table_of(files).to_parquet(folder / "metadata.parquet")
    assert open_sources(str(folder))[0].layout == "images/ and masks/ by stem"


def test_without_the_package_it_says_what_to_install(files, tmp_path, monkeypatch):
    table_of(files).save_to_disk(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(KsegError, match=r"is read by the package datasets .* Install kseg\[huggingface\]"):
        open_sources(str(tmp_path / "set"))


def test_it_can_be_audited(files, tmp_path):
    saved_to_disk(tmp_path / "set", train=table_of(files[:7]), validation=table_of(files[7:]))
    found = audit(str(tmp_path / "set"))
    assert len(found.pairs) == 10
