import csv
import re

import keras
import numpy as np
import pytest
import yaml
from PIL import Image

from kseg import train as command
from kseg.callbacks import read_state
from kseg.config import TrainConfig
from kseg.errors import KsegError
from kseg.training import _optimizer, train


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Twelve pictures with a bright square each, which a small model learns in a few steps."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("squares")
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for index in range(12):
        mask = np.zeros((32, 32), np.uint8)
        y, x = rng.integers(0, 20, 2)
        mask[y : y + 12, x : x + 12] = 255
        image = np.clip(40 + mask * 0.6 + rng.normal(0, 10, mask.shape), 0, 255).astype(np.uint8)
        Image.fromarray(image).save(folder / f"images/{index}.png")
        Image.fromarray(mask).save(folder / f"masks/{index}.png")
    return folder


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
    names = ["best.keras", "config.yaml", "history.csv", "last.keras", "predictions.png", "train.log"]
    assert sorted(path.name for path in run.path.iterdir()) == names
    config = yaml.safe_load(run.config.read_text())
    assert set(config) == set(TrainConfig.model_fields)
    assert (config["epochs"], config["foreground"]) == (2, [255])
    with run.history.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert float(rows[-1]["val_f1"]) == read_state(run.last).history[-1]["val_f1"]
    log = run.log.read_text()
    assert "Epoch 2/2 Complete - Train Loss: " in log
    assert "Foreground: value 255 (the masks hold 0 and 255)" in log
    assert f"Best F1:     {finished.best_f1:.4f}" in log
    with Image.open(run.pictures) as picture:
        assert picture.size[0] > 400


@pytest.mark.slow
def test_the_best_model_gives_the_best_f1_again(finished, folder):
    from kseg.data import find_foreground, open_sources, validation_batches

    _, validation = open_sources(str(folder))
    batches = validation_batches(validation, find_foreground(validation), image_size=(32, 32), batch_size=2)
    model = keras.models.load_model(finished.run.best)
    logs = model.evaluate(batches.dataset, verbose=0, return_dict=True)
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


@pytest.mark.slow
def test_weights_and_moments_are_those_of_the_checkpoint(finished, folder, tmp_path, monkeypatch):
    # Stop before the first step, and look at what training would have begun with.
    def stop(model, *arguments, **keywords):
        stop.model = model
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", stop)
    config = TrainConfig(**settings(folder, tmp_path / "on", epochs=9))
    with pytest.raises(KeyboardInterrupt):
        train(config, finished.run.last)
    saved = keras.models.load_model(finished.run.last)
    for found, expected in (
        (stop.model.weights, saved.weights),
        (stop.model.optimizer.variables, saved.optimizer.variables),
    ):
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(keras.ops.convert_to_numpy(ours), keras.ops.convert_to_numpy(theirs))


def test_ctrl_c_says_what_is_kept_and_how_to_go_on(folder, tmp_path, monkeypatch, capsys):
    def stop(model, *arguments, callbacks, initial_epoch, **keywords):
        callbacks[-1].set_model(model)
        callbacks[-1].on_epoch_end(0, {"loss": 1.0})
        raise KeyboardInterrupt

    monkeypatch.setattr(keras.Model, "fit", stop)
    flags = [f"--{key.replace('_', '-')}={value}" for key, value in settings(folder, tmp_path / "run").items()]
    assert command.main(flags) == 130
    said = capsys.readouterr().out
    assert f"Stopped. 1 epochs are kept in {tmp_path / 'run'}" in said
    assert f"python -m kseg.train --checkpoint {tmp_path / 'run/last.keras'} --epochs 2" in said


def test_the_learning_rate_warms_up_and_falls_to_zero():
    config = TrainConfig(epochs=10, lr=0.01, warmup=0.1)
    rate = _optimizer(config, steps_per_epoch=20)._learning_rate
    rates = [float(rate(step)) for step in (0, 10, 20, 110, 200)]
    assert rates == pytest.approx([0, 0.005, 0.01, 0.005, 0], abs=1e-6)
    at_once = _optimizer(TrainConfig(epochs=1, lr=0.01, warmup=0), steps_per_epoch=1)._learning_rate
    assert float(at_once(0)) == pytest.approx(0.01)


@pytest.mark.slow
def test_a_run_that_learned_nothing_says_so(folder, tmp_path, capsys):
    # So small a learning rate, and so high a threshold, that nothing is ever predicted.
    result = train(TrainConfig(**settings(folder, tmp_path / "dead", epochs=1, lr=1e-9, threshold=0.999)))
    assert result.best_f1 == 0
    assert "\n⚠️  No epoch found any foreground. Look at the pictures" in capsys.readouterr().out


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
    assert read_state(tmp_path / "run/last.keras").epoch == 2
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
    config = TrainConfig(**settings(folder, tmp_path / "fast", steps_per_execution=2, mixed_precision=True))
    result = train(config)
    assert np.isfinite(result.best_f1)
    model = keras.models.load_model(result.run.last)
    assert int(model.optimizer.iterations) == 2 * 4  # five batches an epoch are four in twos
    assert model.get_layer("bottoma_conv").compute_dtype == "bfloat16"


# What the command refuses


@pytest.fixture
def refused(capsys):
    """The message of a command that has to end with status 2, and without a traceback."""

    def run(*flags):
        try:
            status = command.main(flags)
        except SystemExit as exit:
            status = exit.code
        output = capsys.readouterr()
        assert status == 2
        assert "Traceback" not in output.out + output.err
        return " ".join((output.out + output.err).replace("│", " ").split())

    return run


def test_impossible_values_are_refused(refused, tmp_path):
    assert "epochs: 0 is not allowed; expected greater than or equal to 1" in refused("--epochs", "0")
    assert "invalid choice 'lovasz' for argument '--loss'" in refused("--loss", "lovasz")
    assert "Error parsing --lr: could not convert string to float: 'fast'" in refused("--lr", "fast")
    assert "Unrecognized options: --epoch" in refused("--epoch", "3")
    assert "no data set 'nonsense'" in refused("--dataset", "nonsense")
    assert "There is no checkpoint none.keras" in refused("--checkpoint", "none.keras")
    message = refused("--loss", "tversky", "--loss-arguments", "gamma", "1")
    assert "loss_arguments: The loss 'tversky' takes no 'gamma'; it takes alpha, beta" in message
    assert "loss_arguments: smooth is 0.0 pixels" in refused("--loss", "dice", "--loss-arguments", "smooth", "0")


def test_yaml_is_checked_like_flags_and_flags_win(refused, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("epochs: 3\nlearning: 3\n")
    assert "learning: there is no such setting" in refused("--config", str(path))
    path.write_text("epochs: -3\n")
    assert "epochs: -3 is not allowed" in refused("--config", str(path))
    path.write_text("epochs: 3\nlr: 0.5\n")
    defaults = command._defaults(["--config", str(path), "--lr", "0.1"])
    assert (defaults.epochs, defaults.lr) == (3, 0.5)
    assert "no data set 'x'" in refused("--config", str(path), "--lr", "0.1", "--dataset", "x")


def test_a_finished_run_is_not_overwritten(finished, folder):
    with pytest.raises(KsegError, match="holds a run already. Give another --run-dir, or go on with --checkpoint"):
        train(TrainConfig(**settings(folder, finished.run.path)))


def test_a_finished_checkpoint_has_to_be_given_more_epochs(finished, folder):
    with pytest.raises(KsegError, match="has 2 epochs done; --epochs is 2, the number in all. Give more"):
        train(TrainConfig(**settings(folder, finished.run.path)), finished.run.last)


def test_several_steps_an_execution_are_for_jax(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "torch")
    with pytest.raises(KsegError, match="steps_per_execution: 4 is not allowed on torch; expected 1."):
        train(TrainConfig(**settings(folder, tmp_path / "run", steps_per_execution=4)))
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="KERAS_BACKEND is tensorflow; kseg trains on jax or torch"):
        train(TrainConfig(**settings(folder, tmp_path / "run")))


def test_help_shows_every_default_and_what_it_means(capsys):
    with pytest.raises(SystemExit):
        command.main(["--help"])
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for name, field in TrainConfig.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description in text
    assert "(default: 0.003)" in text
