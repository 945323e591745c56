"""A model of two outputs: each has its own values in the logs, and callbacks can be told which one they are for."""

import keras
import numpy as np
import pytest

import kseg
from kseg import metrics
from kseg.callbacks import CollapseDetector, EpochSummary, RunCheckpoint, read_state


def measure(output):
    kinds = (metrics.SegmentationMetrics, metrics.PredictionMonitor, metrics.ThresholdCurve)
    return [kind(output_name=output) for kind in kinds]


@pytest.fixture
def data(rng):
    """Images; the mask of the output `left` can be seen in them, that of `right` cannot."""
    left, right = rng.integers(0, 2, (2, 8, 8, 8, 1)).astype(np.int32)
    return rng.normal(8.0 * left - 4.0, 0.5).astype(np.float32), {"left": left, "right": right}


@pytest.fixture
def model():
    images = keras.Input((8, 8, 1))
    outputs = {name: keras.layers.Conv2D(1, 1, name=name)(images) for name in ("left", "right")}
    model = keras.Model(images, outputs)
    losses = {name: kseg.losses.BCELoss() for name in outputs}
    model.compile(keras.optimizers.Adam(0.2), losses, metrics={name: measure(name) for name in outputs})
    return model


@pytest.mark.slow
def test_each_output_has_its_own_values_and_callbacks_know_which(model, data, tmp_path):
    lines = []
    detector = CollapseDetector(every=2, output_name="left", preflight=False)
    saved = RunCheckpoint(tmp_path, score="val_left_best_f1", print_fn=lambda line: None)
    logs = model.fit(
        *data,
        batch_size=4,
        epochs=6,
        validation_data=data,
        callbacks=[EpochSummary(lines.append, output_name="left"), detector, saved],
        verbose=0,
    ).history
    for name in ("f1", "pred_mean", "best_threshold"):
        assert {f"left_{name}", f"right_{name}", f"val_left_{name}", f"val_right_{name}"} <= set(logs)
    assert logs["val_left_f1"][-1] > 0.9 > logs["val_right_f1"][-1]
    last = next(line for line in lines if line.startswith("Epoch 6/6"))
    assert f"Val F1: {logs['val_left_f1'][-1]:.4f}" in last
    assert detector.status == "healthy"
    state = read_state(tmp_path / "best.keras")
    best = int(np.argmax(logs["val_left_best_f1"]))
    assert state.best_epoch["epoch"] == best + 1
    assert state.threshold == pytest.approx(logs["val_left_best_threshold"][best])


def test_metrics_of_another_output_are_not_taken(model, data):
    model.evaluate(*data, verbose=0)
    detector = CollapseDetector(output_name="middle")
    with pytest.raises(
        ValueError, match=r"found no PredictionMonitor of output middle among the .*=\[.*output_name='middle'"
    ):
        detector.set_model(model)
    with pytest.raises(ValueError, match=r"found no PredictionMonitor among the model's metrics"):
        CollapseDetector().set_model(model)
