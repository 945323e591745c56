import numpy as np
import pytest
from sklearn import metrics

from kseg import IGNORE
from kseg.inference.calibration import Calibration
from kseg.task import Task

pytestmark = pytest.mark.backend_free


@pytest.fixture
def binary(rng):
    """Masks and probabilities that say what they mean: foreground with the probability that is stated."""
    probabilities = rng.beta(0.5, 1, (4, 60, 70, 1)).astype(np.float32)
    truth = (rng.random(probabilities.shape[:3]) < probabilities[..., 0]).astype(np.uint8)
    truth[rng.random(truth.shape) < 0.1] = IGNORE
    return truth, probabilities


def count(truth, probabilities, softmax=False):
    number = probabilities.shape[-1] - softmax
    task = Task("multiclass", ("background", *map(str, range(number)))) if softmax else Task()
    calibration = Calibration(number, softmax)
    for mask, probability in zip(truth, probabilities, strict=True):
        calibration.add(task.layers(mask), task.judged(mask), probability)
    return calibration


def test_f1_at_every_threshold_is_that_of_scikit_learn(binary):
    truth, probabilities = binary
    curve = count(truth, probabilities).f1_by_threshold()[0]
    valid = truth != IGNORE
    for step in (0, 1, 100, 333, 500, 750, 999):
        expected = metrics.f1_score(truth[valid], probabilities[valid][:, 0].astype(np.float64) > step / 1000)
        assert curve[step] == pytest.approx(expected, abs=1e-12)
    threshold, best = count(truth, probabilities).best_thresholds()[0]
    assert best == curve.max()
    assert curve[round(1000 * threshold)] == best


@pytest.mark.parametrize("squeeze", [1, 2, 0.5])
def test_the_error_is_the_mean_distance_in_15_bins(binary, squeeze):
    truth, probabilities = binary
    stated = probabilities**squeeze
    valid = truth != IGNORE
    chance, right = stated[valid][:, 0].astype(np.float64), truth[valid] == 1
    bins = np.minimum((chance * 15).astype(int), 14)
    expected = sum(
        abs(chance[bins == one].mean() - right[bins == one].mean()) * (bins == one).mean() for one in np.unique(bins)
    )
    assert count(truth, stated).error() == pytest.approx(expected, abs=1e-6)
    if squeeze == 1:
        assert expected < 0.02  # these probabilities are right


def test_of_several_classes_the_predicted_one_is_judged(rng):
    probabilities = rng.dirichlet([1, 1, 1], (3, 20, 30)).astype(np.float32)
    truth = probabilities.argmax(-1).astype(np.uint8)
    calibration = count(truth, probabilities, softmax=True)
    assert calibration.error() == pytest.approx(1 - probabilities.max(-1).mean(), abs=1e-3)  # always right
    curve = calibration.f1_by_threshold()
    expected = metrics.f1_score(truth.ravel() == 2, probabilities[..., 2].ravel().astype(np.float64) > 0.4)
    assert curve[1, 400] == pytest.approx(expected)


def test_each_label_is_judged_by_itself(binary):
    truth, probabilities = binary
    both = np.stack([truth, truth[::-1]], axis=-1)
    chances = np.concatenate([probabilities, probabilities], axis=-1)
    task = Task("multilabel", ("a", "b"))
    calibration = Calibration(2, softmax=False)
    for mask, probability in zip(both, chances, strict=True):
        calibration.add(task.layers(mask), task.judged(mask), probability)
    alone = [count(masks, probabilities) for masks in (truth, truth[::-1])]
    np.testing.assert_array_equal(
        calibration.f1_by_threshold(), np.concatenate([one.f1_by_threshold() for one in alone])
    )
    np.testing.assert_allclose(calibration.confidence, alone[0].confidence + alone[1].confidence)


def test_an_absent_class_has_no_curve():
    calibration = count(np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4, 1), 0.5, np.float32))
    assert np.isnan(calibration.f1_by_threshold()).all()
    assert calibration.best_thresholds() == [None]
