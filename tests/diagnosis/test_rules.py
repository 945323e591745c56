"""The rules, on simulated runs."""

import keras
import numpy as np
import pytest

from tests.diagnosis.simulation import ALL_FOREGROUND, BLIND, EMPTY, HEALTHY, SUNK, causes, simulate, step

# Every test simulates a whole run.
pytestmark = pytest.mark.slow


def test_a_model_that_predicts_is_healthy():
    assert causes([HEALTHY] * 100) == []


def test_empty_masks_are_healthy():
    assert causes([EMPTY] * 200) == []


def test_a_slow_start_is_healthy():
    # Nothing is predicted for eight observations, while foreground rises out of the background.
    rising = [[step(0.2, -6 + 0.2 * number, -6, spread=3)] * 20 for number in range(8)]
    assert causes(*rising, [HEALTHY] * 20) == []


def test_foreground_that_approaches_the_threshold_is_healthy():
    rising = [[step(0.2, -3 + 0.45 * number, -5)] * 20 for number in range(5)]
    assert causes(*rising, [HEALTHY] * 20) == []


def test_mostly_empty_masks_are_healthy():
    assert causes(([EMPTY] * 9 + [HEALTHY]) * 20) == []
    assert causes(([EMPTY] * 9 + [step(0.02, 1.0, -2.0)]) * 20) == []


def test_mostly_foreground_is_healthy():
    assert causes([step(0.9, 3.0, -1.0)] * 100) == []


def test_epochs_of_two_batches_are_healthy():
    assert causes(*[[HEALTHY] * 2] * 30) == []


def test_one_bad_window_of_a_blind_start_is_healthy():
    assert causes([BLIND] * 40 + [HEALTHY] * 60) == []


def test_all_background_after_a_healthy_start_is_named_at_once():
    detector = simulate([HEALTHY] * 60 + [SUNK] * 40)
    (finding,) = detector.findings
    assert (finding.cause, finding.epoch, finding.batch) == ("all_background", 1, 80)
    probability = 1 / (1 + np.exp(6.0))
    assert f"0 of 2000 pixels were predicted foreground in the last 20 batches: pred_mean={probability:.3f}" in str(
        finding
    )
    assert "target_mean=0.2000" in finding.evidence
    assert "after it had been larger" in finding.evidence


def test_all_background_from_the_start_takes_three_observations():
    sinking = [[step(0.2, -1 - number, -1 - number)] * 20 for number in range(5)]
    detector = simulate(*sinking)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("all_background", 60)]
    assert "not growing" in detector.findings[0].evidence


def test_all_foreground():
    assert causes([HEALTHY] * 40 + [ALL_FOREGROUND] * 40) == ["all_foreground"]
    sinking = [[step(0.8, 1 + number, 1 + number)] * 20 for number in range(5)]
    assert causes(*sinking) == ["all_foreground"]


def test_under_confident_says_which_threshold_works():
    (finding,) = simulate([step(0.2, -1.0, -4.0)] * 140).findings
    assert (finding.cause, finding.batch) == ("under_confident", 120)
    assert "at the threshold F1 is 0.000, at 0.19 it is 1.000" in finding.evidence  # sigmoid(-1.45)
    assert "--threshold auto" in finding.remedy


def test_over_confident():
    assert causes([step(0.2, 4.0, 1.0)] * 140) == ["over_confident"]


def test_constant_output_even_where_its_mean_is_right():
    logit = np.log(0.2 / 0.8)
    detector = simulate([step(0.2, logit, logit, spread=0)] * 40)
    (finding,) = detector.findings
    assert (finding.cause, finding.batch) == ("constant_output", 40)  # one look might be a warm-up
    assert "20 of 20 images got the same prediction in every pixel, 0.2 on average" in finding.evidence


def test_exploding_while_finite():
    growing = [[step(0.2, 2.0 * 5**number, -2.0 * 5**number)] * 20 for number in range(5)]
    detector = simulate(*growing)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("exploding", 60)]
    assert "up from 2.5" in detector.findings[0].evidence


def test_large_logits_that_come_down_do_not_explode():
    falling = [[step(0.2, 900.0 / 4**number, -900.0 / 4**number)] * 20 for number in range(4)]
    assert causes(*falling) == []


def test_not_learning_after_six_observations():
    detector = simulate([BLIND] * 200)
    assert [(finding.cause, finding.batch) for finding in detector.findings] == [("not_learning", 120)]
    assert "predicting everything, without looking at the image, 0.333" in detector.findings[0].evidence  # 2 * .2 / 1.2


def test_a_settled_one_sided_model_is_not_learning_rather_than_dead():
    assert causes([step(0.2, -1.5, -1.5)] * 200) == ["not_learning"]


def test_validation_only():
    epochs = [[HEALTHY] * 20] * 4
    detector = simulate(*epochs, validation=[HEALTHY, SUNK, SUNK, SUNK])
    assert [(finding.cause, finding.epoch) for finding in detector.findings] == [("validation_only", 3)]
    assert "in training and 0.000 in validation" in detector.findings[0].evidence


@pytest.mark.parametrize(
    "validation", [[HEALTHY, SUNK, HEALTHY, SUNK], [step(0.2, 0.8, -0.8, spread=2.0)]], ids=["flickers", "overfits"]
)
def test_a_validation_that_is_only_worse_is_healthy(validation):
    assert causes(*[[HEALTHY] * 20] * 4, validation=validation) == []


@pytest.mark.parametrize(("where", "value"), [(0, np.nan), (0, np.inf), (1, np.nan)])
def test_not_finite_input_names_its_batch(value, where):
    broken = tuple(array.copy() for array in HEALTHY)
    broken[where][0, 3, 3, 0] = value
    (finding,) = simulate([HEALTHY] * 23 + [broken] + [HEALTHY] * 16).findings
    assert finding.cause == "not_finite"
    assert "the images or masks of batch 24 held NaN or infinity" in finding.evidence


def test_not_finite_from_the_model_says_so():
    overflow = np.full_like(HEALTHY[0], 3e38), HEALTHY[1]
    (finding,) = simulate([HEALTHY] * 16 + [overflow] + [HEALTHY] * 13, scale=10.0).findings
    assert (finding.cause, finding.batch) == ("not_finite", 20)
    assert "predictions are not finite from batch 17 on, though its input was" in finding.evidence


def test_not_finite_is_named_in_the_shortest_epoch():
    broken = HEALTHY[0] * np.float32(np.nan), HEALTHY[1]
    (finding,) = simulate([HEALTHY], [broken], [HEALTHY]).findings
    assert (finding.cause, finding.epoch, finding.batch) == ("not_finite", 2, 2)


def test_updates_that_are_too_small_name_the_rate():
    detector = simulate(*[[BLIND] * 6] * 6, optimizer=keras.optimizers.SGD(1e-12), every=50)
    (finding,) = detector.findings
    assert (finding.cause, finding.batch) == ("not_learning", 24)  # two observations of 12
    assert "where about 1e-3 is usual" in finding.evidence
    assert finding.remedy == "The learning rate is far too small: raise it."
    assert detector.status == "not_learning"


def test_updates_that_are_too_large_name_the_rate():
    huge = keras.optimizers.SGD(1e-9, weight_decay=-5e8)
    huge.exclude_from_weight_decay(var_names=["kernel"])
    (finding,) = simulate([step(0.2, -3.0, -3.0)] * 20, optimizer=huge).findings
    assert (finding.cause, finding.batch) == ("all_background", 20)
    huge = keras.optimizers.SGD(1e-9, weight_decay=-5e8)
    huge.exclude_from_weight_decay(var_names=["kernel"])
    (finding,) = simulate([BLIND] * 40, optimizer=huge).findings
    assert (finding.cause, finding.batch) == ("not_learning", 40)
    assert finding.remedy == "The learning rate is far too large: lower it."


@pytest.mark.parametrize(("share", "cause"), [(0.0, "empty_masks"), (1.0, "full_masks")])
def test_masks_of_one_kind_for_two_epochs(share, cause):
    one_kind = step(share, 2.0, -2.0)
    detector = simulate(*[[HEALTHY] * 20] * 2, *[[one_kind] * 20] * 3)
    assert [(finding.cause, finding.epoch) for finding in detector.findings] == [(cause, 4)]
    assert "none of the last 40 training masks has" in detector.findings[0].evidence
    assert causes(*[[one_kind] * 5] * 3) == [cause]
    assert causes(*[[HEALTHY] * 20, [one_kind] * 20] * 3) == []


def test_inverted_validation_masks_are_validation_only():
    inverted = step(0.8, -2.0, 2.0)
    (finding,) = simulate(*[[HEALTHY] * 20] * 3, validation=[inverted]).findings
    assert (finding.cause, finding.epoch) == ("validation_only", 1)
    assert finding.remedy.startswith("The masks of the validation are inverted")


def test_a_falling_mean_that_is_above_the_share_of_foreground_is_on_its_way():
    # Slow training: for eight observations nothing but the mean prediction moves, from 0.38 to 0.09; 2% is foreground.
    falling = [[step(0.02, -0.5 - 0.2 * number, -0.5 - 0.2 * number)] * 20 for number in range(10)]
    detector = simulate(*falling)
    assert detector.findings == []
    assert detector.status == "unknown"


def test_healthy_is_another_answer_than_not_yet_known():
    assert simulate([HEALTHY] * 40).status == "healthy"
    assert simulate([BLIND] * 40).status == "unknown"
    assert simulate([SUNK] * 100).status == "all_background"
