import importlib.util
import logging
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kseg.callbacks import MLflowTracker, RunCheckpoint, TensorBoardTracker, WandbTracker, trackers
from kseg.errors import KsegError

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages' own

SETTINGS = {"lr": 0.1, "classes": ["cat", "dog"], "dataset": None}


def fit(callbacks, epochs=3):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.01), loss="mse")
    data = np.ones((8, 2)), np.zeros((8, 1))
    return model.fit(*data, validation_data=data, epochs=epochs, verbose=0, callbacks=callbacks).history


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.png"
    Image.new("RGB", (4, 4), (255, 0, 0)).save(path)
    return path


@pytest.mark.slow
def test_the_event_files_of_tensorboard_are_read_back(tmp_path, picture):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    tracker = TensorBoardTracker(tmp_path / "events", SETTINGS, {"picture": picture, "gone": tmp_path / "gone.png"})
    history = fit([tracker])
    tracker.on_epoch_end(3, {"loss": 1.0, "iou": float("nan"), "finding": 1.0})
    tracker.finish()
    events = EventAccumulator(str(tmp_path / "events"), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"loss", "val_loss", "settings", "finding", "picture"}
    import tensorflow as tf

    values = [float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors("val_loss")]
    np.testing.assert_allclose(values, history["val_loss"], rtol=1e-6)
    assert [event.step for event in events.Tensors("loss")] == [1, 2, 3, 4]
    text = tf.make_ndarray(events.Tensors("settings")[0].tensor_proto)[()]
    assert b"| lr | 0.1 |" in np.ravel(text)[0] if isinstance(text, np.ndarray) else b"| lr | 0.1 |" in text


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_the_same_run_of_mlflow(tmp_path, picture):
    from mlflow import MlflowClient

    def run(epochs):
        tracker = MLflowTracker(tmp_path / "store", SETTINGS, {"picture": picture})
        fit([tracker, RunCheckpoint(tmp_path / "run", score=None, print_fn=lambda _: None)], epochs)
        return tracker

    run(2)
    tracker = run(4)
    tracker.finish()
    client = MlflowClient(f"sqlite:///{tmp_path}/store/mlflow.db")
    (only,) = client.search_runs([client.get_experiment_by_name("kseg").experiment_id])
    assert only.info.run_id == tracker.run_id
    assert only.info.status == "FINISHED"
    assert only.data.params["classes"] == "['cat', 'dog']"
    assert [metric.step for metric in client.get_metric_history(only.info.run_id, "loss")] == [1, 2, 3, 4]
    assert [artifact.path for artifact in client.list_artifacts(only.info.run_id)] == ["picture.png"]


@pytest.mark.slow
def test_wandb_writes_an_offline_run(tmp_path, picture, monkeypatch):
    import wandb

    monkeypatch.delenv("WANDB_MODE", raising=False)
    tracker = WandbTracker(tmp_path, SETTINGS, {"picture": picture})
    fit([tracker])
    tracker.finish()
    # A process of wandb writes the file; it is whole when that process has ended, as at the end of Python.
    wandb.teardown()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert tracker.run_id in folder.name
    (written,) = folder.glob("run-*.wandb")
    content = written.read_bytes()
    assert b"val_loss" in content
    assert b"classes" in content


def test_an_error_is_said_once_and_the_run_goes_on(tmp_path, caplog):
    class Broken(TensorBoardTracker):
        def begin(self, settings):
            raise OSError("the disk is full")

    with caplog.at_level(logging.WARNING, "kseg"):
        history = fit([Broken(tmp_path)])
    assert len(history["loss"]) == 3
    messages = [record.getMessage() for record in caplog.records]
    assert messages == ["⚠️  Broken failed and is left out from now on; the run goes on: the disk is full"]


@pytest.mark.parametrize(
    ("name", "missing"), [*((name, name) for name in trackers.TRACKERS), ("tensorboard", "tensorflow")]
)
def test_a_missing_package_is_named(name, missing, tmp_path, monkeypatch):
    kind = trackers.TRACKERS[name]
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None if module == missing else find(module))
    message = rf"{kind.__name__} needs {missing}, which is not installed: pip install 'kseg\[trackers\]'"
    with pytest.raises(KsegError, match=message):
        kind(Path(tmp_path))
