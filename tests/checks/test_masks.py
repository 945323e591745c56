import logging

import keras
import numpy as np
import pytest
from keras import layers

import kseg
from kseg.checks.masks import inverted_masks, soft_masks, white_masks
from tests.checks.samples import SIZE, causes, compiled, images, masks, net, refused


def test_empty_masks(model, caplog):
    with caplog.at_level(logging.WARNING, "kseg"):
        (finding,) = kseg.preflight(model, (images(), 0 * masks()))
    assert (finding.cause, finding.evidence) == ("empty_masks", "all 8 masks have no foreground")
    assert [record.getMessage() for record in caplog.records] == [f"⚠️  {finding}"]


def test_foreground_that_is_255(model):
    match = "mask_values: all 8 masks hold nothing but 0 and 255, which means ignored. Divide the masks by 255"
    assert len(refused(match, model, (images(), 255 * masks()))) == 1
    refused(match, model, (images(), 255.0 * masks()))


@pytest.mark.parametrize(
    ("mask", "match"),
    [
        (np.where(masks(), np.nan, 0), "hold NaN or infinity"),
        (masks() - 1.0, "hold -1"),
        (masks() * 200.5, "hold fractions and reach 200.5"),
        (masks() / 255, "reach 0.00392. Divide them by 255 once, not twice"),
    ],
)
def test_values_that_are_no_classes(model, mask, match):
    assert len(refused(f"mask_values: the masks {match}", model, (images(), mask))) == 1


@pytest.mark.parametrize(
    ("outputs", "loss", "match"),
    [
        (1, keras.losses.BinaryCrossentropy(from_logits=True), "hold 255, and BinaryCrossentropy .* takes 0 to 1"),
        (3, keras.losses.SparseCategoricalCrossentropy(from_logits=True), "hold 255, .* with 3 channels takes 0 to 2"),
    ],
)
def test_values_that_the_loss_takes_for_something_else(outputs, loss, match):
    mask = masks()
    mask[:, 0] = 255
    model = compiled(net(outputs=outputs), loss, run_eagerly=False)
    refused(f"mask_values: the masks {match}", model, (images(), mask))


def test_a_weight_of_zero_may_leave_out_what_is_ignored():
    mask = masks()
    mask[:, 0] = 255
    weighted = compiled(net(), keras.losses.BinaryCrossentropy(from_logits=True))
    assert causes(weighted, (images(), mask, (mask[..., 0] != 255).astype(np.float32))) == []


ONE_HOT = np.concatenate([1 - masks(), masks()], -1)


@pytest.mark.parametrize("mask", [ONE_HOT, ONE_HOT.astype(np.float32), np.where(masks(share=0.1), 255, ONE_HOT)])
def test_one_hot_masks_that_each_channel_reads_by_itself(mask):
    match = r"one_hot_masks: the 2 channels of each mask add up to 1 .* DiceLoss reads .* class indices, masks\.argmax"
    refused(match, compiled(net(outputs=2)), (images(), mask))


def test_one_hot_masks_are_right_where_all_were_told_to_use_softmax():
    loss = kseg.losses.CombinedSegmentationLoss(activation="softmax")
    kinds = (kseg.metrics.SegmentationMetrics, kseg.metrics.PredictionMonitor, kseg.metrics.ThresholdCurve)
    metrics = [kind(activation="softmax") for kind in kinds]
    assert causes(compiled(net(outputs=2), loss, metrics), (images(), ONE_HOT)) == []


def test_class_indices_are_right_for_several_outputs():
    indices = np.random.default_rng(0).integers(0, 3, (8, *SIZE, 1)).astype(np.uint8)
    indices[:, 0] = 255
    for mask in (indices, indices[..., 0]):
        model = compiled(net(outputs=3), metrics=[kseg.metrics.SegmentationMetrics()])
        assert causes(model, (images(), mask)) == []
    match = "mask_values: the masks hold 2, and the model's 2 outputs are for 0 to 1. Use 255"
    refused(match, compiled(net(outputs=2)), (images(), indices))


def test_several_classes_for_one_output(model):
    indices = np.random.default_rng(0).integers(0, 4, (8, *SIZE, 1)).astype(np.uint8)
    (finding,) = kseg.preflight(model, (images(), indices))
    assert finding.cause == "several_classes"
    assert "the masks hold 1, 2, 3, and the model has one output" in finding.evidence
    assert "Conv2D(4, 1)" in finding.remedy


def test_one_hot_masks_with_a_metric_of_kseg():
    keras_loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    assert causes(compiled(net(outputs=2), keras_loss), (images(), ONE_HOT)) == []
    refused(
        "SegmentationMetrics reads",
        compiled(net(outputs=2), keras_loss, [kseg.metrics.SegmentationMetrics()]),
        (images(), ONE_HOT),
    )


def test_channels_that_leave_some_pixels_to_none_are_not_one_hot():
    assert causes(compiled(net(outputs=2)), (images(), ONE_HOT * masks(share=0.9))) == []


def blurred():
    """Discs with an edge of two pixels."""
    place = np.mgrid[:16, :16, :1].transpose(1, 2, 3, 0) - np.random.default_rng(0).uniform(7, 8, (8, 1, 1, 1, 3))
    return np.clip((6 - np.hypot(place[..., 0], place[..., 1])) / 2, 0, 1)


def test_soft_masks(model):
    assert causes(model, (images(), blurred())) == ["soft_masks"]
    refused(
        "soft_masks: .* values between 0 and 255, and light ones most often",
        model,
        (images(), (255 * blurred()).astype(np.uint8)),
    )


def test_masks_of_which_half_are_inverted_are_found(model):
    mask = np.zeros((8, *SIZE, 1), np.uint8)
    mask[:, 4:8, 4:8] = 1
    mask[::2] = 1 - mask[::2]
    (finding,) = kseg.preflight(model, images(), mask)
    assert finding.cause == "inverted_masks"
    assert "4 of 8 masks are foreground on at least 94%, and on their border too" in finding.evidence


def test_inverted_masks_are_found(model):
    mask = masks(share=0.1)
    mask[3] = 1 - mask[3]
    assert causes(model, [(images(), mask)]) == ["inverted_masks"]


@pytest.mark.parametrize(
    ("outputs", "mask", "match"),
    [
        (1, masks(size=(8, 8)), "the masks are 8 x 8, and the images 16 x 16"),
        (1, np.repeat(masks(), 3, -1), r"have shape \(8, 16, 16, 3\), and the model's output \(8, 16, 16, 1\)"),
    ],
)
def test_mask_shape(outputs, mask, match):
    refused(f"mask_shape: .*{match}", compiled(net(outputs=outputs), run_eagerly=False), (images(), mask))


@pytest.mark.parametrize("mask", [masks(), masks()[..., 0]])
def test_class_indices_for_a_loss_that_takes_none(mask):
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    for given in (loss, kseg.losses.BCELoss(), kseg.losses.DiceLoss(activation="sigmoid")):
        match = "mask_shape: .*class indices, and the model's output has 3 channels. Make the masks one-hot"
        refused(match, compiled(net(outputs=3), given, run_eagerly=False), (images(), mask))


def test_mask_shape_where_the_output_is_not_as_large_as_the_image(halved):
    match = r"the masks are 16 x 16, and the model's output 8 x 8 \(from images"
    refused(f"mask_shape: .*{match}", halved, (images(), masks()))


@pytest.mark.parametrize(
    ("end", "mask", "match"),
    [
        (layers.Permute((3, 1, 2)), masks().transpose(0, 3, 1, 2), "channels come first in the output and the masks: "),
        (layers.Permute((3, 1, 2)), masks(), "channels come first in the output: .* keras.layers.Permute"),
        (layers.Activation("linear"), masks().transpose(0, 3, 1, 2), r"in the masks: .* np.moveaxis\(masks, 1, -1\)"),
        (layers.Reshape(SIZE), masks()[..., 0], r"output \(8, 16, 16\) has no channel axis; .* add the axis: "),
        (layers.Reshape(SIZE), masks(), "has no channel axis"),
    ],
)
def test_the_channel_axis_is_the_last(end, mask, match):
    assert len(refused(f"mask_shape: .*{match}", compiled(net(last=[end])), (images(), mask))) == 1


def test_three_masks_of_0_and_255_are_no_proof():
    assert white_masks(np.float64([0, 255]), 3).severity == "warning"
    assert white_masks(np.float64([0, 255]), 4).severity == "error"


def test_class_indices_are_not_soft():
    for values, counts in ([range(151), 255], [1] * 152), (range(60), [9] + [1] * 59):
        values = np.float64([*values[0], 255] if isinstance(values, list) else values)
        assert soft_masks(values, np.array(counts)) is None
    assert soft_masks(np.float64([0, 0.05, 0.95]), np.array([1, 1, 1])) is None  # smoothed labels


@pytest.mark.parametrize(
    ("shares", "match"),
    [
        (
            [0.1] * 14 + [0.9] * 2,
            "2 of 16 masks are foreground on at least 90%, and on their border too, and the others are not",
        ),
        (
            [0.1] * 12 + [0.9, 1.0] * 2,
            "2 of 16 masks are foreground on at least 90%, and on their border too, and the others are not",
        ),
        ([0.95] * 8, "half of the 8 masks are foreground on more than 95%"),
        ([0.1, 0.3, 0.5, 0.7, 0.75, 0.6, 0.85, 0.2], None),  # all kinds
        ([0.9] * 8 + [0.1] * 8, None),
        ([0.0] * 12 + [1.0] * 4, None),  # tiles
        ([0.85] * 16, None),
        ([0.95], None),
        ([0.1, 0.1, 0.1, 0.9], None),
    ],
)
def test_inverted_masks(shares, match):
    finding = inverted_masks(np.array(shares), np.array(shares))
    assert (finding and finding.evidence) == match
    assert finding is None or finding.severity == "warning"
    if match and "border" in match:
        assert inverted_masks(np.array(shares), np.zeros(len(shares))) is None
