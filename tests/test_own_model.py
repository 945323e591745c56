"""The README's example: losses, metrics and callbacks of kseg in a user's own `model.fit`."""

import keras
import numpy as np
import pytest

import kseg


@pytest.mark.slow
@pytest.mark.parametrize("from_logits", [True, False])
def test_all_parts_work_in_a_users_own_fit(from_logits, rng, tmp_path, capsys):
    images = rng.normal(size=(32, 16, 16, 1)).astype(np.float32)
    masks = (keras.ops.convert_to_numpy(keras.ops.average_pool(images, 3, 1, "same")) > 0.2).astype(np.uint8)
    masks[:, 0] = kseg.IGNORE
    model = keras.Sequential(
        [
            keras.Input((16, 16, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.Dropout(0.1),
            keras.layers.Conv2D(1, 1, activation=None if from_logits else "sigmoid"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(0.02),
        loss=kseg.losses.CombinedSegmentationLoss(from_logits=from_logits),
        metrics=[
            kseg.metrics.SegmentationMetrics(from_logits=from_logits),
            kseg.metrics.PredictionMonitor(from_logits=from_logits),
            kseg.metrics.ThresholdCurve(from_logits=from_logits),
        ],
    )
    assert kseg.preflight(model, (images, masks)) == []
    history = model.fit(
        images[:24],
        masks[:24],
        batch_size=5,  # the last batch is short
        epochs=12,
        validation_data=(images[24:], masks[24:]),
        callbacks=[
            kseg.callbacks.EpochSummary(),
            kseg.callbacks.CollapseDetector(action="recover"),
            kseg.callbacks.BestF1Checkpoint(tmp_path / "best.keras"),
        ],
    ).history
    assert max(history["val_f1"]) > 0.8
    again = keras.models.load_model(tmp_path / "best.keras")
    logs = again.evaluate(images[24:], masks[24:], verbose=0, return_dict=True)
    assert logs["f1"] == pytest.approx(max(history["val_f1"]), abs=1e-6)
    output = capsys.readouterr().out
    assert output.count("Complete - Train Loss: ") == 12
    assert "✓ Saved best model (F1: " in output
