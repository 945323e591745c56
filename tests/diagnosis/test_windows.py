import numpy as np
import pytest

from kseg.callbacks import CollapseDetector
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve
from tests.diagnosis.simulation import HEALTHY, METRICS, SUNK, causes, simulate


@pytest.mark.slow
def test_a_long_run_keeps_no_histograms():
    detector = simulate([HEALTHY] * 40, [HEALTHY] * 40, validation=[HEALTHY])
    windows = [window for one in detector._judge.observations for window in (one.training, one.evidence)]
    assert len(windows) == 8
    assert all(window.histogram.size == 0 and window.skill > 0.9 for window in windows)


@pytest.mark.slow
def test_a_window_is_not_the_running_mean_of_the_epoch():
    # The epoch's mean stays healthy for long after the model died.
    assert simulate([HEALTHY] * 300 + [SUNK] * 20).findings[0].batch == 320


@pytest.mark.slow
@pytest.mark.parametrize("validation", [None, [HEALTHY, SUNK]])
def test_an_epoch_shorter_than_a_window_is_observed_at_its_end(validation):
    (finding,) = simulate([HEALTHY] * 12, [SUNK] * 12, validation=validation, every=50).findings
    assert (finding.cause, finding.epoch, finding.batch) == ("all_background", 2, 24)


@pytest.mark.slow
def test_tiny_epochs_are_added_up():
    (finding,) = simulate(*[[HEALTHY] * 4] * 5, *[[SUNK] * 4] * 6).findings
    assert (finding.cause, finding.batch) == ("all_background", 36)  # observations end at 12, 24, 36


@pytest.mark.slow
def test_validation_every_other_epoch():
    epochs = [[HEALTHY] * 20] * 2 + [[SUNK] * 20] * 2
    assert causes(*epochs, validation=[HEALTHY, HEALTHY, SUNK, SUNK], frequency=2) == ["all_background"]


@pytest.mark.slow
def test_several_steps_in_one_execution():
    assert causes([HEALTHY] * 60 + [SUNK] * 60, steps_per_execution=5) == ["all_background"]


@pytest.mark.slow
def test_other_metrics_do_not_hide_those_it_needs():
    metrics = [SegmentationMetrics(), PredictionMonitor(), ThresholdCurve()]
    assert causes([HEALTHY] * 40 + [SUNK] * 40, metrics=metrics) == ["all_background"]


@pytest.mark.parametrize("missing", METRICS)
def test_a_missing_metric_is_named(missing):
    metrics = [kind() for kind in METRICS if kind is not missing]
    with pytest.raises(ValueError, match=f"no {missing.__name__} among the model's metrics; expected model.compile"):
        simulate([HEALTHY] * 5, metrics=[SegmentationMetrics(), *metrics])


@pytest.mark.slow
def test_a_model_that_was_fitted_before_is_observed_too():
    detector = simulate([HEALTHY] * 20)
    broken = HEALTHY[0] * np.float32(np.nan), HEALTHY[1]
    again = CollapseDetector(20, preflight=False)
    detector.model.fit(*broken, callbacks=[again], verbose=0)
    assert "the images or masks of batch 1 held NaN" in again.findings[0].evidence
