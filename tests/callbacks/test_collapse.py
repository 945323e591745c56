"""The detector in `fit`, with a model that predicts the logits it is shown: any course of training can be acted out."""

import csv
import logging

import keras
import numpy as np
import pytest

import kseg
from kseg.callbacks import CollapseDetector, CollapseError, HistoryFile
from kseg.diagnosis.recovery import lower_learning_rate
from kseg.diagnosis.rules import cause_of
from kseg.metrics import PredictionMonitor, SegmentationMetrics, ThresholdCurve

METRICS = (PredictionMonitor, ThresholdCurve)


def step(share, foreground, background, spread=0.5):
    """A mask of some share of foreground, and logits about one value for each kind of pixel: a batch of one image."""
    mask = np.zeros(100, np.float32)
    mask[: round(100 * share)] = 1
    noise = np.random.default_rng(0).permutation(np.linspace(-1, 1, 100))
    logits = np.where(mask == 1, foreground, background) + spread * noise
    return np.float32(logits).reshape(1, 10, 10, 1), mask.reshape(1, 10, 10, 1)


HEALTHY = step(0.2, 2.0, -2.0)
BLIND = step(0.2, 0.0, 0.0, spread=2.0)
SUNK = step(0.2, -6.0, -6.0)
ALL_FOREGROUND = step(0.2, 6.0, 6.0)
EMPTY = step(0.0, -6.0, -6.0)


def act(
    *epochs,
    every=20,
    validation=None,
    metrics=None,
    detector=None,
    frequency=1,
    scale=1.0,
    others=(),
    **compile_arguments,
):
    """Fit, each epoch a list of steps; the detector."""
    if keras.config.backend() != "jax":
        compile_arguments.pop("steps_per_execution", None)
    layers = [keras.layers.Conv2D(1, 1, use_bias=False), keras.layers.Rescaling(scale)]
    model = keras.Sequential([keras.Input((10, 10, 1)), *layers])
    metrics = [kind() for kind in METRICS] if metrics is None else metrics
    model.compile(keras.optimizers.SGD(0.0), kseg.losses.BCELoss(), metrics=metrics, **compile_arguments)
    model.set_weights([np.ones((1, 1, 1, 1), np.float32)])
    detector = detector or CollapseDetector(every)

    def batches():
        for epoch in epochs:
            yield from epoch

    class Validation(keras.utils.PyDataset):
        """As the epochs go on, so does what validation shows."""

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return validation[min(detector._epoch, len(validation)) - 1]

    model.fit(
        batches(),
        shuffle=False,
        epochs=len(epochs),
        steps_per_epoch=len(epochs[0]),
        validation_data=Validation() if validation else None,
        validation_freq=frequency,
        callbacks=[detector, *others],
        verbose=0,
    )
    return detector


def causes(*epochs, **arguments):
    return [finding.cause for finding in act(*epochs, **arguments).findings]


# What a healthy run may look like


def test_silent_on_a_model_that_predicts():
    assert causes([HEALTHY] * 100) == []


def test_silent_when_the_masks_themselves_are_empty():
    assert causes([EMPTY] * 200) == []


def test_silent_on_a_slow_start():
    # Nothing is predicted for eight looks, while foreground rises out of the background.
    rising = [[step(0.2, -6 + 0.2 * look, -6, spread=3)] * 20 for look in range(8)]
    assert causes(*rising, [HEALTHY] * 20) == []


def test_silent_while_foreground_is_on_its_way_to_the_threshold():
    rising = [[step(0.2, -3 + 0.45 * look, -5)] * 20 for look in range(5)]
    assert causes(*rising, [HEALTHY] * 20) == []


def test_silent_on_mostly_empty_masks():
    assert causes(([EMPTY] * 9 + [HEALTHY]) * 20) == []
    assert causes(([EMPTY] * 9 + [step(0.02, 1.0, -2.0)]) * 20) == []


def test_silent_on_mostly_foreground():
    assert causes([step(0.9, 3.0, -1.0)] * 100) == []


def test_silent_on_epochs_of_two_batches():
    assert causes(*[[HEALTHY] * 2] * 30) == []


def test_silent_on_one_bad_window_of_a_blind_start():
    assert causes([BLIND] * 40 + [HEALTHY] * 60) == []


def test_a_long_run_is_not_remembered_pixel_by_pixel():
    detector = act([HEALTHY] * 40, [HEALTHY] * 40, validation=[HEALTHY])
    windows = [window for look in detector._looks for window in (look.training, look.seen)]
    assert len(windows) == 8
    assert all(window.histogram.size == 0 and window.skill > 0.9 for window in windows)


# What is wrong, by its name


def test_all_background_after_a_healthy_start_is_named_at_once():
    detector = act([HEALTHY] * 60 + [SUNK] * 40)
    (finding,) = detector.findings
    assert (finding.cause, finding.epoch, finding.batch) == ("all_background", 1, 80)
    probability = 1 / (1 + np.exp(6.0))
    assert f"0 of 2000 pixels were predicted foreground in the last 20 batches: pred_mean={probability:.3f}" in str(
        finding
    )
    assert "target_mean=0.2000" in finding.evidence
    assert "after it had been larger" in finding.evidence


def test_all_background_from_the_start_takes_three_looks():
    sinking = [[step(0.2, -1 - look, -1 - look)] * 20 for look in range(5)]
    detector = act(*sinking)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("all_background", 60)]
    assert "not growing" in detector.findings[0].evidence


def test_all_foreground():
    assert causes([HEALTHY] * 40 + [ALL_FOREGROUND] * 40) == ["all_foreground"]
    sinking = [[step(0.8, 1 + look, 1 + look)] * 20 for look in range(5)]
    assert causes(*sinking) == ["all_foreground"]


def test_under_confident_tells_the_threshold():
    (finding,) = act([step(0.2, -1.0, -4.0)] * 140).findings
    assert (finding.cause, finding.batch) == ("under_confident", 120)
    assert "at the threshold F1 is 0.000, at 0.19 it is 1.000" in finding.evidence  # sigmoid(-1.45)
    assert "--threshold auto" in finding.remedy


def test_over_confident_is_its_mirror():
    assert causes([step(0.2, 4.0, 1.0)] * 140) == ["over_confident"]


def test_constant_output_even_where_its_mean_is_right():
    logit = np.log(0.2 / 0.8)
    detector = act([step(0.2, logit, logit, spread=0)] * 20)
    (finding,) = detector.findings
    assert (finding.cause, finding.batch) == ("constant_output", 20)
    assert "20 of 20 images got the same prediction in every pixel, 0.2 on average" in finding.evidence


def test_exploding_while_finite():
    growing = [[step(0.2, 2.0 * 5**look, -2.0 * 5**look)] * 20 for look in range(5)]
    detector = act(*growing)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("exploding", 60)]
    assert "up from 2.5" in detector.findings[0].evidence


def test_large_logits_that_come_down_do_not_explode():
    falling = [[step(0.2, 900.0 / 4**look, -900.0 / 4**look)] * 20 for look in range(4)]
    assert causes(*falling) == []


def test_not_learning_after_six_looks():
    detector = act([BLIND] * 200)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("not_learning", 120)]
    assert "predicting everything, without looking at the image, 0.333" in detector.findings[0].evidence  # 2 * .2 / 1.2


def test_a_settled_one_sided_model_is_not_learning_rather_than_dead():
    assert causes([step(0.2, -1.5, -1.5)] * 200) == ["not_learning"]


def test_validation_only():
    epochs = [[HEALTHY] * 20] * 4
    detector = act(*epochs, validation=[HEALTHY, SUNK, SUNK, SUNK])
    assert [(finding.cause, finding.epoch) for finding in detector.findings] == [("validation_only", 3)]
    assert "in training and 0.000 in validation" in detector.findings[0].evidence


@pytest.mark.parametrize(
    "validation", [[HEALTHY, SUNK, HEALTHY, SUNK], [step(0.2, 0.8, -0.8, spread=2.0)]], ids=["flickers", "overfits"]
)
def test_silent_on_a_validation_that_is_only_worse(validation):
    assert causes(*[[HEALTHY] * 20] * 4, validation=validation) == []


@pytest.mark.parametrize(("where", "value"), [(0, np.nan), (0, np.inf), (1, np.nan)])
def test_not_finite_input_names_its_batch(value, where):
    broken = tuple(array.copy() for array in HEALTHY)
    broken[where][0, 3, 3, 0] = value
    (finding,) = act([HEALTHY] * 23 + [broken] + [HEALTHY] * 16).findings
    assert finding.cause == "not_finite"
    assert "the images or masks of batch 24 held NaN or infinity" in finding.evidence


def test_not_finite_from_the_model_says_so():
    overflow = np.full_like(HEALTHY[0], 3e38), HEALTHY[1]
    (finding,) = act([HEALTHY] * 16 + [overflow] + [HEALTHY] * 13, scale=10.0).findings
    assert (finding.cause, finding.batch) == ("not_finite", 20)
    assert "predictions are not finite from batch 17 on, though its input was" in finding.evidence


def test_not_finite_is_named_in_the_shortest_epoch():
    broken = HEALTHY[0] * np.float32(np.nan), HEALTHY[1]
    (finding,) = act([HEALTHY], [broken], [HEALTHY]).findings
    assert (finding.cause, finding.epoch, finding.batch) == ("not_finite", 2, 2)


# When it looks, and what it says


def test_a_cause_is_named_again_only_after_the_run_was_healthy():
    assert causes([HEALTHY] * 40 + [SUNK] * 80) == ["all_background"]
    assert causes([HEALTHY] * 40 + [SUNK] * 40 + [HEALTHY] * 40 + [SUNK] * 40) == ["all_background"] * 2


def test_looks_at_the_window_and_not_at_the_running_mean():
    # The epoch's mean stays healthy for long after the model died.
    assert act([HEALTHY] * 300 + [SUNK] * 20).findings[0].batch == 320


@pytest.mark.parametrize("validation", [None, [HEALTHY, SUNK]])
def test_an_epoch_shorter_than_a_window_is_looked_at_at_its_end(validation):
    (finding,) = act([HEALTHY] * 12, [SUNK] * 12, validation=validation, every=50).findings
    assert (finding.cause, finding.epoch, finding.batch) == ("all_background", 2, 24)


def test_tiny_epochs_are_put_together():
    (finding,) = act(*[[HEALTHY] * 4] * 5, *[[SUNK] * 4] * 6).findings
    assert (finding.cause, finding.batch) == ("all_background", 36)  # looks end at 12, 24, 36


def test_validation_every_other_epoch():
    epochs = [[HEALTHY] * 20] * 2 + [[SUNK] * 20] * 2
    assert causes(*epochs, validation=[HEALTHY, HEALTHY, SUNK, SUNK], frequency=2) == ["all_background"]


def test_several_steps_in_one_execution():
    assert causes([HEALTHY] * 60 + [SUNK] * 60, steps_per_execution=5) == ["all_background"]


def test_other_metrics_do_not_hide_its_own():
    metrics = [SegmentationMetrics(), PredictionMonitor(), ThresholdCurve()]
    assert causes([HEALTHY] * 40 + [SUNK] * 40, metrics=metrics) == ["all_background"]


def test_the_warning_and_the_log(caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        detector = act([HEALTHY] * 60, [SUNK] * 60)
    (message,) = [record.getMessage() for record in caplog.records if record.name == "kseg"]
    assert message.startswith("⚠️  Epoch 2, batch 80: all_background: 0 of 2000 pixels")
    assert message.endswith(detector.findings[0].remedy)
    assert (detector.causes(1), detector.causes(2)) == ([], ["all_background"])
    history = detector.model.history.history["finding"]
    assert [cause_of(code) for code in history] == ["", "all_background"]


@pytest.mark.parametrize("missing", METRICS)
def test_a_missing_metric_is_named(missing):
    metrics = [kind() for kind in METRICS if kind is not missing]
    with pytest.raises(ValueError, match=f"no {missing.__name__} among the model's metrics; expected model.compile"):
        act([HEALTHY] * 5, metrics=[SegmentationMetrics(), *metrics])


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="looks every 0 batches; expected 1 or more"):
        CollapseDetector(0)
    with pytest.raises(ValueError, match="action is 'die'; expected 'warn', 'stop' or 'recover'"):
        CollapseDetector(action="die")
    with pytest.raises(ValueError, match="max_recoveries is -1; expected 0 or more"):
        CollapseDetector(max_recoveries=-1)


def test_logs_stay_asynchronous():
    # Keras waits for the logs of every step as soon as one callback has a batch end of its own.
    callbacks = keras.callbacks.CallbackList([CollapseDetector()], model=None)
    assert callbacks._async_train


def test_a_model_that_was_fitted_before_is_watched_too():
    detector = act([HEALTHY] * 20)
    broken = HEALTHY[0] * np.float32(np.nan), HEALTHY[1]
    again = CollapseDetector(20)
    detector.model.fit(*broken, callbacks=[again], verbose=0)
    assert "the images or masks of batch 1 held NaN" in again.findings[0].evidence


# What it does about it


def test_stop_ends_the_run_and_keeps_every_file(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(
        CollapseError, match="The run was stopped, in epoch 2 at batch 80. all_background: 0 of"
    ) as raised:
        act([HEALTHY] * 60, [SUNK] * 60, detector=CollapseDetector(20, "stop"), others=[backup])
    assert raised.value.finding.cause == "all_background"
    assert raised.value.status == 3
    assert any((tmp_path / "backup").iterdir())


def test_stop_at_the_end_of_an_epoch_comes_after_its_files(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    detector = CollapseDetector(50, "stop")
    with pytest.raises(CollapseError, match="in epoch 2 at batch 24"):
        act([HEALTHY] * 12, [SUNK] * 12, [SUNK] * 12, detector=detector, others=[history])
    with history.path.open() as file:
        assert [row["finding"] for row in csv.DictReader(file)] == ["", "all_background"]


def test_stop_lets_a_model_go_on_that_has_learned():
    assert causes([step(0.2, -1.0, -4.0)] * 140, detector=CollapseDetector(20, "stop")) == ["under_confident"]


def test_recover_goes_back_to_the_last_healthy_state():
    detector = CollapseDetector(20, "recover")
    weights = []
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            detector.model.set_weights([np.full((1, 1, 1, 1), 0.5, np.float32)])
            if epoch == 1
            else weights.append(float(detector.model.get_weights()[0].squeeze()))
        )
    )
    act([HEALTHY] * 20, [SUNK] * 20, [HEALTHY] * 20, detector=detector, others=[spoil])
    assert detector.recoveries == 1
    assert weights[-1] == 1.0


def test_recover_gives_up_after_its_attempts():
    detector = CollapseDetector(20, "recover", max_recoveries=2)
    with pytest.raises(CollapseError, match="The run was stopped after 2 recoveries, in epoch 1 at batch"):
        act([HEALTHY] * 40 + [step(0.2, -6.0, -6.0, spread=0)] * 100, detector=detector)
    assert [finding.cause for finding in detector.findings] == ["constant_output"] * 3


def test_recover_only_warns_of_what_no_going_back_can_mend():
    detector = act([BLIND] * 200, detector=CollapseDetector(20, "recover"))
    assert [finding.cause for finding in detector.findings] == ["not_learning"]
    assert detector.recoveries == 0


@pytest.mark.parametrize(
    ("rate", "lowered"),
    [
        (0.5, 0.05),
        (keras.optimizers.schedules.CosineDecay(0.5, 1000), 0.05),
        (keras.optimizers.schedules.PiecewiseConstantDecay([1000], [0.5, 0.2]), 0.05),
    ],
)
def test_recover_from_the_first_weights(rate, lowered, caplog, rng):
    """A model whose weights are all wrong after its first steps."""
    images = rng.normal(size=(20, 8, 8, 1)).astype(np.float32)
    masks = (images > 0.8).astype(np.uint8)
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 1)])
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, kseg.losses.BCELoss(), metrics=[kind() for kind in METRICS])
    first = [weight.copy() for weight in model.get_weights()]
    detector = CollapseDetector(20, "recover", max_recoveries=1)
    state = {}

    def kill(epoch, logs):
        if epoch == 0:
            model.set_weights([np.zeros((1, 1, 1, 1), np.float32), np.float32([-9])])

    def look(epoch, logs):
        if epoch == 1:
            state["weights"] = model.get_weights()
            state["moments"] = [keras.ops.convert_to_numpy(v) for v in optimizer.variables[2:]]
            state["rate"], state["steps"] = float(optimizer.learning_rate), int(optimizer.iterations)

    kill, look = (keras.callbacks.LambdaCallback(on_epoch_begin=function) for function in (kill, look))
    caplog.set_level(logging.WARNING, "kseg")
    with pytest.raises(CollapseError, match="after 1 recoveries, in epoch 2"):  # black images show nothing
        model.fit(images * 0, masks, batch_size=1, epochs=2, verbose=0, callbacks=[kill, detector, look])
    share = masks.mean()
    assert detector.findings[0].cause == "constant_output"
    np.testing.assert_array_equal(state["weights"][0], first[0])
    assert state["weights"][1] == pytest.approx(np.log(share / (1 - share)), rel=1e-4)
    assert all((moment == 0).all() for moment in state["moments"])
    assert state["rate"] == pytest.approx(lowered, rel=0.01)
    assert state["steps"] == 20
    assert "↩️  Recovery 1 of 1: back to the first weights, learning rate 0.05, output bias at" in caplog.text
    # The lower rate is in force: no step of Adam is larger.
    moved = np.abs(model.get_weights()[1] - state["weights"][1])
    assert 0 < moved < 20 * 0.05 * 1.01


def test_a_schedule_of_ones_own_is_left_alone():
    class Own(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.25

        def get_config(self):
            return {}

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(Own()), "mse")
    assert lower_learning_rate(model, 0.1) is None
    assert float(model.optimizer.learning_rate) == 0.25


@pytest.mark.slow
def test_recovery_brings_a_run_back(rng):
    """Trained at a rate that kills it, a small network ends where its healthy twin ends."""
    images = rng.normal(size=(40, 16, 16, 1)).astype(np.float32)
    masks = (keras.ops.convert_to_numpy(keras.ops.average_pool(images, 3, 1, "same")) > 0.35).astype(np.uint8)
    best = {}
    for rate in (3.0, 0.03):
        keras.utils.set_random_seed(0)
        layers = [keras.layers.Conv2D(8, 3, padding="same", activation="relu"), keras.layers.Conv2D(1, 1)]
        model = keras.Sequential([keras.Input((16, 16, 1)), *layers])
        model.compile(
            keras.optimizers.Adam(rate),
            kseg.losses.CombinedSegmentationLoss(),
            metrics=[SegmentationMetrics(), *(kind() for kind in METRICS)],
        )
        detector = CollapseDetector(action="recover")
        history = model.fit(
            images, masks, batch_size=4, epochs=25, validation_data=(images, masks), callbacks=[detector], verbose=0
        )
        best[rate] = max(history.history["val_best_f1"])
        assert (detector.recoveries > 0) == (rate == 3.0)
    assert best[3.0] > 0.95 * best[0.03] > 0.5
