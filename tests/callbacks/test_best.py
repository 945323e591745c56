import math

import keras
import numpy as np
import pytest

from kseg.callbacks import BestF1Checkpoint, TrainingState, read_state
from kseg.diagnosis.rules import code_of
from kseg.metrics import SegmentationMetrics


def small_model():
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 3, padding="same")])
    model.compile(keras.optimizers.AdamW(0.1), "mse", metrics=[SegmentationMetrics()])
    return model


@pytest.fixture
def best(tmp_path):
    """A BestF1Checkpoint, driven by hand: `best({"val_f1": …}, …)` returns the lines that it printed."""

    def run(*epochs, score="val_f1", history=()):
        lines = []
        callback = BestF1Checkpoint(tmp_path / "best.keras", score, lines.append)
        callback.set_state({"history": list(history)})
        callback.set_model(small_model())
        start = callback.state.epoch
        for number, logs in enumerate(epochs):
            callback.on_epoch_end(start + number, logs)
        callback.on_train_end()
        run.callback = callback
        return lines

    run.path = tmp_path / "best.keras"
    return run


def test_only_a_better_model_is_kept(best):
    lines = best(
        {"val_f1": 0.3, "val_iou": 0.2},
        {"val_f1": 0.3, "val_iou": 0.2},
        {"val_f1": 0.1, "val_iou": 0.1},
        {"val_f1": 0.4823, "val_iou": 0.3178},
    )
    assert lines == [
        "✓ Saved best model (F1: 0.3000, IoU: 0.2000)",
        "✓ Saved best model (F1: 0.4823, IoU: 0.3178)",
    ]
    assert read_state(best.path).epoch == 4


def test_the_score_may_be_the_f1_of_the_best_threshold(best):
    rows = [
        {"val_f1": 0.0, "val_best_f1": 0.4, "val_best_threshold": 0.31},
        {"val_f1": 0.3, "val_best_f1": 0.35, "val_best_threshold": 0.45},
    ]
    assert best(*rows, score="val_best_f1") == ["✓ Saved best model (F1: 0.4000 at threshold 0.31)"]
    state = read_state(best.path)
    assert (state.best_epoch["epoch"], state.threshold) == (1, 0.31)
    assert TrainingState(rows).threshold is None


def test_without_a_curve_there_is_no_best_threshold(best):
    with pytest.raises(ValueError, match=r"no val_best_f1 among val_f1; expected .*metrics.ThresholdCurve\(\)"):
        best({"val_f1": 0.3}, score="val_best_f1")


def test_nan_is_never_best_and_is_beaten_by_any_score(best):
    nan = math.nan
    assert best({"val_f1": nan}, {"val_f1": 0.2}, {"val_f1": nan}, {"val_f1": 0.3}) == [
        "✓ Saved best model (F1: 0.2000)",
        "✓ Saved best model (F1: 0.3000)",
    ]


@pytest.mark.parametrize("loss", ["loss", "val_loss"])
def test_a_model_whose_loss_is_not_finite_is_never_best(best, loss):
    # Its F1 is a number: 0. Others announce it as a new best.
    assert best({"val_f1": 0.0, loss: math.nan}, {"val_f1": 0.0, loss: math.inf}) == []
    assert not best.path.exists()


def test_a_best_score_from_before_has_to_be_beaten(best):
    before = [{"epoch": 1, "val_f1": 0.5}]
    assert best({"val_f1": 0.4}, history=before) == []
    assert best({"val_f1": 0.6}, history=before) == ["✓ Saved best model (F1: 0.6000)"]
    assert [row["epoch"] for row in read_state(best.path).history] == [1, 2]
    assert best.callback.get_state() == {"history": read_state(best.path).history}


def test_epochs_without_validation_are_skipped(best):
    assert best({"loss": 1.0}, {"loss": 1.0, "val_f1": 0.2}) == ["✓ Saved best model (F1: 0.2000)"]


def test_validation_without_f1_is_an_error(best):
    with pytest.raises(ValueError, match=r"no val_f1 among loss, val_loss; expected model.compile\(…, metrics"):
        best({"loss": 1.0, "val_loss": 1.0})


def test_a_model_that_finds_nothing_or_is_of_a_failed_epoch_gets_no_tick(best):
    lines = best({"val_f1": 0.0}, {"val_f1": 0.3, "finding": code_of("not_learning")}, {"val_f1": 0.4, "finding": 0.0})
    assert lines == [
        "Saved a model that finds nothing yet (F1: 0.0000)",
        "Saved best model so far (F1: 0.3000), in spite of not_learning",
        "✓ Saved best model (F1: 0.4000)",
    ]


def test_no_validation_at_all_is_warned_about(best, caplog):
    best({"loss": 1.0})
    assert "saved no model: there was no validation. Pass validation_data" in caplog.text


@pytest.mark.slow
def test_in_a_fit(tmp_path, rng, capsys):
    x, y = rng.normal(size=(8, 4, 4, 1)).astype(np.float32), rng.integers(0, 2, (8, 4, 4, 1))
    model = small_model()
    history = model.fit(
        x, y, validation_data=(x, y), epochs=3, verbose=0, callbacks=[BestF1Checkpoint(tmp_path / "best.keras")]
    )
    scores = history.history["val_f1"]
    assert f"✓ Saved best model (F1: {max(scores):.4f}, IoU: " in capsys.readouterr().out
    again = keras.models.load_model(tmp_path / "best.keras")
    assert again.evaluate(x, y, verbose=0, return_dict=True)["f1"] == max(scores)
