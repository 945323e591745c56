import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist
from sklearn import metrics

from kseg import IGNORE
from kseg.inference import scores
from kseg.inference.scores import (
    compare_edges,
    intervals,
    match_objects,
    mean_of_classes,
    ratios,
    summarise,
    trivial_scores,
)
from kseg.task import Task

pytestmark = pytest.mark.backend_free


def masks(seed, classes=3, size=(24, 31)):
    """A mask with ignored pixels and a prediction that is partly right."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, classes, (4, 5)).astype(np.uint8)
    truth = np.kron(coarse, np.ones((8, 8), np.uint8))[: size[0], : size[1]]
    predicted = np.where(rng.random(size) < 0.2, rng.integers(0, classes, size), truth).astype(np.uint8)
    return np.where(rng.random(size) < 0.1, np.uint8(IGNORE), truth), predicted


def score_image(name, truth, predicted, classes):
    task = Task("multiclass", ("background", *map(str, range(classes))))
    return scores.score_image(name, "", task.layers(truth), task.layers(predicted), task.judged(truth))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_scores_are_those_of_scikit_learn(classes):
    pairs = [masks(seed, classes) for seed in range(6)]
    images = [score_image(str(index), *pair, classes - 1) for index, pair in enumerate(pairs)]
    truth, predicted = (np.concatenate([pair[place].ravel() for pair in pairs]) for place in (0, 1))
    truth, predicted = truth[truth != IGNORE], predicted[truth != IGNORE]
    foreground = list(range(1, classes))
    found = ratios(np.sum([image.counts for image in images], axis=0))
    for name, reference in (
        ("f1", metrics.f1_score),
        ("iou", metrics.jaccard_score),
        ("precision", metrics.precision_score),
        ("recall", metrics.recall_score),
    ):
        expected = reference(truth, predicted, labels=foreground, average=None)
        np.testing.assert_allclose(found[name], expected, rtol=1e-12)
    summary = summarise(images, [str(index) for index in foreground])
    assert summary["mean"]["accuracy"] == metrics.accuracy_score(truth, predicted)
    assert summary["mean"]["f1"] == pytest.approx(
        metrics.f1_score(truth, predicted, labels=foreground, average="macro")
    )


def test_labels_that_overlap_are_scored_each_by_itself(rng):
    truth = rng.choice(np.uint8([0, 1, 255]), (3, 20, 30, 2), p=[0.6, 0.3, 0.1])
    predicted = rng.integers(0, 2, truth.shape).astype(np.uint8)
    task = Task("multilabel", ("a", "b"))
    images = [
        scores.score_image("", "", task.layers(one), task.layers(other), task.judged(one))
        for one, other in zip(truth, predicted, strict=True)
    ]
    summary = summarise(images, task.classes, overlap=True)
    judged = truth != IGNORE
    for index, name in enumerate(task.classes):
        right, found = (masks[..., index][judged[..., index]] for masks in (truth, predicted))
        assert summary["classes"][name]["f1"] == pytest.approx(metrics.f1_score(right, found))
        assert summary["classes"][name]["share"] == pytest.approx((right == 1).mean())
    assert summary["mean"]["accuracy"] == pytest.approx(metrics.accuracy_score(truth[judged], predicted[judged]))
    constant = [metrics.f1_score(truth[..., k][judged[..., k]], np.ones(judged[..., k].sum())) for k in range(2)]
    assert summary["trivial"]["f1"] == {"score": pytest.approx(np.mean(constant)), "answer": "every label"}
    assert summary["trivial"]["accuracy"]["answer"] == "all background"
    assert summary["trivial"]["accuracy"]["score"] == pytest.approx((truth[judged] == 0).mean())


def test_an_absent_class_has_no_score_and_is_in_no_mean():
    counts = np.array([[3, 1, 0, 6], [0, 2, 0, 8]])
    assert np.isnan(ratios(counts)["f1"][1])
    assert mean_of_classes(ratios(counts)["f1"]) == pytest.approx(6 / 7)
    assert mean_of_classes(np.array([np.nan, np.nan])) == 0


@settings(max_examples=40)
@given(st.integers(0, 10**6))
def test_objects_are_matched_as_by_trying_all_pairs(seed):
    rng = np.random.default_rng(seed)
    right = ndimage.gaussian_filter(rng.normal(size=(30, 30)), 2) > 0.08
    found = ndimage.gaussian_filter(rng.normal(size=(30, 30)), 1) + 2 * right > 1
    labels, number = ndimage.label(right, np.ones((3, 3)))
    found_labels, raised = ndimage.label(found, np.ones((3, 3)))
    hits = 0
    for i in range(1, number + 1):
        for j in range(1, raised + 1):
            one, other = labels == i, found_labels == j
            hits += (one & other).sum() / (one | other).sum() > 0.5
    assert match_objects(right, found) == (hits, raised - hits, number - hits)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_edges_are_compared_as_by_all_distances(seed):
    rng = np.random.default_rng(seed)
    right, found = (ndimage.gaussian_filter(rng.normal(size=(20, 25)), 2) > level for level in (0.05, 0.1))
    if not (right.any() and found.any()):
        return
    edges = [
        np.argwhere(area & ~ndimage.binary_erosion(np.pad(area, 1))[1:-1, 1:-1]).astype(float)
        for area in (right, found)
    ]
    distance = cdist(*edges)
    of_right, of_found = distance.min(1), distance.min(0)
    precision, recall = (of_found <= 2).mean(), (of_right <= 2).mean()
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0
    expected = f1, max(np.percentile(of_right, 95), np.percentile(of_found, 95))
    np.testing.assert_allclose(compare_edges(right, found), expected, rtol=1e-9)


def test_a_distance_that_is_nowhere_defined_is_not_0():
    truth = np.ones((4, 4), np.uint8)
    found, missed = (summarise([score_image("", truth, one, 1)], ["a"]) for one in (truth, truth * 0))
    assert found["mean"]["hausdorff_95"] == 0
    assert missed["mean"]["hausdorff_95"] is None
    assert missed["classes"]["a"]["hausdorff_95"] is None
    assert missed["mean"]["boundary_f1"] == 0


def test_scores_of_edges_are_averaged_over_the_images_that_have_them():
    truth = np.zeros((3, 24, 24), np.uint8)
    truth[:2, 4:12, 4:12] = 1
    predicted = np.stack([np.roll(truth[0], 3, axis=1), truth[1], truth[2]])  # three pixels off, exact, empty in both
    images = [score_image(str(index), *pair, 1) for index, pair in enumerate(zip(truth, predicted, strict=True))]
    found = summarise(images, ["a"])["classes"]["a"]
    expected = [compare_edges(truth[index] > 0, predicted[index] > 0) for index in (0, 1)]
    assert expected[0] != expected[1]
    assert (found["boundary_f1"], found["hausdorff_95"]) == pytest.approx(np.mean(expected, axis=0).tolist())


def test_edges_of_empty_masks():
    empty, full = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert np.isnan(compare_edges(empty, empty)).all()
    for pair in ((empty, full), (full, empty)):
        f1, distance = compare_edges(*pair)
        assert f1 == 0
        assert np.isnan(distance)
    assert compare_edges(full, full) == (1, 0)


def test_the_interval_is_that_of_a_mean_of_many_images():
    # Images of equal size, each right on a share of its foreground that has a known spread: recall is their mean.
    rng = np.random.default_rng(0)
    hits = rng.binomial(1000, rng.beta(20, 10, 400))
    images = [score_image(str(index), *masks(0, 2), 1) for index in range(400)]
    for image, hit in zip(images, hits, strict=True):
        image.counts[:] = [[hit, 0, 1000 - hit, 0]]
    low, high = intervals(images)["recall"]
    mean, error = (hits / 1000).mean(), (hits / 1000).std() / 20
    np.testing.assert_allclose([low, high], [mean - 1.96 * error, mean + 1.96 * error], atol=0.1 * error + 1e-3)


def test_trivial_answers_are_scored_as_predictions_of_one_class():
    truth, _ = masks(3, 4)
    names = ["a", "b", "c"]
    best = {}
    for answer in range(4):
        constant = np.full_like(truth, answer)
        image = score_image("", truth, constant, 3)
        values = {name: mean_of_classes(values) for name, values in ratios(image.counts).items()}
        values["accuracy"] = image.correct / (truth != IGNORE).sum()
        for name, score in values.items():
            best[name] = max(best.get(name, 0), score)
    counts = score_image("", truth, np.zeros_like(truth), 3).counts
    found = trivial_scores(counts, names)
    assert {name: pytest.approx(score) for name, (score, _) in found.items()} == best
