"""Runs with each optimizer, schedule and average of the weights: they go on to the same bits after an interruption."""

import os
import signal

import keras
import numpy as np
import pytest

from kseg.callbacks import HistoryFile
from kseg.checkpoints import read_state
from kseg.commands import train as command
from kseg.config.evaluate import EvaluateConfig
from kseg.config.train import TrainConfig
from kseg.inference.evaluate import evaluate
from kseg.runs import train


def settings(folder, run, **others):
    # A small network compiles soon.
    small = {"model": f"{__name__}:own_model", "image_size": 32, "batch_size": 2, "epochs": 3, "lr": 0.003}
    return TrainConfig(**small | {"on_collapse": "warn", "dataset": str(folder), "run_dir": run} | others)


def weights(path):
    return keras.models.load_model(path, compile=False).get_weights()


CASES = {
    "sgd": {"optimizer": "sgd", "lr": 0.1, "schedule": "constant"},
    "lion": {"optimizer": "lion", "lr": 1e-3, "accumulate": 2, "ema": 0.9},
    "muon": {"optimizer": "muon", "mixed_precision": "float16"},
    "plateau": {"schedule": "plateau", "early_stopping": 5},
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_interrupted_it_ends_with_the_same_bits(case, folder, tmp_path, signals, monkeypatch):
    whole = train(settings(folder, tmp_path / "whole", **CASES[case]))

    def stop(history_file, batch, logs=None):
        if (history_file.get_state()["text"].count("\n"), batch) == (2, 2):
            os.kill(os.getpid(), signal.SIGINT)

    stopped = settings(folder, tmp_path / "stopped", **CASES[case])
    with monkeypatch.context() as patch:
        patch.setattr(HistoryFile, "on_train_batch_begin", stop)
        with pytest.raises(KeyboardInterrupt):
            train(stopped)
    assert (read_state(tmp_path / "stopped/last.keras").epoch, read_state(tmp_path / "stopped/last.keras").batch) == (
        1,
        2,
    )
    resumed = train(stopped, resume=True)
    for name in ("last.keras", "best.keras"):
        pairs = zip(weights(whole.run.path / name), weights(resumed.run.path / name), strict=True)
        for one, other in pairs:
            np.testing.assert_array_equal(one, other)
    assert whole.run.history.read_bytes() == resumed.run.history.read_bytes()
    assert whole.history[-1]["loss"] < whole.history[0]["loss"]


@pytest.mark.slow
def test_the_best_model_holds_the_average_that_was_validated(folder, tmp_path):
    result = train(settings(folder, tmp_path / "run", ema=0.9, epochs=2))
    found = evaluate(result.run.best, EvaluateConfig(dataset=str(folder)))
    assert found.summary()["mean"]["f1"] == pytest.approx(result.state.best_epoch["val_f1"], abs=1e-6)


@pytest.mark.slow
def test_early_stopping_ends_a_run_that_more_patience_goes_on_with(folder, tmp_path, capsys):
    config = settings(folder, tmp_path / "run", lr=1e-9, early_stopping=1, epochs=6)
    assert len(train(config).history) == 2
    assert len(train(config.model_copy(update={"early_stopping": 3}), resume=True).history) > 2


def own_model(channels, outputs, *, dtype, width=8):
    images = keras.Input((None, None, channels), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255)(images)
    x = keras.layers.Conv2D(width, 3, padding="same", activation="relu", dtype=dtype)(x)
    x = keras.layers.Dropout(0.2, dtype=dtype)(x)
    return keras.Model(images, keras.layers.Conv2D(outputs, 1, dtype="float32")(x))


def wrong_model(channels, outputs, *, dtype):
    return own_model(channels, outputs + 1, dtype=dtype)


def no_model(channels, outputs, *, dtype):
    return "a model"


@pytest.mark.slow
def test_a_model_of_ones_own_by_its_import_path(folder, tmp_path, capsys, refused):
    run = tmp_path / "run"
    flags = ["--dataset", str(folder), "--run-dir", str(run), "--image-size", "32", "--epochs", "1"]
    path = f"{__name__}:own_model"
    assert command.main([*flags, "--model", path, "--model-arguments", "width", "6"]) == 0
    said = capsys.readouterr().out
    assert f"Model: {path}(3, 1, width=6, dtype='float32'), which is code of your own and is run" in said
    assert keras.models.load_model(run / "best.keras", compile=False).layers[2].filters == 6
    # A run does not decide which code is run; the command that the run prints names it.
    assert f"names the model '{path}'" in refused("--run-dir", str(run), "--resume", "--epochs", "2")
    assert f"Train more:  python -m kseg.train --run-dir {run} --resume --model {path} --epochs 2\n" in said
    assert command.main(["--run-dir", str(run), "--resume", "--model", path, "--epochs", "2"]) == 0
    # Its file is a model of one's own too.
    again = [*flags[:2], "--run-dir", str(tmp_path / "again"), *flags[4:]]
    assert command.main([*again, "--model", str(run / "best.keras")]) == 0
    assert read_state(tmp_path / "again/last.keras").epoch == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("no_such_module:make", "no_such_module cannot be imported"),
        (f"{__name__}:nothing", "has no function nothing"),
        (f"{__name__}:no_model", "returns str; expected a keras.Model"),
        (f"{__name__}:wrong_model", "expected images (None, height, width, 3) and logits (None, height, width, 1)"),
        (f"{__name__}:folder", "has no function|cannot be called with"),
        ("missing.keras", "There is no model missing.keras"),
    ],
)
def test_a_model_of_ones_own_that_does_not_fit(model, message, folder, tmp_path, refused):
    said = refused("--dataset", str(folder), "--run-dir", str(tmp_path / "run"), "--image-size", "32", "--model", model)
    assert any(one in said for one in message.split("|"))
