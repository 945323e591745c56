import contextlib
import io
import json
import math
import os
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from kseg.checkpoints import TrainingState, load_weights, read_checkpoint, read_state, save_checkpoint
from kseg.errors import KsegError
from kseg.metrics import SegmentationMetrics

STATE = TrainingState([{"epoch": 1, "loss": math.inf, "val_f1": 0.5}], {"lr": 0.1}, batch=3, data="ten images")


def small_model(filters=1, optimizer="adamw"):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4, 4, 1)), keras.layers.Conv2D(filters, 3, padding="same"), keras.layers.Dropout(0.5, seed=1)]
    )
    model.compile(optimizer, "mse", metrics=[SegmentationMetrics()])
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "last.keras"
    save_checkpoint(small_model(), path, STATE)
    return path


def rewrite(path, change, **how):
    """Write the archive anew, each entry as `change(name, content)` has it; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w", **how) as archive:
        for name, content in entries:
            changed = change(name, content)
            if changed is not None:
                archive.writestr(name, changed)


def test_a_checkpoint_opens_in_keras_and_carries_the_rest(saved):
    again = keras.models.load_model(saved)
    for ours, theirs in zip(small_model().optimizer.variables, again.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
    checkpoint = read_checkpoint(saved)
    assert checkpoint.state == read_state(saved) == STATE
    assert [value.shape for value in checkpoint.extras["seeds"]] == [(2,)]


def test_weights_that_do_not_fit_are_refused(saved):
    with pytest.raises(KsegError, match=r"last.keras does not fit the (model|optimizer): "):
        load_weights(small_model(filters=2), read_checkpoint(saved))
    with pytest.raises(KsegError, match="does not fit the optimizer: it has 6 optimizer variables, the optimizer"):
        load_weights(small_model(optimizer="sgd"), read_checkpoint(saved))


def test_a_failed_write_leaves_the_former_file_and_nothing_else(saved, monkeypatch):
    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    for target, name in ((zipfile.ZipFile, "writestr"), (zipfile.ZipFile, "open"), (keras.Model, "save")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            with pytest.raises(OSError, match="No space left"):
                save_checkpoint(small_model(), saved, TrainingState())
        assert read_checkpoint(saved).state == STATE
        assert [path.name for path in saved.parent.iterdir()] == ["last.keras"]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_former_is_never_written_to(saved, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace

    def synced(descriptor):
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def replaced(path, target):
        calls.append(f"{path.name} -> {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    with saved.open("rb") as former:
        before = saved.read_bytes()
        save_checkpoint(small_model(), saved, TrainingState())
        assert former.read() == before
    assert calls == [".last.part.keras", ".last.part.keras -> last.keras", saved.parent.name]


# What is damaged


@pytest.mark.parametrize("share", [0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_named(saved, share):
    saved.write_bytes(saved.read_bytes()[: int(share * saved.stat().st_size)])
    with pytest.raises(KsegError, match=r"last.keras is damaged, or no checkpoint of kseg \("):
        read_checkpoint(saved)


def test_any_flipped_bit_is_found_or_harmless(saved, rng):
    whole = saved.read_bytes()
    before = read_checkpoint(saved)
    for place in rng.integers(0, len(whole), 150):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << rng.integers(8)
        saved.write_bytes(flipped)
        with contextlib.suppress(KsegError):
            found = read_checkpoint(saved)
            # It was a date in the archive's directory, say.
            assert found.state == before.state
            np.testing.assert_array_equal(found.extras["seeds"][0], before.extras["seeds"][0])
            with zipfile.ZipFile(saved) as archive, zipfile.ZipFile(io.BytesIO(whole)) as original:
                assert archive.read("model.weights.h5") == original.read("model.weights.h5")


def test_a_flipped_bit_among_many_weights_is_found(tmp_path):
    path = tmp_path / "last.keras"
    save_checkpoint(small_model(filters=4096), path, STATE)
    flipped = bytearray(path.read_bytes())
    flipped[len(flipped) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(KsegError, match="model.weights.h5' has a wrong checksum"):
        read_checkpoint(path)


def test_what_is_there_in_its_place_is_named(tmp_path):
    with pytest.raises(KsegError, match=r"There is no checkpoint .*none.keras. Expected the last.keras or"):
        read_checkpoint(tmp_path / "none.keras")
    (tmp_path / "folder.keras").mkdir()
    with pytest.raises(KsegError, match=r"folder.keras is a folder, not a checkpoint"):
        read_checkpoint(tmp_path / "folder.keras")
    (tmp_path / "text.keras").write_text("hello")
    with pytest.raises(KsegError, match=r"text.keras is damaged, or no checkpoint of kseg \(File is not a zip file"):
        read_state(tmp_path / "text.keras")
    small_model().save(tmp_path / "plain.keras")
    with pytest.raises(KsegError, match=r"plain.keras is damaged, or no checkpoint of kseg \(.*kseg.json"):
        read_state(tmp_path / "plain.keras")


def test_another_format_is_named_with_both_versions(saved):
    rewrite(saved, lambda name, content: json.dumps({"format": 9}) if name == "kseg.json" else content)
    with pytest.raises(KsegError, match=r"last.keras has kseg's checkpoint format 9; this version reads 2"):
        read_checkpoint(saved)


# What a stranger might have made


def hostile(content, **changes):
    return json.dumps({**json.loads(content), **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": {"history": "all of it"}}, "history: Input should be a valid list"),
        ({"state": {"history": [{"epoch": 7}]}}, "row 1 of the history is not of epoch 1"),
        ({"state": {"history": [{"epoch": 1, "x": {"deep": []}}]}}, "kseg.json: "),
        ({"extras": {"seeds": [{"__array__": 99, "dtype": "float32"}]}}, "does not fit the arrays"),
        ({"extras": {"seeds": [{"__array__": 0, "dtype": "nonsense"}]}}, "does not fit the arrays"),
        ({"extras": []}, "damaged"),
        ({"memories": {"a": 1}}, "damaged"),
    ],
)
def test_a_state_of_other_types_is_refused(saved, changes, message):
    rewrite(saved, lambda name, content: hostile(content, **changes) if name == "kseg.json" else content)
    with pytest.raises(KsegError, match=message):
        read_checkpoint(saved)


@pytest.mark.parametrize("name", ["../../escaped.py", "/etc/passwd", "assets/x", "kseg/code.py", "config.json"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_entries_that_do_not_belong_are_refused(saved, name):
    with zipfile.ZipFile(saved, "a") as archive:
        archive.writestr(name, "x")
    with pytest.raises(KsegError, match="does not belong in a checkpoint"):
        read_checkpoint(saved)


def test_an_entry_that_unpacks_to_more_is_refused(saved):
    rewrite(saved, lambda name, content: content, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(KsegError, match="is compressed"):
        read_checkpoint(saved)


def test_an_array_that_says_it_is_larger_is_refused_before_it_is_made(saved):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (2**40,)})
    rewrite(saved, lambda name, content: stream.getvalue() if name.endswith("00000.npy") else content)
    with pytest.raises(KsegError, match="does not have the size that its header says"):
        read_checkpoint(saved)


def test_a_pickle_is_not_opened(saved, tmp_path):
    class Bad:
        def __reduce__(self):
            return exec, (f"open({str(tmp_path / 'ran')!r}, 'w')",)

    stream = io.BytesIO()
    np.save(stream, np.array([Bad()], object), allow_pickle=True)
    rewrite(saved, lambda name, content: stream.getvalue() if name.endswith("00000.npy") else content)
    with pytest.raises(KsegError, match="does not have the size that its header says"):
        read_checkpoint(saved)
    assert not (tmp_path / "ran").exists()


def weights(make):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        make(file)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda file: file.create_dataset("x", (1024, 1024, 1024), "f8", chunks=True), "not stored as a plain array"),
        (lambda file: file.create_dataset("x", (2**40,), "f8"), "says it is larger than the file"),
        (lambda file: file.update({"x": h5py.ExternalLink("/etc/other.h5", "/")}), "x is a link"),
        (lambda file: file.create_group("x").update({"y": file["x"]}), "y is in it twice"),
        (lambda file: file.update({"x": file["/"]}), "x is in it twice"),
        (lambda file: file.update({"x": np.dtype("f8")}), "x is no array"),
        (
            lambda file: file.create_dataset("x", (8,), "u1", external=[("/etc/passwd", 0, 8)]),
            "not stored as a plain array",
        ),
    ],
)
def test_weights_that_are_elsewhere_or_too_large_are_refused(saved, make, message):
    made = weights(make)
    rewrite(saved, lambda name, content: made if name == "model.weights.h5" else content)
    with pytest.raises(KsegError, match=message):
        read_checkpoint(saved)


def test_entries_of_two_checkpoints_are_not_one(saved, tmp_path):
    other = tmp_path / "other.keras"
    model = small_model()
    model.layers[0].bias.assign([7.0])
    save_checkpoint(model, other, STATE)
    with zipfile.ZipFile(other) as archive:
        weights = archive.read("model.weights.h5")
    rewrite(saved, lambda name, content: weights if name == "model.weights.h5" else content)
    with pytest.raises(KsegError, match=r"entries of another file: model.weights.h5"):
        read_checkpoint(saved)
    rewrite(other, lambda name, content: None if name.endswith("00000.npy") else content)
    with pytest.raises(KsegError, match="other.keras is damaged, or no checkpoint of kseg"):
        read_checkpoint(other)


@pytest.mark.parametrize("batch", [-5, 10**12])
def test_a_batch_that_cannot_be_is_refused(saved, batch):
    def change(name, content):
        return content.replace(b'"batch": 3', f'"batch": {batch}'.encode()) if name == "kseg.json" else content

    rewrite(saved, change)
    for read in (read_state, read_checkpoint):
        with pytest.raises(KsegError, match=r"kseg.json: batch: Input should be (greater|less) than"):
            read(saved)


def test_a_pipe_is_refused_without_opening_it(tmp_path):
    os.mkfifo(tmp_path / "last.keras")
    for read in (read_state, read_checkpoint):
        with pytest.raises(KsegError, match="last.keras is a pipe or a device, not a checkpoint"):
            read(tmp_path / "last.keras")


def test_the_weights_are_those_that_were_checked_though_the_file_was_replaced(saved):
    checkpoint = read_checkpoint(saved)
    other = small_model()
    other.layers[0].bias.assign([7.0])
    save_checkpoint(other, saved, STATE)
    load_weights(other, checkpoint)
    np.testing.assert_array_equal(other.layers[0].bias.numpy(), small_model().layers[0].bias.numpy())
