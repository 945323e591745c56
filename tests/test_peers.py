"""Losses beside those of MONAI and torch, metrics beside torchmetrics: equal where the definition is the same."""

import keras
import numpy as np
import pytest
import torch
import torchmetrics.functional.classification as scores
from monai import losses as monai_losses

from kseg import losses, metrics

CLASSES = 4


@pytest.fixture
def binary(rng):
    """Masks of 0 and 1, and logits, `(B, H, W, 1)`."""
    return rng.integers(0, 2, (3, 12, 16, 1)), 3 * rng.normal(size=(3, 12, 16, 1)).astype(np.float32)


@pytest.fixture
def multiclass(rng):
    """Class indices `(B, H, W, 1)`, each class in each image, and logits `(B, H, W, C)`."""
    return rng.integers(0, CLASSES, (3, 12, 16, 1)), 3 * rng.normal(size=(3, 12, 16, CLASSES)).astype(np.float32)


def channels_first(array):
    return torch.from_numpy(np.moveaxis(np.asarray(array), -1, 1).copy())


def loss_of(function, y_true, y_pred, **arguments):
    return keras.ops.convert_to_numpy(function(y_true.astype(np.uint8), y_pred, **arguments))


def assert_same(ours, theirs):
    np.testing.assert_allclose(ours, np.asarray(theirs), rtol=2e-6)


@pytest.mark.parametrize(
    ("function", "peer"),
    [
        (losses.dice, lambda: monai_losses.DiceLoss(sigmoid=True, smooth_nr=2, smooth_dr=2, reduction="none")),
        (
            losses.iou,
            lambda: monai_losses.DiceLoss(jaccard=True, sigmoid=True, smooth_nr=2, smooth_dr=2, reduction="none"),
        ),
        (
            losses.tversky,
            lambda: monai_losses.TverskyLoss(
                sigmoid=True, alpha=0.3, beta=0.7, smooth_nr=1, smooth_dr=1, reduction="none"
            ),
        ),
    ],
    ids=["dice", "iou", "tversky"],
)
def test_region_losses_of_foreground_are_those_of_monai(function, peer, binary):
    mask, logits = binary
    theirs = peer()(channels_first(logits), channels_first(mask)).reshape(3)
    assert_same(loss_of(function, mask, logits), theirs)


def test_dice_of_softmax_is_that_of_monai_where_an_image_has_all_classes(multiclass):
    mask, logits = multiclass
    for include_background in (False, True):
        peer = monai_losses.DiceLoss(
            include_background=include_background,
            to_onehot_y=True,
            softmax=True,
            smooth_nr=2,
            smooth_dr=2,
            reduction="none",
        )
        theirs = peer(channels_first(logits), channels_first(mask)).reshape(3, -1).mean(1)
        assert_same(loss_of(losses.dice, mask, logits, include_background=include_background), theirs)


def test_focal_loss_is_that_of_monai(binary):
    mask, logits = binary
    for alpha in (None, 0.25):
        peer = monai_losses.FocalLoss(gamma=2.0, alpha=alpha, reduction="none")
        theirs = peer(channels_first(logits), channels_first(mask).float()).mean((1, 2, 3))
        assert_same(loss_of(losses.focal, mask, logits, gamma=2.0, alpha=alpha), theirs)


def test_cross_entropy_is_that_of_torch(binary, multiclass):
    mask, logits = binary
    entropy = torch.nn.functional.binary_cross_entropy_with_logits
    theirs = entropy(channels_first(logits), channels_first(mask).float(), reduction="none").mean((1, 2, 3))
    assert_same(loss_of(losses.bce, mask, logits), theirs)
    classes, logits = multiclass
    theirs = torch.nn.functional.cross_entropy(
        channels_first(logits), channels_first(classes)[:, 0], reduction="none", label_smoothing=0.0
    ).mean((1, 2))
    assert_same(loss_of(losses.cross_entropy, classes, logits), theirs)


SCORES = {
    "F1Score": scores.multiclass_f1_score,
    "IoU": scores.multiclass_jaccard_index,
    "Precision": scores.multiclass_precision,
    "Recall": scores.multiclass_recall,
}


@pytest.mark.parametrize("name", SCORES)
def test_scores_of_classes_are_those_of_torchmetrics(name, multiclass, rng):
    mask, logits = multiclass
    mask = np.where(rng.random(mask.shape) < 0.1, 255, mask)
    theirs = SCORES[name](
        channels_first(logits), channels_first(mask)[:, 0], num_classes=CLASSES, average="none", ignore_index=255
    )
    for average, expected in ((None, theirs), ("macro", theirs[1:].mean())):  # kseg's mean is over the foreground
        metric = getattr(metrics, name)(average=average)
        metric.update_state(mask.astype(np.uint8), logits)
        assert_same(keras.ops.convert_to_numpy(metric.result()), expected)


def test_the_confusion_matrix_is_that_of_torchmetrics(multiclass):
    mask, logits = multiclass
    metric = metrics.ConfusionMatrix()
    metric.update_state(mask.astype(np.uint8), logits)
    theirs = scores.multiclass_confusion_matrix(channels_first(logits), channels_first(mask)[:, 0], num_classes=CLASSES)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(metric.result()), theirs)
