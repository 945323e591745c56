import csv
import dataclasses
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from kseg.callbacks import HistoryFile, read_state, save_checkpoint
from kseg.commands import train as command
from kseg.config.train import OptimizerOptions, TrainConfig
from kseg.errors import KsegError
from kseg.runs import train
from kseg.runs.optimizer import learning_rate


def settings(folder, run, **others):
    small = {"image_size": 32, "filters": 8, "batch_size": 2, "epochs": 2, "lr": 0.003}
    return small | {"dataset": str(folder), "run_dir": str(run)} | others


@pytest.fixture(scope="session")
def finished(folder, tmp_path_factory):
    """A run of two epochs."""
    return train(TrainConfig(**settings(folder, tmp_path_factory.mktemp("runs") / "first")))


@pytest.mark.slow
def test_what_a_run_leaves(finished, folder):
    run = finished.run
    names = [".lock", "best.keras", "config.yaml", "data.json", "history.csv", "last-1.keras", "last.keras"]
    names += ["predictions.png", "report.html", "seconds.csv", "train.log"]
    assert sorted(path.name for path in run.path.iterdir()) == names
    config = yaml.safe_load(run.config.read_text())
    assert set(config) == set(TrainConfig.model_fields)
    assert (config["epochs"], config["foreground"], config["bit_depth"]) == (2, [255], 8)
    with run.history.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert [row["epoch"] for row in finished.history] == [1, 2]
    assert finished.history[-1]["val_f1"] == float(rows[-1]["val_f1"])
    assert float(rows[-1]["val_f1"]) == read_state(run.last).history[-1]["val_f1"]
    log = run.log.read_text()
    assert "Epoch 2/2 Complete - Train Loss: " in log
    assert "Layout: images/ and masks/ by stem" in log
    assert "Foreground: value 255 (the masks hold 0 and 255)" in log
    assert f"Best F1:     {finished.best_f1:.4f}" in log
    with Image.open(run.pictures) as picture:
        assert picture.size[0] > 400


@pytest.mark.slow
def test_the_best_model_gives_the_best_f1_again(finished, folder):
    from kseg.data import find_foreground, open_sources, validation_batches

    _, validation = open_sources(str(folder))
    batches = validation_batches(validation, find_foreground(validation), image_size=(32, 32), batch_size=2)
    logs = finished.model.evaluate(batches.dataset, verbose=0, return_dict=True)
    assert logs["f1"] == pytest.approx(finished.best_f1, abs=1e-6)


@pytest.mark.slow
def test_going_on_from_a_checkpoint(finished, folder, tmp_path, capsys):
    last = finished.run.last
    before = read_state(last)
    status = command.main(["--checkpoint", str(last), "--epochs", "4", "--run-dir", str(tmp_path / "on")])
    assert status == 0
    after = read_state(tmp_path / "on/last.keras")
    assert [row["epoch"] for row in after.history] == [1, 2, 3, 4]
    assert after.history[:2] == before.history
    # Five steps an epoch: the optimizer went on counting, and the schedule with it.
    assert int(keras.models.load_model(tmp_path / "on/last.keras").optimizer.iterations) == 4 * 5
    said = capsys.readouterr().out
    assert f"2 epochs done, best F1 {before.best_epoch['val_f1']:.4f}" in said
    assert "Epoch 3/4" in said
    assert "Epoch 2/4" not in said
    with (tmp_path / "on/history.csv").open() as file:
        assert [row["epoch"] for row in csv.DictReader(file)] == ["1", "2", "3", "4"]


# Resuming


def flags_of(values):
    return [f"--{key.replace('_', '-')}={value}" for key, value in values.items()]


def weights_in(path):
    model = keras.models.load_model(path)
    return [keras.ops.convert_to_numpy(variable) for variable in [*model.weights, *model.optimizer.variables]]


@pytest.fixture
def interrupted(monkeypatch):
    """Sends every run a signal in its second epoch, before its third batch, until this is undone."""

    def with_signal(number):
        def on_train_batch_begin(history_file, batch, logs=None):
            if (history_file.get_state()["text"].count("\n"), batch) == (2, 2):
                os.kill(os.getpid(), number)

        monkeypatch.setattr(HistoryFile, "on_train_batch_begin", on_train_batch_begin)

    yield with_signal
    monkeypatch.undo()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_asked_to_stop_it_says_how_to_go_on_and_that_ends_with_the_same_bits(
    number, status, finished, folder, tmp_path, interrupted, signals, monkeypatch, capsys
):
    run = tmp_path / "run"
    command_line = [*flags_of(settings(folder, run)), "--resume"]
    interrupted(number)
    try:
        ended = command.main(command_line)
    except SystemExit as exit:
        ended = exit.code
    assert ended == status
    said = capsys.readouterr().out
    assert f"Stopped. {run / 'last.keras'} has everything up to here." in said
    assert f"Resume:      python -m kseg.train --run-dir {run} --resume\n" in said
    assert (read_state(run / "last.keras").epoch, read_state(run / "last.keras").batch) == (1, 2)

    monkeypatch.undo()
    assert command.main(command_line) == 0
    assert f"Resuming from {run / 'last.keras'}: epoch 2, after 2 batches, best F1" in capsys.readouterr().out
    for name in ("last.keras", "best.keras"):
        for ours, theirs in zip(weights_in(run / name), weights_in(finished.run.path / name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (run / "history.csv").read_text() == finished.run.history.read_text()

    # Once more, as a restart loop does: it is finished, and stays as it is.
    before = (run / "last.keras").read_bytes()
    assert command.main(command_line) == 0
    assert "The run is finished: 2 epochs done; --epochs is 2" in capsys.readouterr().out
    assert (run / "last.keras").read_bytes() == before


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bits(folder, tmp_path):
    # Five processes: one is left alone, one killed in its start, one a moment after its first checkpoint.
    def line(run):
        return [sys.executable, "-m", "kseg.train", *flags_of(settings(folder, run)), "--resume"]

    untouched, killed = tmp_path / "untouched", tmp_path / "killed"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    alone = subprocess.Popen(line(untouched), **quiet)
    for wait_for in ("config.yaml", "last.keras"):
        process = subprocess.Popen([*line(killed), "--checkpoint-every", "2 batches"], **quiet)
        while process.poll() is None and not (killed / wait_for).exists():
            time.sleep(0.01)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)
    done = subprocess.run(line(killed), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert alone.wait() == 0
    for name in ("last.keras", "best.keras"):
        for ours, theirs in zip(weights_in(killed / name), weights_in(untouched / name), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    assert (killed / "history.csv").read_text() == (untouched / "history.csv").read_text()


@pytest.mark.slow
def test_another_backend_goes_on_with_the_weights_and_says_that_it_is_not_the_same(finished, tmp_path):
    other = "torch" if keras.config.backend() == "jax" else "jax"
    line = [sys.executable, "-m", "kseg.train", "--checkpoint", str(finished.run.last), "--epochs", "3"]
    done = subprocess.run(
        [*line, "--run-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"KERAS_BACKEND": other},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    backends = f"was written on {keras.config.backend()}, this run is on {other}"
    assert f"The checkpoint {backends}: weights, optimizer and history" in done.stdout
    state = read_state(tmp_path / "last.keras")
    assert state.epoch == 3
    assert state.history[2]["val_f1"] > 0.9 * state.history[1]["val_f1"]
    assert int(keras.models.load_model(tmp_path / "last.keras").optimizer.iterations) == 3 * 5


@pytest.mark.slow
def test_what_changed_is_said(finished, folder, tmp_path, capsys):
    copied = tmp_path / "elsewhere.keras"
    shutil.copy(finished.run.last, copied)
    flags = ["--checkpoint", str(copied), "--run-dir", str(tmp_path / "on"), "--epochs", "4", "--weight-decay", "0"]
    assert command.main([*flags, "--dataset", str(folder)]) == 0
    said = capsys.readouterr().out
    assert f"Resuming from {copied}: 2 epochs done" in said
    assert "Changed since: epochs 2 -> 4\n" in said
    assert "Changed since: weight_decay 0.0001 -> 0.0\n" in said
    rates = [float(learning_rate(OptimizerOptions(epochs=epochs), 5)(10)) for epochs in (4, 2)]
    assert (
        f"Learning rate: it now falls to 0 at the end of epoch 4, so it continues at {rates[0]:.3g} instead of "
        f"{rates[1]:.3g}" in said
    )


@pytest.mark.slow
def test_what_cannot_change_is_refused_with_both_values(finished, folder, refused, tmp_path):
    checkpoint = ["--checkpoint", str(finished.run.last), "--epochs", "3", "--run-dir", str(tmp_path / "on")]
    message = refused(*checkpoint, "--filters", "16", "--seed", "1", "--image-size", "64")
    assert "These settings cannot be changed in mid-run: seed 0 -> 1, image_size 32 -> 64, filters 8 -> 16." in message
    other = tmp_path / "squares"
    shutil.copytree(folder, other)
    assert command.main([*checkpoint, "--dataset", str(other)]) == 0  # the same data elsewhere
    for kind in ("images", "masks"):
        (other / kind / "0.png").unlink()
    message = refused(*checkpoint[:-1], str(tmp_path / "more"), "--dataset", str(other))
    assert "The data cannot be changed in mid-run: training on 10 images (" in message
    assert ") -> training on 9 images (" in message
    assert not (tmp_path / "more/config.yaml").exists()
    shutil.copytree(folder, tmp_path / "changed")
    mask = tmp_path / "changed/masks/3.png"
    mask.write_bytes(mask.read_bytes()[:-4] + bytes(4))
    message = refused(*checkpoint[:-1], str(tmp_path / "more"), "--dataset", str(tmp_path / "changed"))
    assert "files, 1 have another content than when the run began: masks/3.png." in message


@pytest.mark.slow
def test_a_strangers_settings_neither_choose_the_folder_nor_fill_the_memory(finished, tmp_path, refused):
    state = dataclasses.replace(read_state(finished.run.last), batch=0)
    hostile = {**state.settings, "run_dir": str(tmp_path / "elsewhere"), "filters": 480, "epochs": 9}
    path = tmp_path / "gift/best.keras"
    path.parent.mkdir()
    save_checkpoint(keras.models.load_model(finished.run.last), path, dataclasses.replace(state, settings=hostile))
    flags = ["--checkpoint", str(path), "--dataset", state.settings["dataset"]]
    assert command.parse(flags).settings.run_dir is None
    assert "best.keras is too small a file for a U-Net of 480 filters" in refused(*flags)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--checkpoint", "--resume"])
def test_a_strangers_run_runs_no_code_and_opens_no_place(finished, tmp_path, refused, flag):
    gift = tmp_path / "gift"
    gift.mkdir()
    (gift / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    state = dataclasses.replace(read_state(finished.run.last), batch=0)
    origin = (
        ["--checkpoint", str(gift / "last.keras")] if flag == "--checkpoint" else ["--resume", "--run-dir", str(gift)]
    )
    for places in ({"dataset": str(gift / "evil.py")}, {"dataset": "voc"}, {"dataset": str(gift), "data_dir": "/mnt"}):
        settings = state.settings | places
        model = keras.models.load_model(finished.run.last)
        save_checkpoint(model, gift / "last.keras", dataclasses.replace(state, settings=settings))
        (gift / "config.yaml").write_text(f"dataset: {places['dataset']}\n")
        message = refused(*origin, "--epochs", "9")
        assert f"names the data set {places['dataset']}, and the run in" in message
        assert "add --dataset" in message
    assert not (tmp_path / "ran").exists()
    # A data set that the command names is opened.
    assert command.parse([*origin, "--dataset", "shapes"]).settings.dataset == "shapes"


@pytest.mark.slow
def test_the_newest_run_is_found(finished, folder, tmp_path, monkeypatch, refused, capsys):
    monkeypatch.chdir(tmp_path)
    assert "There is no run to resume under runs/. Start one without --resume" in refused("--resume")
    for name, age in (("newer", 0), ("older", 999)):
        shutil.copytree(finished.run.path, tmp_path / "runs" / name)
        seconds = time.time() - age
        os.utime(tmp_path / "runs" / name / "config.yaml", (seconds, seconds))
    assert f"names the data set {folder}, and the run in runs/newer was not started here" in refused("--resume")
    assert command.main(["--resume", "--dataset", str(folder)]) == 0
    assert "Run directory: runs/newer" in capsys.readouterr().out
    assert "--resume finds the checkpoint itself" in refused("--resume", "--checkpoint", "x.keras")


def test_a_run_that_never_wrote_a_checkpoint_is_started_with_its_settings(tmp_path):
    (tmp_path / "config.yaml").write_text("epochs: 7\nlr: 0.5\n")
    settings = command.parse(["--resume", "--run-dir", str(tmp_path)]).settings
    assert (settings.epochs, settings.lr, settings.run_dir) == (7, 0.5, tmp_path)
    assert command.parse(["--resume", "--run-dir", str(tmp_path / "new")]).settings.epochs == 50


@pytest.mark.slow
def test_two_runs_cannot_have_one_folder(folder, tmp_path, refused):
    code = "import sys, time, pathlib\nfrom kseg.storage.lock import lock\nlock(pathlib.Path(sys.argv[1]))\n"
    code += "print('held', flush=True)\ntime.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        message = refused(*flags_of(settings(folder, tmp_path)), "--resume")
        assert f"The folder {tmp_path} is in use by process {holder.pid} on {platform.node()}." in message
    finally:
        holder.kill()
        holder.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 12])
def test_a_full_disk_ends_with_status_2_and_how_to_go_on(room, folder, tmp_path, monkeypatch, capsys):
    original = os.fsync
    calls = []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > room:
            raise OSError(28, "No space left on device")
        return original(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    flags = flags_of(settings(folder, tmp_path / "run"))
    assert command.main([*flags, "--checkpoint-every", "1 batch"]) == 2
    output = capsys.readouterr()
    assert f"Cannot write to {tmp_path / 'run'}: No space left on device. Files written earlier" in output.err
    assert (f"python -m kseg.train --run-dir {tmp_path / 'run'} --resume" in output.out) == bool(room)
    assert (tmp_path / "run/config.yaml").exists() == bool(room)


# Other ways to train


@pytest.mark.slow
def test_a_run_that_learned_nothing_says_so(folder, tmp_path, capsys):
    # So small a learning rate, and so high a threshold, that nothing is ever predicted.
    dead = settings(folder, tmp_path / "dead", epochs=1, lr=1e-9, threshold=0.999)
    result = train(TrainConfig(**dead))
    assert result.best_f1 == 0
    said = capsys.readouterr().out
    assert "\n⚠️  No epoch found any foreground" in said
    assert "--loss combined" not in said  # it is in use
    assert "✓" not in said


@pytest.mark.slow
def test_a_run_that_collapses_ends_with_status_3_and_keeps_its_files(folder, tmp_path, capsys):
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in settings(folder, tmp_path / "run").items()]
    # The first weights are as wrong as can be after one step, and after each recovery once more.
    status = command.main([*flags, "--lr=1e30", "--clip-norm=1e30", "--epochs=6", "--max-recoveries=1"])
    assert status == 3
    output = capsys.readouterr()
    assert re.search(r"\n⚠️  Epoch 1, batch 5: not_finite: predictions are not finite from batch \d on", output.out)
    assert "↩️  Recovery 1 of 1: back to the first weights, learning rate" in output.out
    assert "kseg: The run was stopped after 1 recoveries, in epoch 2 at batch 10. not_finite: " in output.err
    with (tmp_path / "run/history.csv").open() as file:
        assert [row["finding"] for row in csv.DictReader(file)] == ["not_finite", "not_finite"]


@pytest.mark.slow
def test_threshold_auto_the_prior_and_crops_around_foreground(folder, tmp_path, capsys):
    config = TrainConfig(
        **settings(folder, tmp_path / "run", threshold="auto", output_bias="prior", foreground_crops=0.5)
    )
    result = train(config)
    assert result.best_f1 == max(row["val_best_f1"] for row in result.state.history)
    (best,) = [row for row in result.state.history if row["val_best_f1"] == result.best_f1]
    assert read_state(result.run.best).threshold == result.state.threshold == best["val_best_threshold"]
    said = capsys.readouterr().out
    assert "Output bias at 0." in said
    assert f"Best F1:     {result.best_f1:.4f} at threshold {result.state.threshold:.3g} (epoch" in said
    assert f"✓ Saved best model (F1: {result.best_f1:.4f} at threshold {result.state.threshold:.3g})" in said
    assert "Val Curve - Best F1: " in said
    assert f"Threshold:   {result.state.threshold:.4g}, so masks are where logits > " in said


@pytest.mark.slow
def test_what_cannot_be_read_is_named_or_left_out_of_every_epoch(folder, tmp_path, refused, capsys):
    faulty = tmp_path / "faulty"
    shutil.copytree(folder, faulty)
    broken = faulty / "images/3.png"
    broken.write_bytes(broken.read_bytes()[:60])
    Image.new("L", (16, 16)).save(faulty / "masks/5.png")
    values = settings(faulty, tmp_path / "run", epochs=1)
    message = refused(*flags_of(values))
    assert "images/3.png" in message or "images/5.png" in message
    assert command.main([*flags_of(values | {"run_dir": tmp_path / "skipping"}), "--on-bad-example", "skip"]) == 0
    said = capsys.readouterr().out
    assert "2 images are left out of every epoch: they cannot be read. See" in said
    faults = (tmp_path / "skipping/skipped.txt").read_text().splitlines()
    assert len(faults) == 2
    assert any(f"{broken} " in fault for fault in faults)
    assert any("5.png" in fault and "16 x 16" in fault for fault in faults)
    state = read_state(tmp_path / "skipping/last.keras")
    trained, validated = (int(part.split()[0]) for part in state.data.split(" on ")[1:])
    assert trained + validated == 10


@pytest.mark.slow
def test_nothing_left_is_refused(tmp_path, refused):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
        for name in "abc":
            (tmp_path / kind / f"{name}.png").write_text("no picture")
    message = refused("--dataset", str(tmp_path), "--on-bad-example", "skip", "--run-dir", str(tmp_path / "run"))
    assert "cannot be read; nothing is left. The first fault: " in message
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_data_that_cannot_work_is_refused_before_the_first_step(tmp_path, capsys):
    for kind, value in (("images", 40), ("masks", 255)):
        (tmp_path / kind).mkdir()
        for index in range(4):
            Image.new("L", (32, 32), value if kind == "images" else index % 2 * 255).save(
                tmp_path / f"{kind}/{index}.png"
            )
    status = command.main(
        [f"--{key.replace('_', '-')}={value}" for key, value in settings(tmp_path, tmp_path / "run").items()]
    )
    assert status == 2
    output = capsys.readouterr()
    assert "constant_images" in output.err
    assert "Epoch 1" not in output.out


@pytest.mark.slow
@pytest.mark.skipif(keras.config.backend() == "torch", reason="Keras has steps_per_execution on JAX only")
def test_several_steps_an_execution_and_mixed_precision(folder, tmp_path):
    config = TrainConfig(**settings(folder, tmp_path / "fast", steps_per_execution=2, mixed_precision="bfloat16"))
    result = train(config)
    assert np.isfinite(result.best_f1)
    model = keras.models.load_model(result.run.last)
    assert int(model.optimizer.iterations) == 2 * 4  # five batches an epoch are four in twos
    assert model.get_layer("bottoma_conv").compute_dtype == "bfloat16"


@pytest.mark.slow
def test_a_finished_run_is_not_overwritten(finished, folder):
    with pytest.raises(
        KsegError, match="holds a run already. To resume it, add --resume: --run-dir .* --resume. To start another"
    ):
        train(TrainConfig(**settings(folder, finished.run.path)))


@pytest.mark.slow
def test_a_finished_checkpoint_has_to_be_given_more_epochs(finished, folder):
    with pytest.raises(KsegError, match="has 2 epochs done; --epochs is 2, the number in all. Give more to continue"):
        train(TrainConfig(**settings(folder, finished.run.path)), finished.run.last)


def test_several_steps_an_execution_are_for_jax(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(KsegError, match="steps_per_execution: 4 is not allowed on torch; expected 1."):
        train(TrainConfig(**settings(folder, tmp_path / "run", steps_per_execution=4)))
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="Keras runs on tensorflow; kseg trains on jax or torch"):
        train(TrainConfig(**settings(folder, tmp_path / "run")))
