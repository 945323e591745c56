import keras
import numpy as np
import pytest

from kseg.callbacks import EpochSummary
from kseg.metrics import PredictionMonitor, SegmentationMetrics

LOGS = {
    "loss": 0.3214,
    "f1": 0.45,
    "iou": 0.2893,
    "precision": 0.4234,
    "recall": 0.4789,
    "accuracy": 0.9234,
    "pred_mean": 0.1,
    "val_loss": 0.2833,
    "val_f1": 0.4823,
    "val_iou": 0.3178,
    "val_precision": 0.4556,
    "val_recall": 0.5123,
    "val_accuracy": 0.9312,
}


@pytest.fixture
def summarize():
    def run(logs, **arguments):
        lines = []
        summary = EpochSummary(lines.append, **arguments)
        summary.set_params({"epochs": 50, "steps": 3, "verbose": 0})
        summary.on_epoch_begin(4)
        summary.on_epoch_end(4, logs)
        return lines

    return run


def test_the_lines_of_an_epoch(summarize):
    assert summarize(LOGS) == [
        "Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823",
        "Train Metrics - Precision: 0.4234 | Recall: 0.4789 | F1: 0.4500 | IoU: 0.2893 | Accuracy: 0.9234",
        "Val Metrics - Precision: 0.4556 | Recall: 0.5123 | F1: 0.4823 | IoU: 0.3178 | Accuracy: 0.9312",
    ]


CURVE = {"best_f1": 0.5, "best_threshold": 0.3123, "gap": 2.345}
CURVES = CURVE | {f"val_{name}": value / 2 for name, value in CURVE.items()}
CURVE_LINES = [
    "Train Curve - Best F1: 0.5000 at threshold 0.312 | Gap: 2.35 sd",
    "Val Curve - Best F1: 0.2500 at threshold 0.156 | Gap: 1.17 sd",
]


def test_the_curve_has_lines_of_its_own(summarize):
    assert summarize({"loss": 0.5, **CURVES})[1:] == CURVE_LINES


@pytest.mark.parametrize(("f1", "shown"), [(0.47, True), (0.4801, False), (0.5, False)])
def test_a_best_f1_near_f1_has_no_line_unless_asked_for(f1, shown, summarize):
    scores = {"loss": 0.5, "f1": f1, "val_f1": 0.2, **CURVES}
    assert (CURVE_LINES[0] in summarize(scores)) == shown
    assert CURVE_LINES[1] in summarize(scores)
    assert summarize(scores, detail="verbose")[-2:] == CURVE_LINES


def test_quiet_leaves_the_first_line_alone(summarize):
    assert summarize({"loss": 0.5, "f1": 0.1, **CURVES}, detail="quiet") == [
        "Epoch 5/50 Complete - Train Loss: 0.5000 | Train F1: 0.1000"
    ]


def test_what_is_not_measured_is_left_out(summarize):
    assert summarize({"loss": 0.5}) == ["Epoch 5/50 Complete - Train Loss: 0.5000"]


CLASSES = {"val_f1_cat": 0.9, "val_iou_cat": 0.8182, "val_f1_red_dog": float("nan"), "val_iou_red_dog": float("nan")}


@pytest.mark.parametrize(("epoch", "shown"), [(0, False), (4, True), (5, False), (11, True)])
def test_a_table_of_the_classes_every_five_epochs_and_in_the_last(epoch, shown):
    lines = []
    summary = EpochSummary(lines.append, ["cat", "red dog"], [0.0312, 0.5])
    summary.set_params({"epochs": 12, "steps": 3, "verbose": 0})
    summary.on_epoch_begin(epoch)
    summary.on_epoch_end(epoch, {"loss": 0.5, **CLASSES})
    table = [
        "Class    Val F1  Val IoU  Pixels",
        "cat      0.9000   0.8182   3.12%",
        "red dog       -        -  50.00%",
    ]
    assert lines[1:] == (table if shown else [])


def test_the_table_of_labels_has_the_best_f1_of_each_and_its_threshold():
    lines = []
    summary = EpochSummary(lines.append, ["cat", "red dog"])
    summary.set_params({"epochs": 1, "steps": 3, "verbose": 0})
    summary.on_epoch_begin(0)
    curves = {"val_best_f1_cat": 0.95, "val_best_threshold_cat": 0.312}
    absent = dict.fromkeys(("val_best_f1_red_dog", "val_best_threshold_red_dog"), float("nan"))
    summary.on_epoch_end(0, {"loss": 0.5, **CLASSES, **curves, **absent})
    assert lines[1:] == [
        "Class    Val F1  Val IoU  Best F1  at threshold",
        "cat      0.9000   0.8182   0.9500        0.3120",
        "red dog       -        -        -             -",
    ]


def test_no_table_without_scores_of_classes_or_with_one_class(summarize):
    lines = []
    for summary in (EpochSummary(lines.append, ["cat", "dog"]), EpochSummary(lines.append, ["cat"])):
        summary.set_params({"epochs": 1, "steps": 3, "verbose": 0})
        summary.on_epoch_begin(0)
        summary.on_epoch_end(0, {"loss": 0.5, **(CLASSES if summary.class_names == ("cat",) else {})})
    assert len(lines) == 2


@pytest.mark.slow
def test_the_lines_follow_the_finished_bar_which_has_f1_and_pred_mean(rng, capsys):
    x, y = rng.normal(size=(6, 4, 4, 1)).astype(np.float32), rng.integers(0, 2, (6, 4, 4, 1))
    model = keras.Sequential([keras.Input((4, 4, 1)), keras.layers.Conv2D(1, 1)])
    model.compile("sgd", "mse", metrics=[SegmentationMetrics(), PredictionMonitor()])
    model.fit(x, y, batch_size=2, epochs=2, validation_data=(x, y), callbacks=[EpochSummary()])
    bars = [line for line in capsys.readouterr().out.split("\n") if line]
    assert [line[:9] for line in bars if "Metrics" not in line and "step" not in line] == [
        "Epoch 1/2",
        "Epoch 1/2",
        "Epoch 2/2",
        "Epoch 2/2",
    ]
    finished = bars[1].split("\r")[-1]
    assert "3/3" in finished
    for shown in ("loss: ", "f1: ", "pred_mean: "):
        assert shown in finished
    assert "recall" not in finished
    assert bars[2].startswith("Epoch 1/2 Complete - Train Loss")


def test_keras_adds_no_second_bar_and_logs_stay_asynchronous():
    summary = EpochSummary()
    callbacks = keras.callbacks.CallbackList([summary], add_progbar=True, verbose=1, epochs=1, steps=1)
    assert callbacks._progbar is summary
    assert callbacks._async_train
