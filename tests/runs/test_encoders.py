"""Runs whose encoder is a preset of KerasHub."""

import os
import signal

import keras
import numpy as np
import pytest

from kseg.callbacks import HistoryFile
from kseg.commands import train as command


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    hub = pytest.importorskip("keras_hub")
    folder = tmp_path_factory.mktemp("my presets") / "small"
    hub.models.DenseNetBackbone([1, 1, 1, 1], compression_ratio=0.5, growth_rate=4).save_to_preset(str(folder))
    hub.layers.DenseNetImageConverter(scale=1 / 255, offset=-0.5).save_to_preset(str(folder))
    return str(folder)


@pytest.mark.slow
def test_interrupted_and_resumed_by_the_printed_command_it_ends_with_the_same_bits(
    folder, preset, tmp_path, signals, monkeypatch, capsys, refused
):
    flags = ["--dataset", str(folder), "--image-size", "32", "--batch-size", "2", "--epochs", "2", "--freeze", "1"]
    flags += ["--encoder", preset, "--encoder-weights", "preset", "--model", "mlp", "--on-collapse", "warn"]
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert command.main([*flags, "--run-dir", str(whole)]) == 0

    def stop(history_file, batch, logs=None):
        if (history_file.get_state()["text"].count("\n"), batch) == (2, 2):  # in the second epoch
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(HistoryFile, "on_train_batch_begin", stop)
        assert command.main([*flags, "--run-dir", str(stopped)]) == 130
    printed = capsys.readouterr().out
    assert f"Resume:      python -m kseg.train --run-dir {stopped} --resume --encoder '{preset}'\n" in printed
    said = refused("--run-dir", str(stopped), "--resume")
    assert f"names the encoder '{preset}'. A file of a run does not decide what code is run, which file is" in said
    assert f"add --encoder '{preset}' if you trust it." in said
    assert command.main(["--run-dir", str(stopped), "--resume", "--encoder", preset]) == 0
    assert (whole / "history.csv").read_bytes() == (stopped / "history.csv").read_bytes()
    models = [keras.models.load_model(run / "last.keras", compile=False) for run in (whole, stopped)]
    for one, other in zip(*(model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)
