import logging

import keras
import numpy as np
import pytest

from kseg.callbacks import CollapseDetector
from kseg.metrics import PredictionMonitor, SegmentationMetrics


@pytest.fixture
def warnings_of(caplog):
    """Fit a model that predicts the logit it is shown, on batches of one image, and return the warnings.

    Each step is a pair (foreground share of the mask, logit); a list of them is an epoch.
    """

    def run(*epochs, every=50, validation=None, metrics=None, frequency=1, **compile_arguments):
        if keras.config.backend() != "jax":
            compile_arguments.pop("steps_per_execution", None)
        model = keras.Sequential([keras.Input((10, 10, 1)), keras.layers.Conv2D(1, 1, use_bias=False)])
        model.compile(keras.optimizers.SGD(0.0), "mse", metrics=metrics or [PredictionMonitor()], **compile_arguments)
        model.set_weights([np.ones((1, 1, 1, 1), np.float32)])

        def arrays(steps):
            masks = np.zeros((len(steps), 100), np.uint8)
            for mask, (share, _) in zip(masks, steps, strict=True):
                mask[: round(100 * share)] = 1
            logits = np.float32([[logit] * 100 for _, logit in steps])
            return logits.reshape(-1, 10, 10, 1), masks.reshape(-1, 10, 10, 1)

        caplog.clear()
        x, y = arrays([step for epoch in epochs for step in epoch])

        def batches():
            while True:
                for image, mask in zip(x, y, strict=True):
                    yield image[None], mask[None]

        with caplog.at_level(logging.WARNING, "kseg"):
            model.fit(
                batches(),
                shuffle=False,
                epochs=len(epochs),
                steps_per_epoch=len(epochs[0]),
                validation_data=validation and arrays(validation),
                validation_freq=frequency,
                callbacks=[CollapseDetector(every)],
                verbose=0,
            )
        return [record.getMessage() for record in caplog.records if record.name == "kseg"]

    return run


HEALTHY, COLLAPSED, EMPTY = (0.2, 1.0), (0.2, -9.0), (0.0, -9.0)


def test_the_message(warnings_of):
    probability = 1 / (1 + np.exp(9.0))
    assert warnings_of([COLLAPSED] * 50) == [
        f"⚠️  Predictions may be collapsing! Batch 50: pred_mean={probability:.6f}, target_mean=0.2000"
    ]


def test_silent_on_a_model_that_predicts(warnings_of):
    assert warnings_of([HEALTHY] * 100) == []


def test_silent_when_the_masks_themselves_are_empty(warnings_of):
    assert warnings_of([EMPTY] * 100) == []


def test_looks_at_the_window_and_not_at_the_running_mean(warnings_of):
    # The epoch's mean stays healthy for long after the model died.
    found = warnings_of([HEALTHY] * 30 + [COLLAPSED] * 10, every=10)
    assert [message.split("Batch ")[1].split(":")[0] for message in found] == ["40"]


def test_recovery_is_noticed(warnings_of):
    assert len(warnings_of([COLLAPSED] * 10 + [HEALTHY] * 30, every=10)) == 1


def test_a_window_with_a_single_mask_is_enough_and_counts_alone(warnings_of):
    found = warnings_of([EMPTY] * 9 + [COLLAPSED] + [EMPTY] * 10, every=10)
    assert len(found) == 1
    assert "Batch 10:" in found[0]
    assert "target_mean=0.0200" in found[0]


def test_batches_are_counted_over_epochs(warnings_of):
    found = warnings_of([HEALTHY] * 25, [COLLAPSED] * 25, every=10)
    assert [message.split("Batch ")[1].split(":")[0] for message in found] == ["35", "45"]


@pytest.mark.parametrize("validation", [None, [HEALTHY] * 3])
def test_an_epoch_shorter_than_a_window_is_looked_at_at_its_end(warnings_of, validation):
    found = warnings_of([HEALTHY] * 5, [COLLAPSED] * 5, validation=validation)
    assert len(found) == 1
    assert "Batch 10:" in found[0]


def test_validation_is_not_mistaken_for_training(warnings_of):
    assert warnings_of([HEALTHY] * 50, validation=[COLLAPSED] * 60) == []
    assert len(warnings_of([COLLAPSED] * 50, validation=[HEALTHY] * 60)) == 1


def test_validation_every_other_epoch(warnings_of):
    found = warnings_of(*[[COLLAPSED] * 5] * 4, validation=[HEALTHY], frequency=2)
    assert len(found) == 4


def test_several_steps_in_one_execution(warnings_of):
    assert len(warnings_of([COLLAPSED] * 100, steps_per_execution=5)) == 2
    assert len(warnings_of([COLLAPSED] * 8, steps_per_execution=5)) == 1


def test_other_metrics_do_not_hide_the_monitor(warnings_of):
    assert len(warnings_of([COLLAPSED] * 50, metrics=[SegmentationMetrics(), PredictionMonitor()])) == 1


def test_without_a_monitor_it_says_what_is_missing(warnings_of):
    with pytest.raises(ValueError, match=r"no PredictionMonitor among the model's metrics; expected model.compile"):
        warnings_of([COLLAPSED] * 5, metrics=[SegmentationMetrics()])


def test_every_zero_batches_is_refused():
    with pytest.raises(ValueError, match="looks every 0 batches; expected 1 or more"):
        CollapseDetector(0)


def test_logs_stay_asynchronous():
    # Keras waits for the logs of every step as soon as one callback has a batch end of its own.
    callbacks = keras.callbacks.CallbackList([CollapseDetector()], model=None)
    assert callbacks._async_train
