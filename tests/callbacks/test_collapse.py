import csv
import logging

import keras
import numpy as np
import pytest

import kseg
from kseg.callbacks import CollapseDetector, CollapseError, HistoryFile
from kseg.diagnosis.rules import cause_of
from kseg.errors import KsegError
from kseg.metrics import SegmentationMetrics
from tests.diagnosis.simulation import BLIND, HEALTHY, METRICS, SUNK, causes, simulate, step


@pytest.mark.slow
def test_a_cause_is_named_again_only_after_the_run_was_healthy():
    assert causes([HEALTHY] * 40 + [SUNK] * 80) == ["all_background"]
    assert causes([HEALTHY] * 40 + [SUNK] * 40 + [HEALTHY] * 40 + [SUNK] * 40) == ["all_background"] * 2


def test_the_warning_and_the_log(caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        detector = simulate([HEALTHY] * 60, [SUNK] * 60)
    (message,) = [record.getMessage() for record in caplog.records if record.name == "kseg"]
    assert message.startswith("⚠️  Epoch 2, batch 80: all_background: 0 of 2000 pixels")
    assert message.endswith(detector.findings[0].remedy)
    assert (detector.causes(1), detector.causes(2)) == ([], ["all_background"])
    history = detector.model.history.history["finding"]
    assert [cause_of(code) for code in history] == ["", "all_background"]


def test_impossible_arguments_are_refused():
    with pytest.raises(ValueError, match="every is 0; expected 1 batch or more"):
        CollapseDetector(0)
    with pytest.raises(ValueError, match="action is 'die'; expected 'warn', 'stop' or 'recover'"):
        CollapseDetector(action="die")
    with pytest.raises(ValueError, match="max_recoveries is -1; expected 0 or more"):
        CollapseDetector(max_recoveries=-1)


def test_another_backend_is_refused(monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: "tensorflow")
    with pytest.raises(KsegError, match="Keras runs on tensorflow; kseg trains on jax or torch"):
        CollapseDetector()


@pytest.mark.slow
def test_a_resumed_run_that_only_warns_does_not_act_on_what_is_in_its_checkpoint():
    stopped = CollapseDetector(20, "stop", preflight=False)
    with pytest.raises(CollapseError, match="The run was stopped"):
        simulate([HEALTHY] * 40 + [SUNK] * 40, detector=stopped)
    resumed = simulate([HEALTHY] * 20)
    resumed.set_state(stopped.get_state())
    resumed.on_epoch_begin(2)
    assert resumed.causes(1) == ["all_background"]


def test_logs_stay_asynchronous():
    # Keras waits for the logs of every step as soon as one callback has a batch end of its own.
    callbacks = keras.callbacks.CallbackList([CollapseDetector()], model=None)
    assert callbacks._async_train


def test_stop_ends_the_run_and_keeps_every_file(tmp_path):
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(
        CollapseError, match="The run was stopped, in epoch 2 at batch 80. all_background: 0 of"
    ) as raised:
        simulate([HEALTHY] * 60, [SUNK] * 60, detector=CollapseDetector(20, "stop", preflight=False), others=[backup])
    assert raised.value.finding.cause == "all_background"
    assert raised.value.status == 3
    assert any((tmp_path / "backup").iterdir())


@pytest.mark.slow
def test_stop_at_the_end_of_an_epoch_comes_after_its_files(tmp_path):
    history = HistoryFile(tmp_path / "history.csv")
    detector = CollapseDetector(50, "stop", preflight=False)
    with pytest.raises(CollapseError, match="in epoch 2 at batch 24"):
        simulate([HEALTHY] * 12, [SUNK] * 12, [SUNK] * 12, detector=detector, others=[history])
    with history.path.open() as file:
        assert [row["finding"] for row in csv.DictReader(file)] == ["", "all_background"]


@pytest.mark.slow
def test_stop_does_not_stop_a_model_that_has_learned():
    assert causes([step(0.2, -1.0, -4.0)] * 140, detector=CollapseDetector(20, "stop", preflight=False)) == [
        "under_confident"
    ]


def test_recover_restores_the_last_healthy_state():
    detector = CollapseDetector(20, "recover", preflight=False)
    weights = []
    spoil = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: (
            detector.model.set_weights([np.full((1, 1, 1, 1), 0.5, np.float32), np.ones(1000, np.float32)])
            if epoch == 1
            else weights.append(float(detector.model.get_weights()[0].squeeze()))
        )
    )
    simulate([HEALTHY] * 20, [SUNK] * 20, [HEALTHY] * 20, detector=detector, others=[spoil])
    assert detector.recoveries == 1
    assert weights[-1] == 1.0


@pytest.mark.slow
def test_recover_gives_up_after_its_attempts():
    detector = CollapseDetector(20, "recover", max_recoveries=2, preflight=False)
    with pytest.raises(CollapseError, match="The run was stopped after 2 recoveries, in epoch 1 at batch"):
        simulate([HEALTHY] * 40 + [step(0.2, -6.0, -6.0, spread=0)] * 100, detector=detector)
    assert [finding.cause for finding in detector.findings] == ["constant_output"] * 3


@pytest.mark.slow
def test_recover_only_warns_of_causes_that_it_cannot_repair():
    detector = simulate([BLIND] * 200, detector=CollapseDetector(20, "recover", preflight=False))
    assert [finding.cause for finding in detector.findings] == ["not_learning"]
    assert detector.recoveries == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rate", "lowered"),
    [
        (0.05, 0.005),
        (keras.optimizers.schedules.CosineDecay(0.05, 4000), 0.005),
        (keras.optimizers.schedules.PiecewiseConstantDecay([1000], [0.05, 0.02]), 0.005),
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
    detector = CollapseDetector(20, "recover", max_recoveries=1, preflight=False)
    state = {}

    def kill(epoch, logs):
        if epoch == 0:
            model.set_weights([np.zeros((1, 1, 1, 1), np.float32), np.float32([-9])])

    def look(epoch, logs):
        if epoch == 2:
            state["weights"] = model.get_weights()
            state["moments"] = [keras.ops.convert_to_numpy(v) for v in optimizer.variables[2:]]
            state["rate"], state["steps"] = float(optimizer.learning_rate), int(optimizer.iterations)

    kill, look = (keras.callbacks.LambdaCallback(on_epoch_begin=function) for function in (kill, look))
    caplog.set_level(logging.WARNING, "kseg")
    with pytest.raises(CollapseError, match="after 1 recoveries, in epoch 4"):  # black images show nothing
        model.fit(images * 0, masks, batch_size=1, epochs=4, verbose=0, callbacks=[kill, detector, look])
    share = masks.mean()
    assert detector.findings[0].cause == "constant_output"
    np.testing.assert_array_equal(state["weights"][0], first[0])
    assert state["weights"][1] == pytest.approx(np.log(share / (1 - share)), rel=1e-4)
    assert all((moment == 0).all() for moment in state["moments"])
    assert state["rate"] == pytest.approx(lowered, rel=0.01)
    assert state["steps"] == 40
    assert "↩️  Recovery 1 of 1: back to the first weights, learning rate 0.005, output bias at" in caplog.text
    # The lower rate is in force: no step of Adam is larger.
    moved = np.abs(model.get_weights()[1] - state["weights"][1])
    assert 0 < moved < 40 * 0.005 * 1.01


@pytest.mark.slow
def test_a_recovered_run_ends_as_well_as_a_healthy_one(rng):
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


# Preflight


def segmenter(head=None):
    model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(1, 3, padding="same", activation=head)])
    model.compile("adam", kseg.losses.BCELoss(), metrics=[kind() for kind in METRICS])
    return model


@pytest.fixture
def arrays(rng):
    images = rng.normal(size=(8, 8, 8, 1)).astype(np.float32)
    return images, (images > 0.5).astype(np.uint8)


def test_preflight_runs_by_itself(arrays):
    with pytest.raises(KsegError, match="sigmoid_twice"):
        segmenter("sigmoid").fit(*arrays, callbacks=[CollapseDetector()], verbose=0)
    with pytest.raises(KsegError, match="mask_values"):
        segmenter().fit(arrays[0], 255 * arrays[1], batch_size=2, callbacks=[CollapseDetector()], verbose=0)


def test_preflight_has_a_way_off(arrays):
    segmenter("sigmoid").fit(*arrays, callbacks=[CollapseDetector(preflight=False)], verbose=0)


def test_preflight_runs_once_for_each_compile(arrays, caplog):
    caplog.set_level(logging.WARNING, "kseg")
    images, masks = arrays
    model = segmenter()

    def warnings():
        said = [record.getMessage() for record in caplog.records if "empty_masks" in record.getMessage()]
        caplog.clear()
        return len(said)

    kseg.preflight(model, images, 0 * masks)
    assert warnings() == 1
    for _ in range(2):
        model.fit(images, 0 * masks, callbacks=[CollapseDetector()], verbose=0)
        assert warnings() == 0
    model.compile(model.optimizer, model.loss, metrics=[kind() for kind in METRICS])
    model.fit(images, 0 * masks, callbacks=[CollapseDetector()], verbose=0)
    assert warnings() == 1


@pytest.mark.slow
def test_preflight_waits_for_foreground(arrays, caplog):
    # Where 255 means ignored, the first batches look like masks of 0 and 255.
    images, masks = np.tile(arrays[0], (3, 1, 1, 1)), np.tile(arrays[1], (3, 1, 1, 1))
    masks[:12] *= 255
    model = segmenter()
    history = model.fit(images, masks, batch_size=2, shuffle=False, callbacks=[CollapseDetector()], verbose=0)
    assert "_check_and_train" not in str(model.train_function)
    assert history.history["loss"]
