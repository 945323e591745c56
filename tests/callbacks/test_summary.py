import csv

import pytest
from kseg.callbacks import EpochSummary, HistoryFile

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
def said():
    def run(logs):
        lines = []
        summary = EpochSummary(lines.append)
        summary.set_params({"epochs": 50})
        summary.on_epoch_end(4, logs)
        return lines

    return run


def test_the_lines_of_an_epoch(said):
    assert said(LOGS) == [
        "Epoch 5/50 Complete - Train Loss: 0.3214, Val Loss: 0.2833 | Train F1: 0.4500, Val F1: 0.4823",
        "Train Metrics - Precision: 0.4234 | Recall: 0.4789 | F1: 0.4500 | IoU: 0.2893 | Accuracy: 0.9234",
        "Val Metrics - Precision: 0.4556 | Recall: 0.5123 | F1: 0.4823 | IoU: 0.3178 | Accuracy: 0.9312",
    ]


def test_what_is_not_measured_is_left_out(said):
    assert said({"loss": 0.5}) == ["Epoch 5/50 Complete - Train Loss: 0.5000"]


def test_history_has_a_row_an_epoch_and_goes_on(tmp_path):
    path = tmp_path / "history.csv"
    HistoryFile(path).on_epoch_end(0, {"loss": 0.5})
    goes_on = HistoryFile(path, [{"epoch": 1, "loss": 0.5}])
    goes_on.on_epoch_end(1, {"loss": 0.25, "val_f1": 0.75})
    with path.open() as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"epoch": "1", "loss": "0.5", "val_f1": ""},
        {"epoch": "2", "loss": "0.25", "val_f1": "0.75"},
    ]
